"""Who is asked about an item: the sole writer of Route.

Every open item without a route gets one, by the policy in force (`adopting`). The decision, its reason, what was
known, the chances of all decisions and the policy's version are kept; `annotate.queue` does what was decided. Items
that have a label or enough people's annotations already are not routed here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate import audit
from annotate.models import Item, Project, User
from annotate.queue import PEOPLE, open_to_people
from annotate.slots import counted_by_people
from pipeline.models import Judge, Route, RoutingState
from pipeline.routing import budgets
from pipeline.routing.adopting import InForce, in_force
from pipeline.routing.choosing.opening import NO_JUDGE, Choice, choose, facts_of
from pipeline.routing.fixed_share import draw

BATCH = 500  # items in one transaction
MOST_REASON = 500  # characters, as the table has them
WAITS = "People are asked once the budget allows it."


# --- Keeping decisions ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decided:
    """A decision about one item: `people` wanted (None: as the project has it), `cost` in answers of theirs."""

    item_id: int
    choice: Choice
    people: int | None = None
    cost: int = 0


def keep(decided: Sequence[Decided], version: str) -> None:
    """Write the decisions, each as its item's next, inside the caller's transaction."""
    ids = [each.item_id for each in decided]
    numbers: Counter[int] = Counter(
        dict(Route.objects.filter(item__in=ids).order_by("number").values_list("item_id", "number"))
    )
    Route.objects.bulk_create(as_route(each, numbers[each.item_id] + 1, version) for each in decided)


def as_route(decided: Decided, number: int, version: str) -> Route:
    choice = decided.choice
    return Route(
        item_id=decided.item_id,
        number=number,
        decision=choice.decision,
        reason=choice.reason[:MOST_REASON],
        propensity=choice.propensity,
        chances=dict(choice.chances),
        features=dict(choice.features),
        people=decided.people,
        expected_gain=choice.gain,
        cost=decided.cost,
        policy=choice.arm,
        policy_version=version,
    )


def carry_out(decided: Iterable[Decided]) -> None:
    """Open places as was decided, inside the caller's transaction."""
    groups: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for each in decided:
        groups[each.choice.decision, each.people].append(each.item_id)
    for (decision, people), ids in groups.items():
        open_to_people(item_ids=ids, decision=decision, people=people)


# --- New items ------------------------------------------------------------------------------------------------


def unrouted(project: Project) -> QuerySet[Item]:
    """The project's open items without a route."""
    return Item.objects.filter(project=project, route=Item.UNROUTED, state=Item.OPEN)


def to_route(project: Project) -> QuerySet[Item]:
    """Unrouted items for which people's votes are still wanted, with how many people have voted."""
    said = counted_by_people().filter(item=OuterRef("pk")).order_by().values("item")
    people = Coalesce(Subquery(said.annotate(n=Count("rater", distinct=True)).values("n")), 0)
    return unrouted(project).annotate(people=people).filter(people__lt=project.overlap)


def projects_to_route() -> list[int]:
    """The active projects that have unrouted items: what `wake` looks at."""
    waiting = Item.objects.filter(project=OuterRef("pk"), route=Item.UNROUTED, state=Item.OPEN)
    return list(Project.objects.filter(Exists(waiting), state=Project.ACTIVE).values_list("pk", flat=True))


def route_items(*, project: Project, limit: int | None = None, by: User | None = None) -> dict[str, int | str]:
    """Route the project's unrouted items, at most `limit`; returns {"routed", "human", "judge", "both", "note"}.

    `by` is who asked for it; None is the worker, which routes by itself. `note` says in words why the judge's share
    was not used, where it was not.
    """
    policy = in_force(project)
    counts: Counter[str] = Counter()
    while limit is None or counts["routed"] < limit:
        most = BATCH if limit is None else min(BATCH, limit - counts["routed"])
        decided = route_batch(project, policy, most)
        if not decided:
            break
        counts.update(decided)
    if by is not None:
        audit.record(project=project, by=by, verb=audit.ROUTED, kind="items", after=dict(counts))
    asks_judge = policy.plan.ranks or policy.plan.judge + policy.plan.both > 0
    return {
        "routed": counts["routed"],
        **{decision: counts[decision] for decision in (Item.HUMAN, Item.JUDGE, Item.BOTH)},
        "note": NO_JUDGE if asks_judge and not policy.has_judge else "",
    }


ROW = ("pk", "external_id", "tags", "metadata", "people")


@transaction.atomic
def route_batch(project: Project, policy: InForce, most: int) -> Counter[str]:
    """Decide about up to `most` items that no other worker is deciding about; returns counts by decision."""
    state = budgets.held(project) if policy.number else None
    free = to_route(project).select_for_update(of=("self",), skip_locked=True)
    rows: Any = free.order_by("id").values_list(*ROW)[:most]
    decided = []
    for pk, key, tags, metadata, people in rows:
        place = draw(policy.version, project.slug, key)
        choice = choose(policy.plan, facts_of(tags, metadata), has_judge=policy.has_judge, place=place)
        decided.append(afford(Decided(pk, choice), project.overlap - people, state, policy))
    keep(decided, policy.version)
    carry_out(decided)
    if state is not None:
        for each in decided:
            budgets.count(state, each.choice.arm, each.cost)
        budgets.keep(state)
    counts = Counter(each.choice.decision for each in decided)
    return counts + Counter(routed=len(decided))


def afford(decided: Decided, wanted: int, state: RoutingState | None, policy: InForce) -> Decided:
    """The decision with its cost, paid from the budget; where that is used up, its people wait.

    Without a state there is no budget.
    """
    if decided.choice.decision not in PEOPLE:
        return decided
    if state is None:
        return replace(decided, cost=wanted)
    left = budgets.left(state, policy.plan.budget)
    if left is not None and wanted > left:
        state.owed += 1
        return replace(decided, choice=replace(decided.choice, reason=f"{decided.choice.reason} {WAITS}"), people=0)
    budgets.spend(state, wanted)
    return replace(decided, cost=wanted)


# --- Reads ----------------------------------------------------------------------------------------------------


def newest_routes(project: Project, count: int = 30) -> list[Route]:
    """The newest decisions of a project, with their items, without the items' texts."""
    newest = Route.objects.filter(item__project=project).order_by("-id").select_related("item")
    return list(newest.defer("item__prompt", "item__metadata", "features", "chances")[:count])


def waiting_for_judge(project: Project) -> int:
    """How many unlabelled items wait for the judge alone while no judge is enabled to take them."""
    if Judge.objects.filter(project=project, enabled=True).exists():
        return 0
    return Item.objects.filter(project=project, route=Item.JUDGE, state=Item.OPEN).count()
