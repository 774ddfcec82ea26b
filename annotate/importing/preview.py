"""What an uploaded file would become, shown from its first rows before anything is taken in."""

import base64
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.attachments import Shown, shown
from annotate.imaging import thumbnail
from annotate.importing.checking import asked_in, checked, pool_names, preference_in
from annotate.importing.errors import ItemError, RowError
from annotate.importing.formats import FORMATS, Format, check_mapping
from annotate.importing.native import CheckedItem
from annotate.importing.pictures import Pictures, pictures_of
from annotate.importing.plans import Head, Plan, look, planned, renamed
from annotate.importing.reading import Row
from annotate.models import Project

SHOWN = 5  # rows
MOST_PICTURES = 8  # made for a look; an import makes all
SIDE = 640  # pixels, of a picture in the preview


@dataclass(frozen=True)
class Column:
    """A column of the file: what stands in its first rows, and the field that it is mapped to."""

    name: str
    samples: list[str]
    field: str


@dataclass(frozen=True)
class Preview:
    """The first rows as items, or what is in the way. `plan` is None where the file cannot be read at all."""

    plan: Plan | None = None
    columns: list[Column] = field(default_factory=list)
    items: list[tuple[int, CheckedItem]] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    pictures: Mapping[str, Shown] = field(default_factory=dict)

    @property
    def formats(self) -> list[Format]:
        """The formats that are written as this file is."""
        return [one for one in FORMATS.values() if self.plan and one.reads == self.plan.format.reads]

    @property
    def is_ready(self) -> bool:
        """Whether taking the file in can be tried: one bad row keeps the whole file out."""
        return bool(self.items) and not self.errors


def preview(
    *, project: Project, path: Path, format_name: str = "", mapping: Mapping[str, str] | None = None
) -> Preview:
    """The first rows of a file as the project would have them. Reads little, writes nothing."""
    try:
        head = look(path)
    except RowError as error:
        return Preview(errors=[error])
    if not head.rows:
        return Preview(errors=head.errors[:SHOWN])
    known = format_name in FORMATS and FORMATS[format_name].reads == head.reads
    plan = planned(path, head, format_name if known else "", mapping)
    if not plan.format.fields:
        return with_items(project, plan, head, [])
    columns = [Column(name, samples(head.rows, name), plan.mapping[name]) for name in head.columns]
    try:
        check_mapping(plan.mapping, head.columns)
    except RowError as error:
        return Preview(plan, columns, errors=[error])
    return with_items(project, plan, head, columns)


def looked_at(project: Project, pictures: Pictures) -> dict[str, Shown]:
    """The pictures of the first rows; new ones small and inside the page, as they are kept only with the import."""
    made = {
        one.picture.sha256: Shown(
            f"data:image/webp;base64,{base64.b64encode(thumbnail(one.picture.data, SIDE)).decode()}",
            one.picture.width,
            one.picture.height,
        )
        for one in pictures.incoming()
    }
    return {**shown(project, pictures.by_original.values()), **made}


def samples(rows: list[Row], column: str) -> list[str]:
    """The start of what stands in a column, in the first three rows that have something there."""
    texts = (" ".join(str(row.fields[column])[:400].split())[:120] for row in rows if row.fields.get(column))
    return [text for text, _ in zip(texts, range(3), strict=False)]


def with_items(project: Project, plan: Plan, head: Head, columns: list[Column]) -> Preview:
    asked, known_pools = asked_in(project), pool_names(project)
    found: list[tuple[int, CheckedItem] | RowError] = [*head.errors]
    with pictures_of(plan.path, project, only=MOST_PICTURES) as pictures:
        for row in head.rows[:SHOWN]:
            found.extend(item_of(row, plan, asked, known_pools, pictures))
        seen = looked_at(project, pictures)
    errors = sorted((one for one in found if isinstance(one, RowError)), key=lambda error: error.row)
    return Preview(plan, columns, [one for one in found if not isinstance(one, RowError)], errors, seen)


def item_of(
    row: Row, plan: Plan, asked: Mapping[str, Any], known_pools: Collection[str], pictures: Pictures
) -> Iterator[tuple[int, CheckedItem] | RowError]:
    try:
        item = renamed(plan, plan.format.item(pictures.placed(row.fields), plan.mapping), preference_in(asked))
        yield checked((row.number, item), asked, known_pools)
    except ItemError as error:
        yield RowError(row.number, str(error))
    except RowError as error:
        yield error
