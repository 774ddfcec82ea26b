"""TRL's preference rows: `chosen` and `rejected` as texts or as messages, with a `prompt` or a shared start."""

from collections.abc import Mapping
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.formats.format import Format
from annotate.importing.formats.pairs import others, pair_item
from annotate.importing.formats.turns import conversation, is_transcript, split_messages, split_texts, waiting
from annotate.importing.native import Messages, NativeItem, plain_text
from annotate.importing.reading import JSON

RATER = "chosen in file"
USED = frozenset({"id", "prompt", "chosen", "rejected", "tags", "probability", "chosen_model", "rejected_model"})


def matches(row: Mapping[str, Any]) -> bool:
    return "chosen" in row and "rejected" in row


def item(row: Mapping[str, Any], _mapping: Mapping[str, str]) -> NativeItem:
    prompt, chosen, rejected = sides(row)
    # A file may say that a judge chose (Plumbline's own snapshots do); people outvote judges, so it matters.
    kind = "judge" if row.get("source") == "judge" else "human"
    return pair_item(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        rater=RATER,
        models=(model(row, "chosen_model"), model(row, "rejected_model")),
        annotation={"kind": kind, "confidence": row.get("probability")},
        id=row.get("id"),
        tags=row.get("tags"),
        metadata=others(row, USED),
    )


def model(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def sides(row: Mapping[str, Any]) -> tuple[Messages, Messages, Messages]:
    """(prompt, chosen, rejected) as messages. Raises ItemError where one is missing or the two do not match."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    for name, value in (("chosen", chosen), ("rejected", rejected)):
        if value is None or value == []:
            raise ItemError(f"there is no response in “{name}”: fill it, or take the row out.")
    if (plain_text(chosen) is None) != (plain_text(rejected) is None):
        raise ItemError("“chosen” and “rejected” are not of one kind: write both as texts, or both as messages.")
    if row.get("prompt") not in (None, "", []):
        return with_prompt(row)
    if plain_text(chosen) is not None and not (is_transcript(chosen) and is_transcript(rejected)):
        return split_texts(plain_text(chosen) or "", plain_text(rejected) or "")
    return split_messages(conversation(chosen, "chosen", "assistant"), conversation(rejected, "rejected", "assistant"))


def with_prompt(row: Mapping[str, Any]) -> tuple[Messages, Messages, Messages]:
    """A row with its own prompt; some files repeat it at the start of both answers, where it is cut off."""
    prompt = waiting(conversation(row["prompt"], "prompt", "user"))
    chosen = conversation(row["chosen"], "chosen", "assistant")
    rejected = conversation(row["rejected"], "rejected", "assistant")
    length = len(prompt)
    if min(len(chosen), len(rejected)) > length and chosen[:length] == prompt == rejected[:length]:
        return prompt, chosen[length:], rejected[length:]
    return prompt, chosen, rejected


TRL_PREFERENCE = Format(
    name="trl-preference",
    title="TRL preference",
    about=(
        "“chosen” and “rejected”, as texts or as lists of messages; the prompt stands under “prompt” or is what both "
        f"share at the start. The choice comes in as an annotation by the person “{RATER}”; the two answers are "
        "stored in an order drawn from their content."
    ),
    reads=JSON,
    matches=matches,
    item=item,
)
