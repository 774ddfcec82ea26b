"""HH transcripts (anthropics/hh-rlhf): `chosen` and `rejected`, each a whole conversation with a shared start."""

from collections.abc import Mapping
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.formats.format import Format
from annotate.importing.formats.pairs import others, pair_item
from annotate.importing.formats.turns import is_transcript, split_messages, transcript
from annotate.importing.native import NativeItem
from annotate.importing.reading import JSON

RATER = "hh-rlhf"
USED = frozenset({"id", "chosen", "rejected", "tags"})


def matches(row: Mapping[str, Any]) -> bool:
    return "prompt" not in row and is_transcript(row.get("chosen")) and is_transcript(row.get("rejected"))


def item(row: Mapping[str, Any], _mapping: Mapping[str, str]) -> NativeItem:
    sides = [side(row, name) for name in ("chosen", "rejected")]
    prompt, chosen, rejected = split_messages(*sides)
    return pair_item(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        rater=RATER,
        id=row.get("id"),
        tags=row.get("tags"),
        metadata=others(row, USED),
    )


def side(row: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    if not isinstance(row.get(name), str):
        raise ItemError(f"there is no response in “{name}”: write the transcript there, or take the row out.")
    return transcript(row[name], name)


HH = Format(
    name="hh",
    title="HH transcripts",
    about=(
        "Each row's “chosen” and “rejected” are conversations (Human: … Assistant: …). What both share is the prompt. "
        f"The choice comes in as an annotation by the person “{RATER}”; the two answers are stored in an order drawn "
        "from their content."
    ),
    reads=JSON,
    matches=matches,
    item=item,
)
