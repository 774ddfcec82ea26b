"""What somebody sees of their own work: how much, how well, which side. Read only.

Accuracy on gold is shown for whole tens of gold items only, the latest ones left out: were every answer to move the
number, it would tell which item was gold.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from annotate.models import Annotation, Flag, GoldAnswer, Label, Membership, Project, Question, Rater, Trust, WorkHour
from annotate.quality import trust
from annotate.quality.gold import MIXED_IN, accuracy
from annotate.statistics.intervals import wilson

WEEKS = 8
NEWEST = 2000  # annotations looked at for the trend
GOLD_AT_A_TIME = 10


def figures(rater: Rater | None, project: Project) -> dict[str, Any]:
    """All figures of a rater's own page; nothing of somebody who has not begun."""
    if rater is None:
        return {}
    rows = newest_of(rater.pk)
    return {
        **amount(rater),
        "gold": gold_in_tens(rater),
        "weeks": trend(rows, agreed(rows, project)),
        "side": side(rows, project),
        "flags": list(
            Flag.objects.filter(rater=rater).select_related("item").defer("item__prompt", "item__metadata")
            .order_by("-created_at")[:20]
        ),
    }  # fmt: skip


def amount(rater: Rater) -> dict[str, Any]:
    """Answers and active seconds: today, the last seven days, in all; kept by the worker, a minute old at most."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    hours = WorkHour.objects.filter(rater=rater)
    spans = {"today": hours.filter(hour__gte=today), "week": hours.filter(hour__gte=today - timedelta(days=6)),
             "ever": hours}  # fmt: skip
    return {
        name: found.aggregate(answers=Sum("answers", default=0), seconds=Sum("seconds", default=0.0))
        for name, found in spans.items()
    }


def gold_in_tens(rater: Rater) -> dict[str, Any] | None:
    """Accuracy on the rater's first gold items, as many as make whole tens."""
    known = GoldAnswer.objects.filter(rater=rater, gold__use__in=MIXED_IN).order_by("answered_at", "pk")
    right = list(known.values_list("is_right", flat=True))
    whole = len(right) - len(right) % GOLD_AT_A_TIME
    return accuracy(sum(right[:whole]), whole) if whole else None


Row = tuple[int, list[int], dict[str, Any], datetime]  # item, order, answers, when


def newest_of(rater_id: int) -> list[Row]:
    mine = Annotation.objects.filter(rater=rater_id, counted=True, replaced_by=None).order_by("-submitted_at")
    return list(mine.values_list("item", "order", "answers", "submitted_at")[:NEWEST])


def preference_of(project: Project) -> Question | None:
    return project.questions.filter(kind=Question.PREFERENCE).first()


def agreed(rows: Sequence[Row], project: Project) -> dict[int, bool]:
    """Item → does the answer say what the label says? Only where others had a voice in it."""
    question = preference_of(project)
    if question is None:
        return {}
    shared = Label.objects.filter(item__in=[row[0] for row in rows], question=question, votes__gte=2)
    values = dict(shared.values_list("item", "value"))
    return {
        item: answers[question.name].get("choice") == values[item]
        for item, _order, answers, _at in rows
        if item in values and answers.get(question.name)
    }


def trend(rows: Iterable[Row], said_alike: Mapping[int, bool]) -> list[dict[str, Any]]:
    """Agreement by week, the oldest first, each with its interval; weeks without an answer are left out."""
    weeks: dict[Any, list[bool]] = {}
    first = timezone.now() - timedelta(weeks=WEEKS)
    for item, _order, _answers, at in rows:
        if item in said_alike and at >= first:
            day = timezone.localtime(at).date()
            weeks.setdefault(day - timedelta(days=day.weekday()), []).append(said_alike[item])
    found = []
    for week, hits in sorted(weeks.items()):
        low, high = wilson(sum(hits), len(hits))
        share = sum(hits) / len(hits)
        places = {"x_low": 100 * low, "x_high": 100 * high, "x": 100 * share}
        found.append({"week": week, "share": share, "low": low, "high": high, "n": len(hits), **places})
    return found


def side(rows: Iterable[Row], project: Project) -> dict[str, Any] | None:
    """The share of choices that fell on the left answer, with its interval."""
    question = preference_of(project)
    if question is None:
        return None
    sides = [trust.chose_left(answers.get(question.name), order) for _item, order, answers, _at in rows]
    known = [each for each in sides if each is not None]
    if not known:
        return None
    low, high = wilson(sum(known), len(known))
    return {"share": sum(known) / len(known), "low": low, "high": high, "n": len(known)}


# --- The leaderboard ------------------------------------------------------------------------------------------


def leaderboard(project: Project) -> list[dict[str, Any]]:
    """Those who opted in, by points: answers × the lower bound of how often they are right or agreed with.

    The bound is Wilson's, of gold items as expected and of answers that say what a label says in which others had a
    voice. Without a known answer it is 0: speed alone leads nowhere.
    """
    joined = Membership.objects.filter(project=project, on_leaderboard=True).values_list("user", flat=True)
    raters = Rater.objects.filter(project=project, user__in=joined, excluded_at=None).select_related("user")
    counts = WorkHour.objects.filter(rater__in=raters).order_by().values("rater").annotate(n=Sum("answers"))
    answers = {row["rater"]: row["n"] for row in counts}
    known = {row.rater_id: row for row in Trust.objects.filter(rater__in=raters)}
    rows = []
    for rater in raters:
        row = known.get(rater.pk)
        right, seen = (row.agreed, row.shared) if row else (0, 0)
        n = seen + rater.gold_seen
        bound = wilson(right + rater.gold_right, n)[0] if n else 0.0
        total = answers.get(rater.pk, 0)
        rows.append({"name": str(rater.user), "user": rater.user_id, "answers": total, "bound": bound,
                     "points": round(total * bound)})  # fmt: skip
    return sorted(rows, key=lambda row: (-row["points"], row["name"]))


def join_leaderboard(*, member: Membership, joins: bool) -> None:
    """Somebody's own choice, at any time."""
    Membership.objects.filter(pk=member.pk).update(on_leaderboard=joins)
