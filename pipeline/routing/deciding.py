"""Who is asked about an item: the sole writer of Route.

Every open item without a route gets one. The decision, its reason, its propensity and the policy's version are kept;
`annotate.queue` does what was decided. Items that have a label or enough people's annotations already are not routed.
"""

from collections import Counter

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate import audit
from annotate.models import Item, Project, User
from annotate.queue import open_to_people
from annotate.slots import counted_by_people
from pipeline.models import Judge, Route
from pipeline.routing.fixed_share import NAME, FixedShare

BATCH = 500  # items in one transaction


def policy_of(project: Project) -> FixedShare:
    """The policy that a project's settings ask for now."""
    has_judge = Judge.objects.filter(project=project, enabled=True).exists()
    return FixedShare(judge=project.judge_share, both=project.both_share, has_judge=has_judge)


def unrouted(project: Project) -> QuerySet[Item]:
    """The project's open items without a route."""
    return Item.objects.filter(project=project, route=Item.UNROUTED, state=Item.OPEN)


def to_route(project: Project) -> QuerySet[Item]:
    """Unrouted items for which people's votes are still wanted."""
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
    policy = policy_of(project)
    counts: Counter[str] = Counter()
    while limit is None or counts["routed"] < limit:
        most = BATCH if limit is None else min(BATCH, limit - counts["routed"])
        decided = route_batch(project, policy, most)
        if not decided:
            break
        counts.update(decided)
    if by is not None:
        audit.record(project=project, by=by, verb=audit.ROUTED, kind="items", after=dict(counts))
    return {
        "routed": counts["routed"],
        **{decision: counts[decision] for decision in (Item.HUMAN, Item.JUDGE, Item.BOTH)},
        "note": "" if policy.has_judge or not policy.judge + policy.both else NO_JUDGE,
    }


NO_JUDGE = "This project has no enabled judge, so everything goes to people."


@transaction.atomic
def route_batch(project: Project, policy: FixedShare, most: int) -> Counter[str]:
    """Decide about up to `most` items that no other worker is deciding about; returns counts by decision."""
    free = to_route(project).select_for_update(of=("self",), skip_locked=True)
    items = list(free.order_by("id").only("external_id")[:most])
    decided = [(item, policy.decide(project.slug, item.external_id)) for item in items]
    newest = dict(Route.objects.filter(item__in=items).order_by("number").values_list("item_id", "number"))
    Route.objects.bulk_create(
        Route(
            item=item,
            number=newest.get(item.pk, 0) + 1,
            decision=choice.decision,
            reason=choice.reason,
            propensity=choice.propensity,
            policy=NAME,
            policy_version=policy.version,
        )
        for item, choice in decided
    )
    counts: Counter[str] = Counter(routed=len(items))
    for decision in (Item.HUMAN, Item.JUDGE, Item.BOTH):
        chosen = [item.pk for item, choice in decided if choice.decision == decision]
        open_to_people(item_ids=chosen, decision=decision)
        counts[decision] = len(chosen)
    return counts if items else Counter()


def newest_routes(project: Project, count: int = 50) -> list[Route]:
    """The newest decisions of a project, with their items, without the items' texts."""
    newest = Route.objects.filter(item__project=project).order_by("-id").select_related("item")
    return list(newest.defer("item__prompt", "item__metadata")[:count])


def waiting_for_judge(project: Project) -> int:
    """How many unlabelled items wait for the judge alone while no judge is enabled to take them."""
    if Judge.objects.filter(project=project, enabled=True).exists():
        return 0
    return Item.objects.filter(project=project, route=Item.JUDGE, state=Item.OPEN).count()
