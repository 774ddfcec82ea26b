"""The sole writer of Loop and LoopFiring: recurring recipes, and when they start a run.

Beat sends a task for each loop every so many minutes (a PeriodicTask of django-celery-beat), and the task looks. It
may be sent twice, late or at the same time: a loop fires by a conditional update of its cursor, so of several looks
at the same labels one fires.

New labels are labelled items with a submitted or imported Change after the cursor. On PostgreSQL a number that was
drawn early may be committed late, by a long import for one, when the cursor has already passed it. So a firing also
keeps how many Changes lay up to its cursor, and what has since been added below it counts as new too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from annotate import audit
from annotate.models import Change, Item, Project, User
from pipeline import recipes
from pipeline.ml.configs import from_dict, to_dict
from pipeline.ml.stages import STAGES
from pipeline.models import Loop, LoopFiring, Run, Snapshot

STEPS: dict[str, Callable[..., Run]] = {
    "train_reward": recipes.train_reward,
    "dpo": recipes.train_dpo,
    "ppo": recipes.train_ppo,
}
TASK = "pipeline.tasks.look_loop"
COUNTED = (Change.SUBMITTED, Change.IMPORTED)


class LoopError(Exception):
    """A loop cannot be made as asked; the message says why."""


@transaction.atomic
def create_loop(
    *,
    project: Project,
    name: str,
    new_labels: int,
    every_minutes: int,
    by: User | None,
    step: str = "train_reward",
    config: Mapping[str, Any] | None = None,
) -> Loop:
    """A loop with its periodic task. It counts from now on: labels that are there already are not new."""
    whole = to_dict(from_dict(STAGES[step].config, config or {}))
    cursor = newest_change(project)
    try:
        with transaction.atomic():
            loop = Loop.objects.create(
                project=project,
                name=name,
                step=step,
                config=whole,
                new_labels=new_labels,
                every_minutes=every_minutes,
                cursor=cursor,
                seen=counted(project).filter(id__lte=cursor).count(),
                created_by=by,
            )
    except IntegrityError:
        raise LoopError(f"There is a loop “{name}” already: choose another name.") from None
    loop.periodic_task = PeriodicTask.objects.create(
        name=f"loop {loop.pk}: {project.slug} / {name}",
        task=TASK,
        args=json.dumps([loop.pk]),
        interval=interval(every_minutes),
        enabled=True,
    )
    loop.save(update_fields=["periodic_task"])
    after = {"step": step, "new_labels": new_labels, "every_minutes": every_minutes}
    record(loop, audit.CREATED, by, after=after)
    return loop


def record(loop: Loop, verb: str, by: User | None, **values: dict[str, Any]) -> None:
    audit.record(project=loop.project, by=by, verb=verb, kind="loop", object_id=loop.pk, words=loop.name, **values)


def interval(minutes: int) -> IntervalSchedule:
    wanted = {"every": minutes, "period": IntervalSchedule.MINUTES}
    return IntervalSchedule.objects.filter(**wanted).first() or IntervalSchedule.objects.create(**wanted)


@transaction.atomic
def set_enabled(*, loop: Loop, enabled: bool, by: User | None = None) -> None:
    """Pause a loop, or let it go on; labels that come while it is paused count when it goes on."""
    record(loop, audit.RESUMED if enabled else audit.STOPPED, by)
    loop.enabled = enabled
    loop.save(update_fields=["enabled"])
    if loop.periodic_task is not None:
        loop.periodic_task.enabled = enabled
        loop.periodic_task.save()


@transaction.atomic
def delete_loop(*, loop: Loop, by: User | None = None) -> None:
    """Take a loop and its periodic task away; the runs and models it has made stay."""
    task = loop.periodic_task
    record(loop, audit.REMOVED, by)
    loop.delete()
    if task is not None:
        task.delete()


# --- Counting -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Reading:
    """What a look sees: the newest Change, how many there are up to it, and how many labels are new."""

    cursor: int
    seen: int
    new: int


def counted(project: Any) -> QuerySet[Change]:
    """The Changes of a project that stand for labels of people and judges."""
    return Change.objects.filter(project=project, kind__in=COUNTED)


def newest_change(project: Project) -> int:
    return counted(project).aggregate(newest=Max("id"))["newest"] or 0


def number_of(changes: QuerySet[Change], what: Count | Max) -> Coalesce:
    """An aggregate over some of a loop's Changes, as a column of the loop; 0 where there is none."""
    return Coalesce(Subquery(changes.order_by().values("project").annotate(number=what).values("number")), 0)


def readings(found: QuerySet[Loop]) -> dict[int, Reading]:
    """Loop id → what it sees now. One statement, so that all of its numbers are of one moment."""
    changes = counted(OuterRef("project"))
    fresh = changes.filter(id__gt=OuterRef("cursor"), item__state=Item.LABELLED)
    rows = found.annotate(
        newest=number_of(changes, Max("id")),
        all=number_of(changes, Count("id")),
        below=number_of(changes.filter(id__lte=OuterRef("cursor")), Count("id")),
        fresh=number_of(fresh, Count("item", distinct=True)),
    ).values_list("id", "newest", "all", "seen", "below", "fresh")
    return {
        pk: Reading(cursor=newest, seen=everything, new=labelled + max(0, below - seen))
        for pk, newest, everything, seen, below, labelled in rows
    }


# --- Firing ---------------------------------------------------------------------------------------------------
def look(loop_id: int) -> LoopFiring | None:
    """Fire the loop if enough new labels are there, it is not paused, and its last run has ended."""
    loop = Loop.objects.select_related("project", "created_by").filter(pk=loop_id).first()
    if loop is None:  # gone with its project: then nobody needs to look any more
        PeriodicTask.objects.filter(task=TASK, args=json.dumps([loop_id])).delete()
        return None
    if not loop.enabled or loop.project.state != Project.ACTIVE:
        return None
    Loop.objects.filter(pk=loop.pk).update(last_look=timezone.now())
    reading = readings(Loop.objects.filter(pk=loop.pk))[loop.pk]
    busy = loop.runs.exclude(state__in=Run.ENDED).exists()
    if busy or reading.new < loop.new_labels or reading.cursor <= loop.cursor:
        return None
    snapshot, problem = cut(loop)  # before the claim, since it may take long; the same labels give the same one
    return fire(loop, reading, snapshot, problem)


def cut(loop: Loop) -> tuple[Snapshot | None, str]:
    try:
        return recipes.cut(loop.project, loop.created_by), ""
    except recipes.RecipeError as error:
        return None, str(error)


@transaction.atomic
def fire(loop: Loop, reading: Reading, snapshot: Snapshot | None, problem: str) -> LoopFiring | None:
    """Claim the labels that were read and start the loop's step; None where another look was first."""
    claimed = Loop.objects.filter(pk=loop.pk, cursor=loop.cursor, enabled=True).update(
        cursor=reading.cursor, seen=reading.seen
    )
    if not claimed:
        return None
    run, message = (None, problem) if snapshot is None else start(loop, snapshot)
    return LoopFiring.objects.create(
        loop=loop,
        number=loop.firings.count() + 1,
        cursor=reading.cursor,
        labels=reading.new,
        run=run,
        message=message[:300],
    )


def start(loop: Loop, snapshot: Snapshot) -> tuple[Run | None, str]:
    """The run of a firing; or none, and why, so that the loop's page can say it."""
    try:
        with transaction.atomic():
            run = STEPS[loop.step](
                project=loop.project, by=loop.created_by, config=loop.config, snapshot=snapshot, loop=loop
            )
    except recipes.RecipeError as error:
        return None, str(error)
    return run, ""
