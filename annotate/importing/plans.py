"""How one file is to be read: its format and, where columns are mapped, which column holds what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from annotate.importing.errors import ItemError, RowError
from annotate.importing.formats import FORMATS, PREFERENCE, Format, check_mapping, guess_mapping, recognised
from annotate.importing.native import NativeItem
from annotate.importing.pictures import Pictures
from annotate.importing.reading import CSV, JSON, OpenFile, Row, lines, opened, rows

HEAD = 20  # rows that are looked at to learn what a file is
HEAD_BYTES = 64 * 1024 * 1024  # unpacked, so that a page never waits for a gzip file that swells


@dataclass(frozen=True)
class Plan:
    """A file, its format, and column → field for formats whose columns are mapped."""

    path: Path
    format: Format
    mapping: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """What the first rows of a file show: how it is written, its columns, the first rows and what is wrong."""

    reads: str
    columns: list[str]
    rows: list[Row]
    errors: list[RowError]


def reads_as(path: Path) -> str:
    """JSON lines or CSV, by the first sign that is not blank. Raises RowError for what is neither."""
    with opened(path, most=HEAD_BYTES) as file:
        for _, line in lines(file):
            if isinstance(line, RowError):
                raise line
            if line.strip():
                return JSON if line.lstrip()[:1] in (b"{", b"[") else CSV
    raise RowError(1, "the file is empty: choose one with at least one row.")


def look(path: Path, reads: str = "", most: int = HEAD) -> Head:
    """Read the first rows. Raises RowError where the file cannot be read at all."""
    reads = reads or reads_as(path)
    with opened(path, most=HEAD_BYTES) as file:
        found = list(islice(rows(file, reads), most))
    good = [row for row in found if isinstance(row, Row)]
    columns = dict.fromkeys(name for row in good for name in row.fields)
    return Head(reads, list(columns), good, [row for row in found if isinstance(row, RowError)])


def plan_for(path: Path, format_name: str = "", mapping: Mapping[str, str] | None = None) -> Plan:
    """The plan for a file: what is not said is recognised and guessed. Raises RowError where it makes no items.

    `mapping` (column → field) overrules the guess for the columns and fields it names.
    """
    head = look(path, FORMATS[format_name].reads if format_name else "")
    if not head.rows:
        raise head.errors[0]
    plan = planned(path, head, format_name, mapping)
    if plan.format.fields:
        check_mapping(plan.mapping, head.columns)
    return plan


def planned(path: Path, head: Head, format_name: str = "", mapping: Mapping[str, str] | None = None) -> Plan:
    """As `plan_for`, from the first rows, and without asking whether the columns make items."""
    format_ = FORMATS[format_name] if format_name else recognised([row.fields for row in head.rows], head.reads)
    if not format_.fields:
        return Plan(path, format_)
    return Plan(path, format_, merge(guess_mapping(head.columns), mapping or {}))


def merge(guessed: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The guess, overruled: a field that was given a column loses the one that was guessed for it."""
    taken = {name for name in given.values() if name not in ("", "metadata", "tags")}
    kept = {column: "metadata" if name in taken else name for column, name in guessed.items()}
    return {**kept, **given}


def items(
    plan: Plan, file: OpenFile, preference: str, pictures: Pictures | None = None
) -> Iterator[tuple[int, NativeItem] | RowError]:
    """(row number, native item) for each row of an open file, and an error for each row that makes none.

    `preference` is the name of the project's preference question, under which the choices of other formats go.
    Without `pictures` a row that has an image is an error.
    """
    for row in rows(file, plan.format.reads):
        if isinstance(row, RowError):
            yield row
            continue
        try:
            fields = row.fields if pictures is None else pictures.placed(row.fields)
            yield row.number, renamed(plan, plan.format.item(fields, plan.mapping), preference)
        except ItemError as error:
            yield RowError(row.number, str(error))


def renamed(plan: Plan, item: NativeItem, preference: str) -> NativeItem:
    if plan.format.name == "native" or preference == PREFERENCE:
        return item
    annotations: list[Any] = [
        {**annotation, "answers": {preference: annotation["answers"][PREFERENCE]}}
        for annotation in item["annotations"]
    ]
    return {**item, "annotations": annotations}
