"""Leaving a rater's answers out, with a preview that is exact and an undo that is whole. The sole writer of Exclusion.

Annotations are never touched: `Rater.excluded_at` says whether they count, and aggregation, places, fits, agreement
and snapshots all ask it. A worker then brings labels and places up to it, some items at a time, each batch in one
transaction with its place in the work: a worker that dies is followed by another.

The preview does what the exclusion would do, in the same code, and rolls it back.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from annotate import aggregation, audit, changes, queue, slots, tallies
from annotate.models import Annotation, Change, Exclusion, Item, Label, Project, Rater, User

BATCH = 200  # items in one transaction
SHOWN = 50  # changed labels in a preview
UNFINISHED = frozenset({Exclusion.EXCLUDING, Exclusion.UNDOING})


class ExclusionError(Exception):
    """A rater cannot be left out or taken in again as asked; the message says why."""


@dataclass
class Preview:
    """What leaving a rater out would change. `labels` are the first of the changed ones, with before and after."""

    annotations: int = 0
    items: int = 0
    changed: int = 0
    lost: int = 0
    reopened: int = 0
    labels: list[dict[str, Any]] = field(default_factory=list)


def items_of(rater: Rater, after: int = 0) -> list[int]:
    """The next items that the rater's answers count for, in the order of their ids."""
    said = Annotation.objects.filter(rater=rater, counted=True, item__gt=after)
    return list(said.order_by("item").values_list("item", flat=True).distinct()[:BATCH])


def batches(rater: Rater) -> Iterator[list[int]]:
    last = 0
    while ids := items_of(rater, last):
        yield ids
        last = ids[-1]


def preview(rater: Rater) -> Preview:
    """Leave the rater out, look, and take it all back, batch by batch."""
    found = Preview(annotations=Annotation.objects.filter(rater=rater, counted=True, replaced_by=None).count())
    for ids in batches(rater):
        with transaction.atomic():
            # First the rater, then items, as leases do it: the other way round the two could wait for each other.
            Rater.objects.select_for_update(no_key=True).get(pk=rater.pk)
            slots.lock(ids)
            before = standing(ids)
            Rater.objects.filter(pk=rater.pk).update(excluded_at=timezone.now())
            aggregation.relabel(ids)
            after = standing(ids)
            transaction.set_rollback(True)
        compare(found, ids, before, after)
    name_items(found)
    return found


Standings = tuple[dict[tuple[int, str], Any], dict[int, str]]


def standing(ids: list[int]) -> Standings:
    """(item, question) → label's value, and item → state."""
    labels = Label.objects.filter(item__in=ids).order_by("item", "question__position")
    values = {(item, title): (value, kind) for item, title, value, kind in labels.values_list(*LABEL)}
    return values, dict(Item.objects.filter(pk__in=ids).values_list("pk", "state"))


LABEL = ("item", "question__title", "value", "question__kind")


def compare(found: Preview, ids: list[int], before: Standings, after: Standings) -> None:
    found.items += len(ids)
    found.reopened += sum(before[1][pk] == Item.LABELLED and after[1][pk] == Item.OPEN for pk in ids)
    for (item, title), (was, kind) in before[0].items():
        becomes = after[0].get((item, title), (None, kind))[0]
        if becomes != was:
            found.changed += becomes is not None
            found.lost += becomes is None
            if len(found.labels) < SHOWN:
                found.labels.append({"item": item, "question": title, "kind": kind, "before": was, "after": becomes})


def name_items(found: Preview) -> None:
    titles = dict(Item.objects.filter(pk__in={row["item"] for row in found.labels}).values_list("pk", "title"))
    for row in found.labels:
        row["title"] = titles[row["item"]]


# --- Doing it, and undoing it ---------------------------------------------------------------------------------


@transaction.atomic
def exclude(*, rater: Rater, by: User | None, reason: str = "") -> Exclusion:
    """Leave the rater's answers out from now on; `work` brings labels up to it. Raises ExclusionError.

    `by` is None where no person did it: a judge that attacks fool is left out by itself.
    """
    if not Rater.objects.filter(pk=rater.pk, excluded_at=None).update(excluded_at=timezone.now()):
        raise ExclusionError(f"{rater} is left out already.")
    rater.refresh_from_db()
    if rater.user is not None:
        queue.release_all(user=rater.user, project=rater.project)
    made = Exclusion.objects.create(rater=rater, reason=reason[:300], created_by=by, total=total_of(rater))
    record(made, audit.REMOVED, by, after={"reason": reason, "items": made.total})
    return made


@transaction.atomic
def undo(*, exclusion: Exclusion, by: User | None) -> None:
    """Take the answers in again; `work` brings labels back to what they were. Raises ExclusionError."""
    rater = exclusion.rater
    latest = Exclusion.objects.filter(rater=rater).first()
    taken_in = latest == exclusion and Rater.objects.filter(pk=rater.pk, excluded_at__isnull=False).update(
        excluded_at=None
    )
    if not taken_in:
        raise ExclusionError(f"{rater}'s answers count already.")
    Exclusion.objects.filter(pk=exclusion.pk).update(
        state=Exclusion.UNDOING,
        cursor=0,
        done=0,
        total=total_of(rater),
        undone_by=by,
        undone_at=timezone.now(),
        finished_at=None,
    )
    exclusion.refresh_from_db()
    record(exclusion, audit.UNDONE, by)


def restore(*, project: Project, by: User | None, left_out: Iterable[Mapping[str, str]]) -> None:
    """The raters whose answers an export says do not count, before these answers come in."""
    for named in left_out:
        rater, _ = Rater.objects.get_or_create(project=project, kind=named["kind"], name=named["rater"])
        Rater.objects.filter(pk=rater.pk).update(excluded_at=timezone.now())
        Exclusion.objects.create(
            rater=rater, state=Exclusion.EXCLUDED, created_by=by, finished_at=timezone.now(), reason="came left out"
        )


def total_of(rater: Rater) -> int:
    return Annotation.objects.filter(rater=rater, counted=True).values("item").distinct().count()


def record(exclusion: Exclusion, verb: str, by: User | None, **values: Any) -> None:
    rater = exclusion.rater
    audit.record(
        project=rater.project, by=by, verb=verb, kind="rater's answers", object_id=rater.pk, words=rater.name, **values
    )


def work(exclusion_id: int) -> None:
    """Do what is left of an exclusion or its undoing; two workers at once do each batch once."""
    while step(exclusion_id):
        pass


@transaction.atomic
def step(exclusion_id: int) -> bool:
    """One batch; False once nothing is left, or another worker is at it."""
    row = Exclusion.objects.select_for_update(no_key=True).select_related("rater").get(pk=exclusion_id)
    if row.state not in UNFINISHED:
        return False
    ids = items_of(row.rater, row.cursor)
    if not ids:
        row.state = Exclusion.EXCLUDED if row.state == Exclusion.EXCLUDING else Exclusion.UNDONE
        row.finished_at = timezone.now()
        row.save(update_fields=["state", "finished_at"])
        return False
    slots.lock(ids)
    slots.settle(ids)
    for project_id, (changed, counts) in aggregation.relabel(ids).items():
        changes.record(project_id=project_id, kind=Change.RELABELLED, item_ids=changed)
        tallies.add(project_id=project_id, counts=counts)
    row.cursor, row.done = ids[-1], row.done + len(ids)
    row.save(update_fields=["cursor", "done"])
    return True


def unfinished() -> list[int]:
    """Exclusions that a worker should look at."""
    return list(Exclusion.objects.filter(state__in=UNFINISHED).values_list("pk", flat=True))


def rows(project: Project) -> list[Exclusion]:
    """What was left out and taken in again in a project, the newest first."""
    return list(Exclusion.objects.filter(rater__project=project).select_related("rater", "created_by")[:50])
