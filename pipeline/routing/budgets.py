"""What the router may still spend of people's time and judges' money: the sole writer of RoutingState's money.

Whoever opens places, or reserves money under a policy that limits it, holds the state's row meanwhile (`held`), so
that workers that do so at the same time cannot overrun the budget together.
"""

from decimal import Decimal

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from annotate.models import Project
from pipeline import money
from pipeline.models import Judge, RoutingPolicy, RoutingState
from pipeline.routing.choosing.plans import Budget

POLICY_MONEY = "The routing policy's money for judges"  # how a judge's message begins that was stopped for want of it
BOOKED = F("spent_units") + F("reserved_units") + F("unknown_units")


def held(project: Project) -> RoutingState:
    """The project's state, locked until the transaction ends, with today's count."""
    RoutingState.objects.get_or_create(project=project)
    state = RoutingState.objects.select_for_update().get(project=project)
    today = timezone.localdate()
    if state.day != today:
        state.day, state.spent_today = today, 0
    return state


def left(state: RoutingState, budget: Budget) -> int | None:
    """How many answers of people may still be asked for; None for no limit."""
    limits = [(budget.total, state.spent), (budget.daily, state.spent_today)]
    rest = [max(0, limit - spent) for limit, spent in limits if limit is not None]
    return min(rest, default=None)


def spend(state: RoutingState, places: int) -> None:
    """Count places that are opened now; the caller keeps the state."""
    state.spent += places
    state.spent_today += places


def count(state: RoutingState, arm: str, answers: int) -> None:
    """Count a decision of a part of the policy, with the answers that it asks for; the caller keeps the state."""
    decisions, asked = state.made.get(arm, (0, 0))
    state.made[arm] = [decisions + 1, asked + answers]


def give_back(state: RoutingState, places: int) -> None:
    """Count places that were closed before anybody took them; the caller keeps the state."""
    state.spent = max(0, state.spent - places)
    state.spent_today = max(0, state.spent_today - places)


def keep(state: RoutingState) -> None:
    """Write what was spent, and nothing that others write."""
    state.save(update_fields=["spent", "day", "spent_today", "owed", "made"])


# --- Judges' money --------------------------------------------------------------------------------------------


def allow(judge: Judge) -> Judge:
    """Tell a judge whose row the caller holds what the policy in force leaves it in all; returns it.

    Where the policy limits the money, the project's state is held until the transaction ends: what other judges
    reserve meanwhile is not lost sight of.
    """
    kept = RoutingPolicy.objects.filter(project=judge.project_id).values_list("settings", flat=True).first()
    limit = (kept or {}).get("budget", {}).get("money")
    if limit is not None:
        held(judge.project)
        judge.allowance = units_of(limit) - booked(Judge.objects.filter(project=judge.project_id).exclude(pk=judge.pk))
    return judge


def units_of(limit: float) -> int:
    return money.units(Decimal(str(limit)))


def booked(judges: QuerySet[Judge]) -> int:
    """What these judges have spent; what is under way and what may be lost counts as spent."""
    return judges.aggregate(units=Sum(BOOKED, default=0))["units"]


def priced(judges: QuerySet[Judge]) -> QuerySet[Judge]:
    """Those of the judges whose answers cost money: not models of ours, nor endpoints without a price."""
    free = Q(kind__in=Judge.BY_RUNS) | Q(kind=Judge.ENDPOINT, price_input=0, price_output=0)
    return judges.exclude(free)
