"""Who did how much when: the sole writer of WorkHour, RaterPace and Rollup. Submits do not wait for it.

New answers are read from the Change log by cursor, once they are old enough that no earlier Change can still be on
its way. Annotations of files come without a Change of their own and in transactions that may take long: when an
import with annotations has ended, the project is rolled up anew from all of its annotations.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import TruncHour
from django.utils import timezone

from annotate.aggregation import main_first
from annotate.models import (
    Annotation,
    Assignment,
    Change,
    Import,
    Item,
    Project,
    Question,
    Rater,
    RaterPace,
    Rollup,
    WorkHour,
)

SETTLED = timedelta(seconds=30)  # a submit's transaction takes milliseconds: no older one is still to come
BATCH = 500  # answers in one transaction
NEWEST = 500  # answers whose median time is a rater's pace


def refresh(project: Project) -> bool:
    """Take in what was answered since the last time; says whether there was anything."""
    rollup = Rollup.objects.get_or_create(project=project)[0]
    imports = Import.objects.filter(project=project, state=Import.DONE, annotations_created__gt=0).count()
    touched: set[int] = set()
    if rollup.cursor == 0 or imports != rollup.imports:
        touched |= rebuild(project, imports)
    while batch := take_in(project):
        touched |= batch
    keep_paces(touched)
    keep_open(project)
    return bool(touched)


def take_in(project: Project) -> set[int]:
    """Add one batch of new answers; returns their raters, none where nothing is new."""
    with transaction.atomic():
        rollup = Rollup.objects.select_for_update().get(project=project)
        due = Change.objects.filter(project=project, kind=Change.SUBMITTED, id__gt=rollup.cursor)
        due = due.filter(created_at__lt=timezone.now() - SETTLED).order_by("id")
        rows = list(due.values_list("id", "annotation")[:BATCH])
        if not rows:
            return set()
        found = Annotation.objects.filter(pk__in=[annotation for _, annotation in rows if annotation])
        raters = add(totals(project, found))
        Rollup.objects.filter(pk=rollup.pk).update(cursor=rows[-1][0], updated_at=timezone.now())
    return raters


def rebuild(project: Project, imports: int) -> set[int]:
    """Roll up all annotations of the project anew."""
    with transaction.atomic():
        rollup = Rollup.objects.select_for_update().get(project=project)
        settled = Change.objects.filter(
            project=project, kind=Change.SUBMITTED, created_at__lt=timezone.now() - SETTLED
        )
        cursor = settled.aggregate(newest=Max("id"))["newest"] or 0
        later = Change.objects.filter(project=project, kind=Change.SUBMITTED, id__gt=cursor)
        found = Annotation.objects.filter(rater__project=project)
        found = found.exclude(pk__in=[pk for pk in later.values_list("annotation", flat=True) if pk])
        WorkHour.objects.filter(rater__project=project).delete()
        raters = add(totals(project, found))
        Rollup.objects.filter(pk=rollup.pk).update(cursor=max(cursor, 1), imports=imports)
    return raters


def preference_of(project: Project) -> Question | None:
    """The question whose sides are counted."""
    return next((each for each in main_first(project.questions.all()) if each.kind == Question.PREFERENCE), None)


def totals(project: Project, found: QuerySet[Annotation]) -> Iterable[Mapping[str, Any]]:
    """Rater and hour → answers, seconds, sides."""
    question = preference_of(project)
    choice = f"answers__{question.name}__choice" if question else ""
    first = Q(**{choice: "a"}) if choice else Q(pk=None)
    second = Q(**{choice: "b"}) if choice else Q(pk=None)
    shown_first = Q(first, order_key="0-1") | Q(second, order_key="1-0")
    rows = found.filter(revision=0).annotate(hour=TruncHour("submitted_at")).order_by().values("rater", "hour")
    return rows.annotate(
        n=Count("pk"),
        seconds_sum=Sum("seconds", default=0.0),
        sided=Count("pk", filter=first | second),
        left=Count("pk", filter=shown_first),
    )


def add(rows: Iterable[Mapping[str, Any]]) -> set[int]:
    """Add totals to the rows that are there; returns the raters. The caller holds the project's Rollup."""
    raters = set()
    for row in rows:
        raters.add(row["rater"])
        counts = {"answers": row["n"], "seconds": row["seconds_sum"], "sided": row["sided"], "left": row["left"]}
        there = WorkHour.objects.filter(rater=row["rater"], hour=row["hour"])
        if not there.update(**{name: F(name) + count for name, count in counts.items()}):
            WorkHour.objects.create(rater_id=row["rater"], hour=row["hour"], **counts)
    return raters


def keep_paces(raters: Iterable[int]) -> None:
    for rater in raters:
        newest = Annotation.objects.filter(rater=rater, revision=0).order_by("-submitted_at")
        seen = list(newest.values_list("seconds", "submitted_at")[:NEWEST])
        seconds = [each for each, _ in seen if each is not None]
        RaterPace.objects.update_or_create(
            rater_id=rater,
            defaults={"median_seconds": median(seconds) if seconds else None, "last_at": seen[0][1] if seen else None},
        )


def keep_open(project: Project) -> None:
    """How many answers of people are still wanted: open places, and those that somebody holds."""
    places = Item.objects.filter(project=project, slots_open__gt=0).aggregate(n=Sum("slots_open"))["n"] or 0
    held = Assignment.objects.filter(state=Assignment.LEASED, item__project=project).count()
    Rollup.objects.filter(project=project).update(open_places=places + held, updated_at=timezone.now())


# --- Reading --------------------------------------------------------------------------------------------------
def of_days(project: Project, since: Any, raters: Sequence[int] | None = None) -> Sequence[Mapping[str, Any]]:
    """Hours since a moment with the answers of people and of judges, oldest first; of some raters only, if named."""
    hours = WorkHour.objects.filter(rater__project=project, hour__gte=since)
    if raters is not None:
        hours = hours.filter(rater__in=raters)
    people, judges = Q(rater__kind=Rater.HUMAN), Q(rater__kind=Rater.JUDGE)
    rows = hours.order_by("hour").values("hour")
    return list(
        rows.annotate(
            people=Sum("answers", filter=people, default=0),
            judges=Sum("answers", filter=judges, default=0),
            time=Sum("seconds", filter=people, default=0.0),
        )
    )


def of_raters(project: Project) -> dict[int, Mapping[str, Any]]:
    """Rater → all that they did: answers, seconds, sides."""
    rows = WorkHour.objects.filter(rater__project=project).order_by().values("rater")
    summed = rows.annotate(n=Sum("answers"), time=Sum("seconds"), sides=Sum("sided"), firsts=Sum("left"))
    return {row["rater"]: row for row in summed}
