"""What stood beside the items of a raw export, taken in again: each kind by the one that writes it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from django.utils import timezone

from annotate import flags, queue, slots
from annotate.beside import BATCH, CHOSEN_BY_ID, SIGNAL
from annotate.importing.errors import RowError
from annotate.managing import curating, saved_views
from annotate.models import (
    Annotation,
    Assignment,
    Comment,
    Flag,
    Item,
    Pool,
    Project,
    Rater,
    Return,
    SavedView,
    Suspicion,
    User,
)
from annotate.quality import discussion, review, watching

Row = Mapping[str, Any]


@dataclass
class Place:
    """Where rows go, and whom and what they name there."""

    project: Project
    by: User | None
    raters: dict[tuple[str, str], Rater] = field(default_factory=dict)
    users: dict[str, User | None] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)

    def rater(self, row: Row) -> Rater:
        key = (str(row["rater_kind"]), str(row["rater"]))
        if key not in self.raters:
            self.raters[key], _ = Rater.objects.get_or_create(project=self.project, kind=key[0], name=key[1])
        return self.raters[key]

    def user(self, name: Any) -> User | None:
        """The account of this name, where there is one here."""
        if name and name not in self.users:
            self.users[name] = User.objects.filter(username=name).first()
        return self.users[name] if name else None

    def look_up(self, rows: Iterable[Row]) -> None:
        """Find the items of a batch at once."""
        names = [str(row["item"]) for row in rows if "item" in row]
        found = Item.objects.filter(project=self.project, external_id__in=names)
        self.items = dict(found.values_list("external_id", "pk"))

    def item(self, row: Row) -> int:
        return self.items[str(row["item"])]


def at(value: Any) -> datetime:
    return datetime.fromisoformat(value)


def maybe(value: Any) -> datetime | None:
    return at(value) if value else None


def take_in(*, project: Project, rows: Iterable[tuple[int, Row]], by: User | None) -> None:
    """Take the rows in, inside the import's transaction. Raises RowError for a row that cannot be read."""
    place = Place(project, by)
    for kind, run in groupby(rows, key=lambda row: row[1].get("kind") if isinstance(row[1], dict) else None):
        while batch := list(islice(run, BATCH)):
            if kind not in WRITERS:
                raise RowError(batch[0][0], f"beside items there is no “{str(kind)[:40]}”: use {', '.join(WRITERS)}.")
            place.look_up(row for _number, row in batch)
            write(WRITERS[str(kind)], place, batch)


def write(writer: Callable[[Place, Row], Any], place: Place, batch: list[tuple[int, Row]]) -> None:
    made = []
    for number, row in batch:
        try:
            made.append(writer(place, row))
        except (KeyError, TypeError, ValueError) as error:
            raise RowError(number, f"this {row['kind']} cannot be read, for its {error}: export anew.") from None
    RESTORE[writer](place.project, [one for one in made if one is not None])


def skip(place: Place, row: Row) -> Assignment:
    ended = maybe(row.get("at")) or timezone.now()
    return Assignment(
        item_id=place.item(row), rater=place.rater(row), state=Assignment.SKIPPED, order=row["order"],
        skip_reason=str(row.get("reason", ""))[:300], leased_at=ended, expires_at=ended, finished_at=ended,
    )  # fmt: skip


def flag(place: Place, row: Row) -> Flag:
    return Flag(
        project=place.project, item_id=place.item(row), rater=place.rater(row), kind=row["problem"],
        comment=row.get("comment", ""), created_at=at(row["at"]), resolution=row.get("resolution", ""),
        resolved_at=maybe(row.get("resolved_at")), resolved_by=place.user(row.get("resolved_by")),
    )  # fmt: skip


def comment(place: Place, row: Row) -> Comment:
    author = place.user(row.get("author"))
    above = place.comments[row["answers"]] if "answers" in row else None
    made = Comment(
        item_id=place.item(row), author=author, written_by="" if author else row.get("author", ""), role=row["role"],
        body=row["body"], created_at=at(row["at"]), parent=above,
    )  # fmt: skip
    place.comments[int(row["number"])] = made
    return made


def returned(place: Place, row: Row) -> Return:
    answer = annotation(place, row, row["answer"])
    return Return(
        item_id=place.item(row), rater_id=answer.rater_id, annotation=answer,
        verdict=annotation(place, row, row["verdict"]), comment=row.get("comment", ""),
        asks_again=row["asks_again"], created_by=place.user(row.get("by")), created_at=at(row["at"]),
        seen_at=maybe(row.get("seen_at")),
    )  # fmt: skip


def annotation(place: Place, row: Row, named: Row) -> Annotation:
    found = Annotation.objects.filter(
        item=place.item(row), rater=place.rater(named), order_key=named["place"], revision=named["revision"]
    )
    if (one := found.first()) is None:
        raise ValueError("annotation, which its item does not have")
    return one


def suspicion(place: Place, row: Row) -> Suspicion:
    said = {name: row[name] for name in SIGNAL if name in row}
    by, when = place.user(row.get("decided_by")), maybe(row.get("decided_at"))
    return Suspicion(rater=place.rater(row), decided_by=by, decided_at=when, created_at=at(row["at"]), **said)


def view(place: Place, row: Row) -> SavedView | None:
    """A view needs an owner: whoever had it, else who takes the project in; without either it stays out."""
    owner = place.user(row.get("owner")) or place.by
    if owner is None:
        return None
    choices = dict(row.get("choices", {}))
    for name, named in row.get("chosen", {}).items():
        pools = Pool.objects.filter(project=place.project, name=named.get("pool", ""))
        found = place.rater(named) if CHOSEN_BY_ID[name] is Rater else pools.first()
        if found is not None:
            choices[name] = str(found.pk)
    return SavedView(project=place.project, owner=owner, name=row["name"], shared=row["shared"], choices=choices)


def archived(place: Place, row: Row) -> int:
    return place.item(row)


def archive(project: Project, ids: list[int]) -> None:
    slots.lock(ids)
    curating.set_archived(project, dict.fromkeys(ids, True))


WRITERS: dict[str, Callable[[Place, Row], Any]] = {
    "skip": skip, "flag": flag, "comment": comment, "return": returned, "suspicion": suspicion, "view": view,
    "archived": archived,
}  # fmt: skip
RESTORE: dict[Callable[[Place, Row], Any], Callable[[Project, list[Any]], None]] = {
    skip: lambda _project, rows: queue.restore_skips(rows=rows),
    flag: lambda _project, rows: flags.restore(rows=rows),
    comment: lambda _project, rows: discussion.restore(rows=rows),
    returned: lambda _project, rows: review.restore(rows=rows),
    suspicion: lambda _project, rows: watching.restore(rows=rows),
    view: lambda _project, rows: saved_views.restore(rows=rows),
    archived: archive,
}
