"""TRL's preference format, conversational: what its RewardTrainer and DPOTrainer read as it is.

Beside `prompt`, `chosen` and `rejected` each row says where it comes from; TRL passes over columns it does not know.
"""

from typing import Any

import pyarrow as pa

from pipeline.datasets.settled import Settled

NAME = "trl-preference"
TITLE = "Preference pairs for TRL (conversational)"
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("probability", pa.float64()),
        ("source", pa.string()),
        ("item", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("chosen_first", pa.bool_()),
        ("strength", pa.float64()),
    ]
)
COLUMNS = {
    "prompt": "the conversation that waits for an answer",
    "chosen": "the better answer",
    "rejected": "the other one",
    "probability": "that the chosen answer is the better one, given that one of the two is: a smoothed share of votes",
    "source": "who decided: human (people), judge (language models) or prior",
    "item": "the item's id in the project",
    "tags": "of the item",
    "chosen_first": "whether the chosen answer stood first in stored order; null where that order means nothing",
    "strength": "mean steps from the scale's centre over those who chose so; null where nobody said",
}


class LeftOut(Exception):
    """A label that is no row of this format; the message is the reason's name in counts."""


def row_of(settled: Settled) -> dict[str, Any]:
    """One row. Raises LeftOut for labels without a better one of two different answers."""
    if settled.value not in ("a", "b"):
        raise LeftOut(settled.value)
    answers = [[message_of(message) for message in answer] for answer in settled.answers]
    if len(answers) != 2:
        raise LeftOut("not_a_pair")
    if answers[0] == answers[1]:
        raise LeftOut("same_answers")
    better = "ab".index(settled.value)
    return {
        "prompt": [message_of(message) for message in settled.item.prompt],
        "chosen": answers[better],
        "rejected": answers[1 - better],
        "probability": float(settled.probability),
        "source": settled.decided_by,
        "item": settled.item.external_id,
        "tags": list(settled.item.tags),
        "chosen_first": None if settled.item.metadata.get("order_drawn") else better == 0,
        "strength": None if settled.strength is None else float(settled.strength),
    }


def message_of(message: dict[str, Any]) -> dict[str, str]:
    return {"role": message["role"], "content": message["content"]}
