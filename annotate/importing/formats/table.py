"""Rows of named columns, from CSV or from JSON lines with names of their own: the mapping says what each holds."""

from collections.abc import Iterable, Mapping
from typing import Any

from annotate.importing.errors import ItemError, RowError
from annotate.importing.formats.format import Field, Format
from annotate.importing.formats.pairs import pair_item, preference
from annotate.importing.formats.trl_preference import sides
from annotate.importing.native import NativeItem, plain_text
from annotate.importing.reading import CSV, JSON

RATER = "choice in file"
LEAVE_OUT, KEEP = "", "metadata"
FIELDS = (
    Field("prompt", "Prompt", ("prompt", "question", "instruction", "query", "input", "context", "user", "request")),
    Field("input", "More of the prompt, below it", ("input", "context", "passage")),
    Field("response_a", "Response a",
          ("response_a", "response_1", "answer_a", "answer_1", "output_a", "output_1", "completion_a", "completion_1",
           "conversation_a", "a", "response", "answer", "output", "completion")),
    Field("response_b", "Response b",
          ("response_b", "response_2", "answer_b", "answer_2", "output_b", "output_2", "completion_b", "completion_2",
           "conversation_b", "b")),
    Field("chosen", "Chosen response", ("chosen", "preferred", "better", "winner_response", "best")),
    Field("rejected", "Rejected response", ("rejected", "dispreferred", "worse", "loser_response", "worst")),
    Field("choice", "Choice",
          ("choice", "winner", "preference", "preferred_response", "label", "verdict", "better_response")),
    Field("model_a", "Model a", ("model_a", "model_1", "generator_1", "generator_a", "model")),
    Field("model_b", "Model b", ("model_b", "model_2", "generator_2", "generator_b")),
    Field("chosen_model", "Model of the chosen response", ("chosen_model", "model_chosen")),
    Field("rejected_model", "Model of the rejected response", ("rejected_model", "model_rejected")),
    Field("rater", "Who chose", ("rater", "annotator", "labeler", "labeller", "worker", "judge")),
    Field("reason", "Reason", ("reason", "rationale", "comment", "explanation", "justification")),
    Field("id", "Id", ("id", "uid", "uuid", "item_id", "item", "key", "row_id", "pair_id")),
    Field("pool", "Pool: who may label it", ("pool",)),
    Field("tags", "Tags", ("tags", "tag", "category", "topic", "dataset", "source"), many=True),
    Field(KEEP, "Keep as metadata", many=True),
)  # fmt: skip
WORDS = {
    "a": "a", "1": "a", "first": "a", "left": "a", "response_a": "a", "response_1": "a", "model_a": "a",
    "answer_a": "a", "output_1": "a", "b": "b", "2": "b", "second": "b", "right": "b", "response_b": "b",
    "response_2": "b", "model_b": "b", "answer_b": "b", "output_2": "b", "tie": "tie", "0": "tie", "equal": "tie",
    "same": "tie", "both_bad": "both_bad", "tie_(bothbad)": "both_bad", "bothbad": "both_bad", "neither": "both_bad",
    "unsure": "unsure", "unparsable": "unparsable",
}  # fmt: skip


def plain_name(name: str) -> str:
    """A column's name as guesses have it: “Response A” → response_a, “answer1” → answer_1."""
    text = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    return f"{text[:-1]}_{text[-1]}" if len(text) > 1 and text[-1] in "12" and text[-2].isalpha() else text


def guess_mapping(columns: Iterable[str]) -> dict[str, str]:
    """Column → field, guessed from the names; columns that say nothing to us are kept as metadata."""
    mapping: dict[str, str] = {}
    names = {column: plain_name(column) for column in columns}
    for field in FIELDS:
        ranked = [column for guess in field.guesses for column, name in names.items() if name == guess]
        for column in ranked if field.many else ranked[:1]:
            mapping.setdefault(column, field.name)
    if "chosen" in mapping.values() and "rejected" in mapping.values():
        mapping = {column: field for column, field in mapping.items() if field not in ("response_a", "choice")}
    return {column: mapping.get(column, KEEP) for column in names}


def check_mapping(mapping: Mapping[str, str], columns: Iterable[str]) -> None:
    """Raise RowError on the header's row where the columns do not make an item."""
    columns = list(columns)
    names = {field.name: field for field in FIELDS}
    given = [field for column, field in mapping.items() if field != LEAVE_OUT]
    for column, field in mapping.items():
        if column not in columns:
            raise RowError(1, f"there is no column “{column[:60]}”: the columns are {listed(columns)}.")
        if field != LEAVE_OUT and field not in names:
            raise RowError(1, f"“{field[:60]}” is nothing that an item has: use one of {listed(names)}.")
    for field in given:
        if not names[field].many and given.count(field) > 1:
            raise RowError(1, f"two columns are to be the {names[field].title.lower()}: choose one of them.")
    chosen = "chosen" in given and "rejected" in given
    if not chosen and "response_a" not in given:
        raise RowError(1, f"no column holds a response (the columns are {listed(columns)}): say which one does.")
    if not chosen and "prompt" not in given:
        raise RowError(1, f"no column holds the prompt (the columns are {listed(columns)}): say which one does.")


def listed(names: Iterable[str]) -> str:
    shown = [name[:40] for name in names]
    return ", ".join(shown[:12]) + (" …" if len(shown) > 12 else "") or "none"


def by_field(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Field → value for the fields that one column holds; a blank cell is as if it were not there."""
    fields = {
        field: row[column]
        for column, field in mapping.items()
        if column in row and field not in (LEAVE_OUT, KEEP, "tags") and row[column] not in (None, "")
    }
    if "prompt" in fields and "input" in fields:
        fields["prompt"] = f"{fields['prompt']}\n\n{fields['input']}"
    return fields


def tags_in(row: Mapping[str, Any], mapping: Mapping[str, str]) -> list[str]:
    """Tags of all tag columns: lists as they are, texts split at commas and semicolons."""
    tags: list[str] = []
    for column in (column for column, field in mapping.items() if field == "tags"):
        value = row.get(column)
        parts = value if isinstance(value, list) else (plain_text(value) or "").replace(";", ",").split(",")
        tags.extend(str(part) for part in parts)
    return tags


def item(row: Mapping[str, Any], mapping: Mapping[str, str]) -> NativeItem:
    fields = by_field(row, mapping)
    kept = {column: row[column] for column, field in mapping.items() if field == KEEP and row.get(column) is not None}
    common = {"id": fields.get("id"), "tags": tags_in(row, mapping), "metadata": kept}
    if "pool" in fields:
        common["for"] = {"pool": fields["pool"]}
    named = set(mapping.values())
    if {"chosen", "rejected"} <= named:
        return chosen_item(fields, common)
    if "prompt" not in fields:
        raise ItemError("the prompt is empty: fill its cell, or take the row out.")
    letters = [letter for letter in "ab" if f"response_{letter}" in named]
    models = [str(fields.get(f"model_{letter}", "")) for letter in letters]
    return {
        **common,
        "prompt": fields["prompt"],
        "responses": [
            {"model": model, "messages": response(fields, letter)}
            for letter, model in zip(letters, models, strict=True)
        ],
        "annotations": labels(fields, models),
    }


def chosen_item(fields: Mapping[str, Any], common: dict[str, Any]) -> NativeItem:
    prompt, chosen, rejected = sides(fields)
    return pair_item(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        rater=rater(fields),
        models=(str(fields.get("chosen_model", "")), str(fields.get("rejected_model", ""))),
        annotation={"reason": fields.get("reason")},
        **common,
    )


def response(fields: Mapping[str, Any], letter: str) -> Any:
    if f"response_{letter}" not in fields:
        raise ItemError(f"there is no response {letter}: fill its cell, or take the row out.")
    return fields[f"response_{letter}"]


def rater(fields: Mapping[str, Any]) -> str:
    return plain_text(fields.get("rater")) or RATER


def labels(fields: Mapping[str, Any], models: list[str]) -> list[dict[str, Any]]:
    """The row's choice as an annotation; none where its cell is blank."""
    if "choice" not in fields:
        return []
    choice = choice_of(plain_text(fields["choice"]) or "", models)
    return [{"rater": rater(fields), "kind": "human", "answers": preference(choice), "reason": fields.get("reason")}]


def choice_of(text: str, models: list[str]) -> str:
    """a or b from a letter, a number, a column's name or a model's name; tie, both_bad … as they are."""
    if text and models.count(text) == 1:
        return "ab"[models.index(text)]
    word = "_".join(text.strip().lower().replace("-", " ").split())
    if word not in WORDS:
        raise ItemError(f"the choice is {text[:40]!r}: write a, b, tie, both_bad or unsure (or 1, 2, 0).")
    return WORDS[word]


ABOUT = (
    "Say below which column holds what; columns that you keep as metadata stay with the item. A choice (a, b, tie; "
    f"1, 2, 0; or a model's name) comes in as an annotation by the person in “who chose”, or by “{RATER}”."
)
TABLE = Format(
    name="csv",
    title="CSV",
    about=f"One row an item, with a header. {ABOUT}",
    reads=CSV,
    matches=lambda row: True,
    item=item,
    fields=FIELDS,
)
JSON_TABLE = Format(
    name="json-columns",
    title="JSON lines with names of their own",
    about=f"One JSON object a line. {ABOUT}",
    reads=JSON,
    matches=lambda row: True,
    item=item,
    fields=FIELDS,
)
