"""What the pages of those who run a project show of its work: throughput, forecast, who is on, raters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from annotate.managing import workload
from annotate.models import Assignment, Flag, Project, Rater, RaterPace, RaterSkill, Rollup
from annotate.statistics.forecast import Forecast, forecast
from annotate.statistics.intervals import wilson

DAYS = 14  # of throughput that are shown, today included
LONGEST_LIST = 50
HEIGHT = 100.0  # of the drawing's area, in its own units


@dataclass(frozen=True)
class Day:
    """One bar of a chart. `top` and `middle` are where people's and judges' parts begin, from above."""

    day: date
    people: int
    judges: int
    seconds: float
    x: float = 0.0
    people_height: float = 0.0
    judges_height: float = 0.0

    @property
    def people_y(self) -> float:
        return HEIGHT - self.people_height

    @property
    def judges_y(self) -> float:
        return HEIGHT - self.people_height - self.judges_height

    @property
    def answers(self) -> int:
        return self.people + self.judges


def midnight(days_ago: int) -> datetime:
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def days_of(rows: Sequence[Mapping[str, Any]], first: datetime, count: int) -> list[Day]:
    """Hours summed into days, a day for each, also those without work; heights as shares of the highest."""
    sums = {(first + timedelta(days=n)).date(): [0, 0, 0.0] for n in range(count)}
    for row in rows:
        day = timezone.localtime(row["hour"]).date()
        if day in sums:
            for place, name in enumerate(("people", "judges", "time")):
                sums[day][place] += row[name]
    highest = max(1, *(people + judges for people, judges, _ in sums.values()))
    return [
        Day(
            day,
            int(people),
            int(judges),
            seconds,
            x=n,
            people_height=HEIGHT * people / highest,
            judges_height=HEIGHT * judges / highest,
        )
        for n, (day, (people, judges, seconds)) in enumerate(sums.items())
    ]


def throughput(project: Project) -> dict[str, Any]:
    """The last days' answers, this day's by the hour, people's time, and when it will be done."""
    first = midnight(DAYS - 1)
    rows = workload.of_days(project, first)
    days = days_of(rows, first, DAYS)
    last_day = timezone.now() - timedelta(days=1)
    recent = sum(row["people"] for row in rows if row["hour"] >= last_day)
    answers, seconds = sum(day.people for day in days), sum(day.seconds for day in days)
    rollup = Rollup.objects.filter(project=project).first()
    return {
        "days": days,
        "chart_width": DAYS,
        "highest": max(day.answers for day in days),
        "per_hour": recent / 24,
        "answers": answers,
        "judged": sum(day.judges for day in days),
        "seconds": seconds,
        "seconds_each": seconds / answers if answers else None,
        "open_places": rollup.open_places if rollup else None,
        "counted_at": rollup.updated_at if rollup else None,
        "forecast": finish(days, rollup.open_places) if rollup and rollup.open_places else None,
    }


def finish(days: Sequence[Day], remaining: int) -> dict[str, Any] | None:
    """The forecast with dates; from the first day with work on, and without today, which is not over."""
    past = [day.people for day in days[:-1]]
    begun = next((n for n, count in enumerate(past) if count), len(past))
    found: Forecast | None = forecast(past[begun:], remaining)
    if found is None:
        return None
    today = timezone.localdate()
    return {
        "at": today + timedelta(days=min(found.days, 36500)),
        "low": today + timedelta(days=min(found.low, 36500)),
        "high": None if found.high is None else today + timedelta(days=found.high),
        "days": len(past) - begun,
    }


def who_is_on(project: Project) -> list[dict[str, Any]]:
    """Who holds which items now; the last sign of life is when the lease was last renewed."""
    live = Assignment.objects.filter(state=Assignment.LEASED, item__project=project, expires_at__gt=timezone.now())
    found = live.select_related("rater", "item").defer("draft", "item__prompt", "item__metadata")
    term = timedelta(minutes=project.lease_minutes)
    people: dict[int, dict[str, Any]] = {}
    for lease in found.order_by("-expires_at")[:LONGEST_LIST]:
        seen = max(lease.expires_at - term, lease.leased_at)
        theirs = people.setdefault(lease.rater_id, {"rater": lease.rater, "seen": seen, "leases": []})
        theirs["leases"].append(lease)
    return list(people.values())


# --- Raters ---------------------------------------------------------------------------------------------------
SORTS = {
    "name": lambda row: row["rater"].name.lower(),
    "answers": lambda row: -row["answers"],
    "time": lambda row: -row["seconds"],
    "pace": lambda row: (row["median"] is None, row["median"] or 0.0),
    "seen": lambda row: (row["last_at"] is None, -row["last_at"].timestamp() if row["last_at"] else 0.0),
    "agreement": lambda row: (row["agreement"] is None, -(row["agreement"] or 0.0)),
    "side": lambda row: (row["side"] is None, 0.0 if row["side"] is None else -abs(row["side"] - 0.5)),
    "skipped": lambda row: -row["skipped"],
    "flagged": lambda row: -row["flagged"],
}


def raters(project: Project, sort: str = "answers") -> list[dict[str, Any]]:
    """Every person and judge of the project, with what they did; the same number of queries for any number."""
    found = list(Rater.objects.filter(project=project).select_related("user"))
    facts = rater_facts(project, found)
    rows = [{"rater": rater, **facts[rater.pk]} for rater in found]
    return sorted(rows, key=SORTS[sort if sort in SORTS else "answers"])


def rater_facts(project: Project, found: Sequence[Rater]) -> dict[int, dict[str, Any]]:
    """Rater id → kept numbers."""
    ids = [rater.pk for rater in found]
    work = workload.of_raters(project)
    paces = {pace.rater_id: pace for pace in RaterPace.objects.filter(rater__in=ids)}
    skipped = counted(Assignment.objects.filter(rater__in=ids, state=Assignment.SKIPPED))
    flagged = counted(Flag.objects.filter(rater__in=ids))
    agreement = agreements(project, found)
    return {
        rater.pk: {
            **sides(work.get(rater.pk, {})),
            "answers": work.get(rater.pk, {}).get("n", 0),
            "seconds": work.get(rater.pk, {}).get("time", 0.0),
            "median": paces[rater.pk].median_seconds if rater.pk in paces else None,
            "last_at": paces[rater.pk].last_at if rater.pk in paces else None,
            "skipped": skipped.get(rater.pk, 0),
            "flagged": flagged.get(rater.pk, 0),
            **agreement.get(rater.pk, {"agreement": None, "low": None, "high": None, "items": 0}),
        }
        for rater in found
    }


def counted(rows: Any) -> dict[int, int]:
    return dict(rows.order_by().values_list("rater").annotate(n=Count("pk")))


def sides(work: Mapping[str, Any]) -> dict[str, Any]:
    """The share of answers that preferred the side shown first, with Wilson's 95% interval."""
    n, firsts = work.get("sides", 0), work.get("firsts", 0)
    low, high = wilson(firsts, n)
    return {"side": firsts / n if n else None, "side_low": low, "side_high": high, "sided": n}


def agreements(project: Project, found: Sequence[Rater]) -> dict[int, dict[str, Any]]:
    """How often raters agree with others, as last measured: people with the label, judges with people."""
    question = workload.preference_of(project)
    skills = RaterSkill.objects.filter(question=question, accuracy__isnull=False) if question else []
    rows = {
        skill.rater_id: {"agreement": skill.accuracy, "low": skill.low, "high": skill.high, "items": skill.n}
        for skill in skills
    }
    judges = {row["name"]: row for row in project.agreement.get("judges", [])}
    for rater in found:
        row = judges.get(rater.name)
        if rater.kind == Rater.JUDGE and row:
            rows[rater.pk] = {
                "agreement": row["share"], "low": row["low"], "high": row["high"], "items": row["items"]
            }  # fmt: skip
    return rows
