"""Items that an earlier policy sent to people and nobody has begun: decided anew by the policy in force, when asked.

Items often come in before the judge is set up, and all go to people; a new policy alone would leave them there. What
somebody has seen, what a manager sent by hand or gave to a pool, and what went to both keep their decision: the first
would waste work, the others were meant, and a drawn audit stays one.
"""

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from annotate.models import Annotation, Assignment, Item, Project, User
from annotate.queue import open_to_people
from pipeline.models import Route, RoutingPolicy
from pipeline.routing import budgets, by_hand, deciding
from pipeline.routing.adopting import in_force

ROW = ("pk", "overlap", "decided_by", "cost")


def unbegun(project: Project, version: str) -> QuerySet[Item]:
    """Open items with people by a decision of another version, of which nobody has had a look."""
    newest = Route.objects.filter(item=OuterRef("pk")).order_by("-number")
    with_people = Item.objects.filter(project=project, route=Item.HUMAN, state=Item.OPEN, pool=None)
    unseen = with_people.exclude(Exists(Assignment.objects.filter(item=OuterRef("pk"))))
    unseen = unseen.exclude(Exists(Annotation.objects.filter(item=OuterRef("pk"), counted=True)))
    decided = unseen.annotate(
        decided_by=Subquery(newest.values("policy_version")[:1]),
        arm=Subquery(newest.values("policy")[:1]),
        cost=Subquery(newest.values("cost")[:1]),
    )
    return decided.exclude(decided_by=None).exclude(decided_by=version).exclude(arm=by_hand.NAME)


def decide_anew(*, project: Project, by: User, limit: int) -> dict[str, Any]:
    """Let at most `limit` such items be routed again; returns what `route_items` does, and "left": are there more?"""
    taken = 0
    while taken < limit:
        batch = take_back(project, min(deciding.BATCH, limit - taken))
        if not batch:
            break
        taken += batch
    counts = deciding.route_items(project=project, limit=taken, by=by) if taken else {"routed": 0}
    return {**counts, "left": taken == limit and unbegun(project, in_force(project).version).exists()}


@transaction.atomic
def take_back(project: Project, most: int) -> int:
    """Let up to `most` items wait for the router again, and give their places back to the budget; returns how many."""
    state = budgets.held(project)
    free = unbegun(project, in_force(project).version).order_by("id").select_for_update(of=("self",), skip_locked=True)
    rows: Any = list(free.values_list(*ROW)[:most])
    paid = {str(policy) for policy in RoutingPolicy.objects.filter(project=project)}  # shares had no budget
    budgets.give_back(state, sum(cost or 0 for _pk, _overlap, version, cost in rows if version in paid))
    state.owed = max(0, state.owed - sum(overlap == 0 for _pk, overlap, _version, _cost in rows))
    budgets.keep(state)
    open_to_people(item_ids=[pk for pk, *_rest in rows], decision=Item.UNROUTED)
    return len(rows)
