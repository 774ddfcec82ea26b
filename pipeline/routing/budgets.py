"""What the router may still spend of people's time: the sole writer of RoutingState's money.

Whoever opens places holds the state's row meanwhile (`held`), so that workers that route at the same time cannot
overrun the budget together.
"""

from django.utils import timezone

from annotate.models import Project
from pipeline.models import RoutingState
from pipeline.routing.choosing.plans import Budget


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
