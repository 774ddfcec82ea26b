"""Policies compared on the project's own past: the sole writer of the report that the routing page reads.

What people and judges both answered is replayed by the code of `simulate_routing`, at every budget. Only pairs count
that came to both by chance or in a file: those that a ranking sent to people because the judge looked wrong would make
the judge look worse than it is. From them too come the judge's error rates, by slice and by week.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Avg, Max
from django.utils import timezone

from annotate import audit, slots
from annotate.models import Annotation, Item, Project, Question, Rater, User
from annotate.slots import counted_by_people
from annotate.statistics.intervals import Z95, wilson
from annotate.statistics.votes import Floats, Integers
from pipeline.models import Belief, Judge, Route, RoutingState
from pipeline.quality.audits import way
from pipeline.routing import triage
from pipeline.routing.adopting import in_force
from pipeline.routing.believing import following
from pipeline.routing.believing.gathering import gathered
from pipeline.routing.believing.layouts import Layout, layout_from
from pipeline.routing.choosing.plans import SHARES, Plan
from pipeline.routing.replaying import RANKED, Past
from pipeline.routing.simulating import curves
from pipeline.routing.simulating.replay import Settings, Trace, replayed
from pipeline.routing.simulating.reporting import BUDGETS, human_accuracy, points
from pipeline.routing.simulating.reporting import Plan as Replayed
from pipeline.routing.simulating.scenario import scenario_of

LEAST = 30  # pairs answered by both before a curve is shown
NEWEST = 500  # pairs that are replayed, at most
SEEDS = tuple(range(5))
WEEKS, MOST_SLICES = 8, 10


# --- Asking for it --------------------------------------------------------------------------------------------


@transaction.atomic
def ask(*, project: Project, by: User) -> None:
    """Have the worker compare policies anew."""
    RoutingState.objects.update_or_create(project=project, defaults={"report_asked": True})
    audit.record(project=project, by=by, verb=audit.STARTED, kind="comparison of routing policies")


def due() -> list[int]:
    """The projects whose comparison somebody asked for."""
    asked = RoutingState.objects.filter(report_asked=True, project__state=Project.ACTIVE)
    return list(asked.values_list("project", flat=True))


def run(project: Project) -> bool:
    """Compare, unless another worker does or works on what would be compared; what was there stands until then."""
    asked = RoutingState.objects.filter(project=project, report_asked=True)
    state = following.claim(project) if asked.exists() else None
    if state is None:
        return False
    try:
        while following.follow(project, in_force(project).plan, state):
            pass
        asked.update(report=report(project), report_at=timezone.now(), report_asked=False)
    finally:
        following.release(project)
    return True


# --- What is compared -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fair:
    """A pair that came to people and judge by chance: was the judge wrong, when was it answered, what is it about."""

    item: int
    wrong: bool
    at: datetime
    tags: tuple[str, ...]


def report(project: Project) -> dict[str, Any]:
    """Plain data: {"n", "left_out", "errors", "curves" …}; without curves where there is too little."""
    found, left_out = fair(project)
    base = {"n": len(found), "left_out": left_out, "least": LEAST, "errors": errors(found)}
    question, state = following.question_of(project), RoutingState.objects.filter(project=project).first()
    if len(found) < LEAST or question is None or state is None or not state.layout:
        return base
    scenario = scenario_from(project, question, layout_from(state.layout), [each.item for each in found[:NEWEST]])
    return {**base, **replays(scenario)}


def fair(project: Project) -> tuple[list[Fair], int]:
    """Pairs that chance or a file brought to both, the newest first; how many others both have answered."""
    both = Belief.objects.filter(project=project, people__gt=0).exclude(judge_says=None)
    rows = list(both.order_by("-item").values_list("item", "judge_says", "votes")[: 10 * NEWEST])
    routes, times, tags = facts_of([row[0] for row in rows])
    found, left_out = [], 0
    for item, judge, votes in rows:
        if item not in times:
            continue
        _, weight = way(routes[item], before=False)
        if not weight:
            left_out += 1
            continue
        found.append(Fair(item, votes[judge] < max(votes), times[item], tags[item]))
    return found, left_out


def facts_of(
    items: Sequence[int],
) -> tuple[Mapping[int, list[tuple[str, str, float]]], dict[int, datetime], dict[int, tuple[str, ...]]]:
    """Item → its decisions in order, when people answered last, its tags."""
    routes: dict[int, list[tuple[str, str, float]]] = defaultdict(list)
    times: dict[int, datetime] = {}
    tags: dict[int, tuple[str, ...]] = {}
    for batch in slots.batches(items):
        kept = Route.objects.filter(item__in=batch).order_by("number")
        for item, decision, policy, propensity in kept.values_list("item_id", "decision", "policy", "propensity"):
            routes[item].append((decision, policy, propensity))
        said = counted_by_people().filter(item__in=batch).order_by().values("item").annotate(at=Max("submitted_at"))
        times.update(said.values_list("item", "at"))
        named = Item.objects.filter(pk__in=batch).values_list("pk", "tags")
        tags.update((pk, tuple(map(str, own))) for pk, own in named)
    return routes, times, tags


def scenario_from(project: Project, question: Question, layout: Layout, items: Sequence[int]) -> Past:
    """These pairs as a scenario. Their siblings inform them; those that are not among them are not scored."""
    hashes: list[str] = []
    for batch in slots.batches(items):
        hashes += Item.objects.filter(pk__in=batch).values_list("prompt_hash", flat=True)
    found = gathered(project, question, list(dict.fromkeys(hashes)), layout.judges)
    chosen = set(items)
    wanted = np.array([item in chosen for item in found.items])
    ballots = found.pool.ballots
    of_judges = np.isin(ballots.rater, found.pool.judges)
    kept = ballots.of(of_judges | wanted[ballots.item])
    pool = replace(found.pool, ballots=kept, panel=None, usual=None)
    signs = np.array([sum(triage.POINTS[name] for name in triage.signs(*talk)) for talk in found.talks])
    return Past(**vars(scenario_of(pool)), signs=signs)


def replays(scenario: Past) -> dict[str, Any]:
    """Curves of every ranking, the areas under them, what they save, which is best, and how sure that is."""
    plan = Replayed(policies=tuple(RANKED), seeds=SEEDS, settings=Settings())
    budgets = np.array(BUDGETS)
    found, areas = {}, {}
    for name in RANKED:
        traces = [replayed(name, scenario, seed, budgets, plan.settings, policies=RANKED) for seed in SEEDS]
        found[name] = points(scenario, plan, traces, "credit")
        areas[name] = area_by_item(traces, budgets)
    target = human_accuracy(scenario)
    means = {name: [point["label_accuracy"] for point in row] for name, row in found.items()}
    area = {name: round(curves.area(np.array(row), budgets), 4) for name, row in means.items()}
    best = max((name for name in RANKED if name != SHARES), key=lambda name: area[name])
    prompts = scenario.pool.prompt[scenario.scored]
    return {
        "pairs": len(scenario.scored),
        "prompts": len(np.unique(scenario.pool.prompt[scenario.scored])),
        "curves": found,
        "area": area,
        "saved": {name: round(curves.saved(row, BUDGETS, target["value"]), 4) for name, row in means.items()},
        "human_accuracy": target,
        "best": best,
        "leads": {name: lead(areas[best] - areas[name], prompts) for name in RANKED if name != best},
        "seeds": len(SEEDS),
    }


def area_by_item(traces: Sequence[Trace], budgets: Floats) -> Floats:
    """The area under each pair's own curve, mean over seeds: (pairs,)."""
    credit = np.mean([trace.credit for trace in traces], axis=0)
    return np.trapezoid(credit, budgets, axis=0)


def lead(gaps: Floats, prompts: Integers) -> list[float]:
    """A mean difference (pairs,) with its 95% interval; pairs of one prompt go together, so its error is clustered."""
    mean = float(gaps.mean())
    _, group = np.unique(prompts, return_inverse=True)
    error = float(np.sqrt((np.bincount(group, gaps - mean) ** 2).sum()) / len(gaps))
    return [round(each, 4) for each in (mean, mean - Z95 * error, mean + Z95 * error)]


def proposed(report: Mapping[str, Any], plan: Plan) -> str | None:
    """The ranking that the comparison proposes instead of the one in force.

    None where that is the best already, or where the best leads it by no more than luck would.
    """
    best, leads = report.get("best"), report.get("leads", {})
    return best if plan.ranking in leads and leads[plan.ranking][1] > 0 else None


# --- Errors by slice over time --------------------------------------------------------------------------------


def errors(found: Sequence[Fair]) -> dict[str, Any]:
    """The judge's error rate: of everything and of the largest slices, in all and for each of the last weeks.

    Weeks in which nothing was answered are left out.
    """
    now = timezone.now()
    slices: dict[str, list[Fair]] = defaultdict(list)
    for each in found:
        for tag in each.tags:
            slices[tag].append(each)
    largest = sorted(slices, key=lambda tag: (-len(slices[tag]), tag))[:MOST_SLICES]
    weeks = [now - timedelta(weeks=back) for back in range(WEEKS, 0, -1)]
    weeks = [week for week in weeks if any(week <= each.at < week + timedelta(weeks=1) for each in found)]
    return {
        "weeks": [week.date().isoformat() for week in weeks],
        "rows": [row("", found, weeks), *(row(tag, slices[tag], weeks) for tag in largest)] if found else [],
    }


def row(name: str, of: Sequence[Fair], weeks: Sequence[datetime]) -> dict[str, Any]:
    cells = []
    for start in weeks:
        inside = [each for each in of if start <= each.at < start + timedelta(weeks=1)]
        cells.append(share_of(inside))
    return {"name": name, "all": share_of(of), "weeks": cells}


def share_of(of: Sequence[Fair]) -> dict[str, Any]:
    wrong = sum(each.wrong for each in of)
    low, high = wilson(wrong, len(of)) if of else (None, None)
    return {"n": len(of), "share": wrong / len(of) if of else None, "low": low, "high": high}


# --- Prices ---------------------------------------------------------------------------------------------------


def price_of_person(project: Project) -> float | None:
    """What one answer of a person costs; None where the project names no pay, or nobody's time is known."""
    if project.pay_rate is None:
        return None
    if project.pay_unit == Project.PER_ANSWER:
        return float(project.pay_rate)
    said = Annotation.objects.filter(rater__project=project, rater__kind=Rater.HUMAN, seconds__isnull=False)
    newest = said.order_by("-pk").values_list("pk", flat=True)[:500]
    seconds = Annotation.objects.filter(pk__in=list(newest)).aggregate(mean=Avg("seconds"))["mean"]
    return None if seconds is None else float(project.pay_rate) * seconds / 3600


def judges_spent(project: Project) -> float:
    """What the project's judges have cost so far."""
    return sum(float(judge.spent) for judge in Judge.objects.filter(project=project).only("spent_units"))
