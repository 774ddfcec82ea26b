"""What stands beside the items in a raw export, a row a thing: skips, flags, comments, items returned to their
raters, suspicions, saved views, archived items. Read only; `annotate.importing.beside` takes the rows in again.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

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

BATCH = 500  # rows in memory at once
Row = dict[str, Any]
Named = Callable[[str], str]  # a person's name → what stands for it in the export
SIGNAL = ("signal", "value", "low", "high", "n", "threshold", "state", "note")
CHOSEN_BY_ID: dict[str, type[Rater] | type[Pool]] = {
    "rater": Rater,
    "pool": Pool,
}  # choices of a view that name a row of their own


def rows_of(project: Project, named: Named) -> Iterator[Row]:
    """Every row: what others answer (a comment that has replies) before what answers it."""
    for kind, rows in KINDS.items():
        for row in rows(project, named):
            yield {"kind": kind, **{name: value for name, value in row.items() if value not in (None, "", [], {})}}


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def person(user: User | None, named: Named, otherwise: str = "") -> str:
    return named(user.username if user else otherwise)


def rater_row(rater: Rater, named: Named) -> Row:
    return {"rater": named(rater.name) if rater.kind == Rater.HUMAN else rater.name, "rater_kind": rater.kind}


def each(found: QuerySet[Any]) -> Iterator[Any]:
    return found.order_by("pk").iterator(chunk_size=BATCH)


def skips(project: Project, named: Named) -> Iterator[Row]:
    found = Assignment.objects.filter(item__project=project, state=Assignment.SKIPPED)
    for one in each(found.select_related("item", "rater").only("item__external_id", "rater", "order", "skip_reason",
                                                               "finished_at")):  # fmt: skip
        yield {
            "item": one.item.external_id,
            **rater_row(one.rater, named),
            "order": one.order,
            "reason": one.skip_reason,
            "at": moment(one.finished_at),
        }


def flags(project: Project, named: Named) -> Iterator[Row]:
    for one in each(Flag.objects.filter(project=project).select_related("item", "rater", "resolved_by")):
        yield {
            "item": one.item.external_id,
            **rater_row(one.rater, named),
            "problem": one.kind,
            "comment": one.comment,
            "at": moment(one.created_at),
            "resolution": one.resolution,
            "resolved_at": moment(one.resolved_at),
            "resolved_by": person(one.resolved_by, named),
        }


def comments(project: Project, named: Named) -> Iterator[Row]:
    """A reply names its comment by number; numbers count within the export."""
    numbers: dict[int, int] = {}
    for one in each(Comment.objects.filter(item__project=project).select_related("item", "author")):
        numbers[one.pk] = len(numbers) + 1
        yield {
            "number": numbers[one.pk],
            "answers": numbers.get(one.parent_id),
            "item": one.item.external_id,
            "author": person(one.author, named, one.written_by),
            "role": one.role,
            "body": one.body,
            "at": moment(one.created_at),
        }


def annotation_row(annotation: Annotation, named: Named) -> Row:
    """Which annotation of its item this is."""
    return {**rater_row(annotation.rater, named), "place": annotation.order_key, "revision": annotation.revision}


def returns(project: Project, named: Named) -> Iterator[Row]:
    found = Return.objects.filter(item__project=project)
    for one in each(found.select_related("item", "annotation__rater", "verdict__rater", "created_by")):
        yield {
            "item": one.item.external_id,
            "answer": annotation_row(one.annotation, named),
            "verdict": annotation_row(one.verdict, named),
            "comment": one.comment,
            "asks_again": one.asks_again,
            "by": person(one.created_by, named),
            "at": moment(one.created_at),
            "seen_at": moment(one.seen_at),
        }


def suspicions(project: Project, named: Named) -> Iterator[Row]:
    for one in each(Suspicion.objects.filter(rater__project=project).select_related("rater", "decided_by")):
        yield {
            **rater_row(one.rater, named),
            **{name: getattr(one, name) for name in SIGNAL},
            "decided_by": person(one.decided_by, named),
            "decided_at": moment(one.decided_at),
            "at": moment(one.created_at),
        }


def views(project: Project, named: Named) -> Iterator[Row]:
    """A view's choices name raters and pools by their names; a file that items came from is not in the export."""
    for one in each(SavedView.objects.filter(project=project).select_related("owner")):
        choices = {name: value for name, value in one.choices.items() if name not in (*CHOSEN_BY_ID, "source")}
        yield {
            "name": one.name,
            "owner": person(one.owner, named),
            "shared": one.shared,
            "choices": choices,
            "chosen": {name: row for name in CHOSEN_BY_ID if (row := chosen(project, name, one.choices, named))},
        }


def chosen(project: Project, name: str, choices: dict[str, Any], named: Named) -> Row | None:
    value = str(choices.get(name, ""))
    found = CHOSEN_BY_ID[name].objects.filter(project=project, pk=int(value)).first() if value.isdecimal() else None
    if found is None:
        return None
    return rater_row(found, named) if isinstance(found, Rater) else {"pool": found.name}


def archived(project: Project, _named: Named) -> Iterator[Row]:
    for one in each(Item.objects.filter(project=project, state=Item.ARCHIVED).only("external_id")):
        yield {"item": one.external_id}


# The pipeline adds what it keeps (`pipeline.routing.moving`), and how it is taken in again.
KINDS: dict[str, Callable[[Project, Named], Iterator[Row]]] = {
    "skip": skips,
    "flag": flags,
    "comment": comments,
    "return": returns,
    "suspicion": suspicions,
    "view": views,
    "archived": archived,
}
