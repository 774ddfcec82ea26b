"""PandaLM's test set: an instruction, two responses, labels by three people and by two judges with reasons."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.formats.format import Format
from annotate.importing.formats.pairs import others, preference
from annotate.importing.native import NativeItem, plain_text
from annotate.importing.reading import JSON

PERSON = re.compile(r"annotator\d+")
CHOICES = {"1": "a", "2": "b", "0": "tie", "tie": "tie"}
USED = frozenset({"id", "instruction", "input", "response1", "response2", "model1", "model2", "judges"})


def matches(row: Mapping[str, Any]) -> bool:
    return all(name in row for name in ("instruction", "response1", "response2"))


def item(row: Mapping[str, Any], _mapping: Mapping[str, str]) -> NativeItem:
    people = {name for name in row if PERSON.fullmatch(name)}
    return {
        "id": row.get("id"),
        "tags": [row["source"]] if isinstance(row.get("source"), str) and row["source"] else [],
        "metadata": others(row, USED | people),
        "prompt": instruction(row),
        "responses": [response(row, 1), response(row, 2)],
        "annotations": [*by_people(row, sorted(people)), *by_judges(row.get("judges"))],
    }


def instruction(row: Mapping[str, Any]) -> str:
    """The instruction, and under it the input where there is one."""
    parts = [plain_text(row.get(name)) or "" for name in ("instruction", "input")]
    return "\n\n".join(part for part in parts if part.strip())


def response(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    text = plain_text(row.get(f"response{number}"))
    if text is None:
        raise ItemError(f"there is no response in “response{number}”: write its text, or take the row out.")
    return {"model": row.get(f"model{number}"), "messages": text}


def by_people(row: Mapping[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        if row[name] is None:
            continue
        choice = CHOICES.get(str(row[name]).strip().lower())
        if choice is None:
            raise ItemError(f"“{name}” is {str(row[name])[:40]!r}: write 1, 2 or 0 (a tie).")
        yield {"rater": name, "kind": "human", "answers": preference(choice)}


def by_judges(judges: Any) -> Iterator[dict[str, Any]]:
    """Judges' verdicts; what is neither 1, 2 nor a tie is what the judge wrote, and unparsable."""
    if judges is None:
        return
    if not isinstance(judges, dict) or not all(isinstance(verdict, dict) for verdict in judges.values()):
        raise ItemError('“judges” is not an object: write {"judge": {"label": "1", "reason": …}}.')
    for name, verdict in judges.items():
        label = str(verdict.get("label")).strip()
        choice = CHOICES.get(label.lower(), "unparsable")
        yield {
            "rater": name,
            "kind": "judge",
            "answers": preference(choice),
            "reason": verdict.get("reason"),
            "reference": verdict.get("reference"),
            "metadata": {"label": label} if choice == "unparsable" else None,
        }


PANDALM = Format(
    name="pandalm",
    title="PandaLM",
    about=(
        "Labels of “annotator1”, “annotator2” … come in as annotations by people of these names, those under “judges” "
        "as annotations by judges, with their reasons and their own reference answers. 1 is the first response, 2 the "
        "second, 0 a tie."
    ),
    reads=JSON,
    matches=matches,
    item=item,
)
