"""Rewards that need no model, because the text itself shows whether it is right.

Each takes TRL's arguments (answers as lists of messages, further columns of the prompts' rows by name) and gives
each answer a number from 0 to 1. Use them beside a reward model, or to prove that a trainer learns.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.ml.data import Messages

RewardFunction = Callable[..., list[float | None]]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def text_of(answer: Messages) -> str:
    """What the assistant said, its messages joined."""
    return "\n".join(message["content"] for message in answer)


def valid_json(completions: Sequence[Messages], **_: Any) -> list[float | None]:
    """1 for an answer that is one JSON value and nothing else."""
    return [_parses(text_of(answer)) for answer in completions]


def _parses(text: str) -> float:
    try:
        json.loads(text)
    except ValueError:
        return 0.0
    return 1.0


def contains_reference(
    completions: Sequence[Messages], reference: Sequence[str | None] | None = None, **_: Any
) -> list[float | None]:
    """1 where the answer holds the row's `reference`, whatever case and spaces; None for a row without one."""
    references = reference or [None] * len(completions)
    return [
        None if not wanted else float(_folded(wanted) in _folded(text_of(answer)))
        for answer, wanted in zip(completions, references, strict=True)
    ]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def same_number(
    completions: Sequence[Messages], reference: Sequence[str | None] | None = None, **_: Any
) -> list[float | None]:
    """1 where the answer's last number is the last number of the row's `reference`; None for a row without one."""
    references = reference or [None] * len(completions)
    return [
        None
        if _last_number(wanted or "") is None
        else float(_last_number(text_of(answer)) == _last_number(wanted or ""))
        for answer, wanted in zip(completions, references, strict=True)
    ]


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def token_share(token: int, places: int) -> RewardFunction:
    """A reward with a known optimum: the share of `places` answer tokens that are `token`.

    Under KL coefficient β and a reference that gives the token probability q, the optimal policy gives it
    p ∝ q·exp(1 / (places·β)) at every place.
    """

    def share(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float | None]:
        return [list(ids[:places]).count(token) / places for ids in completion_ids]

    return share


VERIFIABLE: dict[str, RewardFunction] = {
    "valid_json": valid_json,
    "contains_reference": contains_reference,
    "same_number": same_number,
}
