"""AlpacaEval's annotations: an instruction, two outputs, and a judge's preference from 1 (first) to 2 (second)."""

from collections.abc import Mapping
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.formats.format import Format
from annotate.importing.formats.pairs import others, preference
from annotate.importing.native import NativeItem, plain_text
from annotate.importing.reading import JSON

USED = frozenset({"id", "instruction", "output_1", "output_2", "generator_1", "generator_2", "annotator"})
JUDGE = "alpaca-eval"
MIDDLE = 1.5


def matches(row: Mapping[str, Any]) -> bool:
    return all(name in row for name in ("instruction", "output_1", "output_2"))


def item(row: Mapping[str, Any], _mapping: Mapping[str, str]) -> NativeItem:
    return {
        "id": row.get("id"),
        "tags": [row["dataset"]] if isinstance(row.get("dataset"), str) and row["dataset"] else [],
        "metadata": others(row, USED),
        "prompt": plain_text(row.get("instruction")),
        "responses": [response(row, 1), response(row, 2)],
        "annotations": [] if row.get("preference") is None else [verdict(row)],
    }


def response(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    text = plain_text(row.get(f"output_{number}"))
    if text is None:
        raise ItemError(f"there is no response in “output_{number}”: write its text, or take the row out.")
    return {"model": row.get(f"generator_{number}"), "messages": text}


def verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    """The side of 1.5 is the choice, the distance from it the confidence, brought to 0 … 1; 1.5 itself is a tie."""
    value = row["preference"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 2:
        raise ItemError(f"“preference” is {str(value)[:40]!r}: write a number from 1 (first output) to 2 (second).")
    choice = "tie" if value == MIDDLE else ("a" if value < MIDDLE else "b")
    return {
        "rater": row.get("annotator") or JUDGE,
        "kind": "judge",
        "answers": preference(choice),
        "confidence": 2 * abs(value - MIDDLE),
    }


ALPACA_EVAL = Format(
    name="alpaca-eval",
    title="AlpacaEval",
    about=(
        "“preference” comes in as an annotation by the judge under “annotator”: below 1.5 the first output, above it "
        "the second, exactly 1.5 a tie. The distance from 1.5, brought to 0 … 1, is the judge's confidence."
    ),
    reads=JSON,
    matches=matches,
    item=item,
)
