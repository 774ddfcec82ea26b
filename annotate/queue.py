"""Which item comes next for whom: leases that are taken, kept alive, given back.

A lease holds one of the item's places until it is submitted, skipped or runs out. The candidate is found by one
range over the index `item_queue`, skipping what other transactions hold at that moment, and its place is taken by
a conditional update, so nobody gets a place twice. Somebody who comes back gets the items that they hold: at most
two, the one on the screen and the one that the page has fetched ahead.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import BigIntegerField, ExpressionWrapper, F, OuterRef, QuerySet, Subquery, Value
from django.utils import timezone

from annotate import aggregation, compiled, pools, queries, slots, tallies
from annotate.models import Assignment, Item, Membership, Project, Rater, Response, User
from annotate.quality import gold, phases

PEOPLE = frozenset({Item.HUMAN, Item.BOTH})
MOST_LEASES = 2  # one on the screen, one fetched ahead


def rater_for(*, user: User, project: Project) -> Rater:
    """The rater that a user is in a project, made at the first need.

    A rater of a file may have the user's name already: a name in a file proves nothing, so the two stay apart.
    """
    found = Rater.objects.filter(user=user, project=project).first()
    return found if found is not None else made_rater(user, project)


@transaction.atomic
def made_rater(user: User, project: Project) -> Rater:
    taken = Rater.objects.filter(project=project, kind=Rater.HUMAN, name=user.username, user=None).exists()
    name = f"{user.username} ({user.pk})" if taken else user.username
    rater, is_new = Rater.objects.get_or_create(
        project=project, user=user, defaults={"kind": Rater.HUMAN, "name": name}
    )
    if is_new:
        written = Response.objects.filter(author=user.username, item__project=project)
        exclude(rater=rater, item_ids=list(written.values_list("item", flat=True).distinct()))
    return rater


def exclude(*, rater: Rater, item_ids: Iterable[int]) -> None:
    """Keep items with a response of the rater's own from them for good; what they hold or did stays as it is."""
    now = timezone.now()
    Assignment.objects.bulk_create(
        (
            Assignment(item_id=pk, rater=rater, state=Assignment.EXCLUDED, order=[], leased_at=now, expires_at=now)
            for pk in item_ids
        ),
        batch_size=500,
        ignore_conflicts=True,
    )


def membership(user: User, project: Project) -> Membership:
    """What the user is in the project; an admin who is no member has neither skills nor quotas."""
    found = Membership.objects.filter(user=user, project=project).first()
    return found or Membership(user=user, project=project, role=Membership.MANAGER)


def next_assignment(*, user: User, project: Project) -> Assignment | None:
    """The item that the user holds, else a new lease; None where nothing is left for them or the project rests."""
    return next(iter(leases(user=user, project=project)), None)


@transaction.atomic
def leases(*, user: User, project: Project, wanted: int = 1, member: Membership | None = None) -> list[Assignment]:
    """What the user holds, in the order in which they took it, and new leases up to `wanted` where there are items.

    The rater's row is locked meanwhile, so that somebody with many tabs still holds no more than that.
    """
    locked = compiled.first("held rater", held_rater, user.pk, project.pk)
    rater = locked or rater_for(user=user, project=project)
    rater.project = project
    live = held(rater, project)
    wanted = min(wanted, MOST_LEASES)
    if len(live) >= wanted:
        return live
    member = member or membership(user, project)
    phase = phases.phase_of(member, project)
    if phase in phases.USES:
        return live or leases_of_phase(rater, project, member, phase)
    open_pools = pools.open_to(user, member)
    while len(live) < wanted and not refusal(member, project, rater, len(live)):
        leased = lease(rater, project, open_pools)
        if leased is None:
            break
        live.append(leased)
    return live


def held_rater(user_id: int, project_id: int) -> QuerySet[Rater]:
    return Rater.objects.select_for_update(no_key=True).filter(user=user_id, project=project_id)


def leases_of_phase(rater: Rater, project: Project, member: Membership, phase: str) -> list[Assignment]:
    """The next item of the training or the quiz, never fetched ahead; after the last one, what comes then."""
    if refusal(member, project, rater):
        return []
    item_id = phases.next_item(rater, phase)
    if item_id is not None:
        return [hold(rater, project, free_known(rater, item_id))]
    phases.end(member=member, project=project, rater=rater, phase=phase)
    if member.quiz_ended:
        return []
    return leases(user=member.user, project=project, member=member)


def held(rater: Rater, project: Project) -> list[Assignment]:
    """The rater's live leases, the oldest first, for another term if half of one is over."""

    def build(rater_id: int) -> QuerySet[Assignment]:
        live = Assignment.objects.filter(rater=rater_id, state=Assignment.LEASED)
        return live.select_related("item").order_by("leased_at", "pk")[:MOST_LEASES]

    found = compiled.run("held", build, rater.pk)
    term = timedelta(minutes=project.lease_minutes)
    if any(assignment.expires_at - timezone.now() < term / 2 for assignment in found):
        renew_all(rater_id=rater.pk, project=project)
    for assignment in found:
        assignment.rater = rater
    return found


def candidates(rater: Rater, pool: int | None = None) -> QuerySet[Item]:
    """The items of a pool (None: of none) with an open place that the rater neither holds nor did nor skipped.

    The most urgent comes first. The pool stands in the order as it does in the index: a database that does not see
    that it is the same for all rows would sort them otherwise.

    What the rater did is looked up item by item, by the item's index: as a value instead of by `Exists`, and with
    the rater as an expression. PostgreSQL would otherwise take the rater's whole past for each item, if its
    statistics do not know yet that this rater has one: the square of what somebody is ahead of all others.
    """
    done = Assignment.objects.filter(item=OuterRef("pk")).exclude(state=Assignment.EXPIRED)
    done = done.alias(by=ExpressionWrapper(F("rater_id") + 0, BigIntegerField())).filter(by=rater.pk)
    open_items = Item.objects.filter(project_id=rater.project_id, pool=pool, slots_open__gt=0)
    untouched = open_items.alias(done=Subquery(done.values("item")[:1])).filter(done=None)
    return untouched.order_by("pool_id", "-priority", "pk")


def by_urgency(rater: Rater, open_pools: Sequence[int | None]) -> list[int | None]:
    """Those of the pools that have something for the rater, the one with the most urgent item first.

    One statement, that reads the head of each pool's range.
    """
    heads = [Subquery(candidates(rater, pool).values("pk")[:1]) for pool in open_pools]
    found = Item.objects.filter(pk__in=heads).order_by("-priority", "pk")  # type: ignore[misc]
    return list(found.values_list("pool_id", flat=True))


class Free(NamedTuple):
    """An item whose lock is held, and the lease of it that this rater let expire."""

    item: Item
    expired: int | None


def first_free(rater: Rater, open_pools: Sequence[int | None]) -> Free | None:
    """Lock and return the first candidate of the most urgent pool.

    Items that other transactions hold are passed over. If all are held, wait for one: it may keep an open place.
    """
    in_order = list(open_pools) if len(open_pools) == 1 else by_urgency(rater, open_pools)
    can_skip = connection.features.has_select_for_update_skip_locked
    for skip_locked in (True, False) if can_skip else (False,):
        for pool in in_order:
            free = locked_head(rater, pool, skip_locked=skip_locked)
            if free is not None:
                return free
    return None


def locked_head(rater: Rater, pool: int | None, *, skip_locked: bool) -> Free | None:
    """The first candidate of one pool, if there is one."""

    def build(rater_id: int, project_id: int, pool_id: int | None = None) -> QuerySet[Item]:
        expired = Assignment.objects.filter(item=OuterRef("pk"), rater=rater_id, state=Assignment.EXPIRED)
        found = candidates(Rater(pk=rater_id, project_id=project_id), pool_id)
        found = found.annotate(expired=Subquery(expired.values("pk")))
        return found.select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)[:1]

    numbers = [rater.pk, rater.project_id, *([] if pool is None else [pool])]
    free = compiled.first(("queue head", pool is None, skip_locked), build, *numbers)
    return Free(free, free.expired) if free else None


def lease(rater: Rater, project: Project, open_pools: Sequence[int | None]) -> Assignment | None:
    """Take a place of the best candidate, or a gold item in its stead; the caller holds the rater."""
    free = first_free(rater, open_pools)
    if free is None:
        return None
    known = gold.instead_of(rater, free.item.pk, project.gold_rate, open_pools)
    if known is not None:
        return hold(rater, project, free_known(rater, known))
    return hold(rater, project, free) if slots.take(free.item.pk) else None


def free_known(rater: Rater, item_id: int) -> Free:
    """A gold, training or quiz item: it has no places to be taken."""
    item = Item.objects.get(pk=item_id)
    expired = Assignment.objects.filter(item=item, rater=rater, state=Assignment.EXPIRED)
    return Free(item, expired.values_list("pk", flat=True).first())


def hold(rater: Rater, project: Project, free: Free) -> Assignment:
    """Write the lease of an item whose place is taken."""
    item = free.item
    now = timezone.now()
    until = now + timedelta(minutes=project.lease_minutes)
    if free.expired is not None:
        # It keeps the order that it was shown in, and the draft that was left.
        taken_up = Assignment.objects.get(pk=free.expired)
        taken_up.item, taken_up.rater = item, rater
        taken_up.state, taken_up.finished_at, taken_up.leased_at, taken_up.expires_at = (
            Assignment.LEASED, None, now, until,
        )  # fmt: skip
        taken_up.save(update_fields=["state", "finished_at", "leased_at", "expires_at"])
        return taken_up
    positions = [response.position for response in queries.responses_of(item)]
    order = random.sample(positions, len(positions))
    return compiled.insert(Assignment(item=item, rater=rater, order=order, leased_at=now, expires_at=until))


# --- Leases that are kept and given back -----------------------------------------------------------------------


def renew_all(*, rater_id: int, project: Project) -> int:
    """Keep all that the rater holds for another term, in one statement; returns how many leases that are."""
    until = timezone.now() + timedelta(minutes=project.lease_minutes)
    return Assignment.objects.filter(rater=rater_id, state=Assignment.LEASED).update(expires_at=until)


@transaction.atomic
def regain(*, assignment: Assignment) -> bool:
    """Take up a lease that ran out, if the item still has a place and the rater does not hold enough already."""
    Rater.objects.select_for_update(no_key=True).get(pk=assignment.rater_id)
    slots.lock([assignment.item_id])
    lost = Assignment.objects.filter(pk=assignment.pk, state=Assignment.EXPIRED)
    elsewhere = Assignment.objects.filter(rater=assignment.rater_id, state=Assignment.LEASED)
    if elsewhere.count() >= MOST_LEASES or not lost.exists():
        return False
    if assignment.item.state != Item.GOLD and not slots.take(assignment.item_id):
        return False
    until = timezone.now() + timedelta(minutes=assignment.rater.project.lease_minutes)
    return bool(lost.update(state=Assignment.LEASED, expires_at=until, finished_at=None))


@transaction.atomic
def skip(*, assignment: Assignment, reason: str = "") -> bool:
    """Put the item aside for this rater for good and give its place back; False if it was finished already."""
    slots.lock([assignment.item_id])
    open_states = [Assignment.LEASED, Assignment.EXPIRED]
    skipped = Assignment.objects.filter(pk=assignment.pk, state__in=open_states).update(
        state=Assignment.SKIPPED, skip_reason=reason[:300], finished_at=timezone.now()
    )
    slots.settle([assignment.item_id])
    return bool(skipped)


def restore_skips(*, rows: Iterable[Assignment]) -> None:
    """What an export says was skipped: it does not come to the same people again."""
    Assignment.objects.bulk_create(rows, ignore_conflicts=True)


@transaction.atomic
def release(*, assignment: Assignment, expired_by: datetime | None = None) -> bool:
    """Give a lease's place back to the queue; with `expired_by`, only if the lease had run out by then."""
    slots.lock([assignment.item_id])
    held = Assignment.objects.filter(pk=assignment.pk, state=Assignment.LEASED)
    if expired_by is not None:
        held = held.filter(expires_at__lte=expired_by)
    released = held.update(state=Assignment.EXPIRED)
    if released:
        slots.settle([assignment.item_id])
    return bool(released)


def release_all(*, user: User, project: Project) -> int:
    """Give back everything that the user holds in the project; returns how much. Their drafts stay."""
    live = Assignment.objects.filter(rater__user=user, rater__project=project, state=Assignment.LEASED)
    return sum(release(assignment=assignment) for assignment in live.order_by("item"))


def return_expired(now: datetime) -> int:
    """Give back the leases that have run out; returns how many."""
    due = Assignment.objects.filter(state=Assignment.LEASED, expires_at__lte=now).order_by("item", "pk")
    return sum(release(assignment=assignment, expired_by=now) for assignment in due.only("item"))


# --- What the router decides -----------------------------------------------------------------------------------


def open_to_people(*, item_ids: Sequence[int], decision: str, people: int | None = None) -> int:
    """Do what the router decided for these items: who labels them, and how many people; returns how many changed.

    `decision` is Item.HUMAN, JUDGE or BOTH, or UNROUTED: the item waits for the router again. `people` is how many
    are wanted, where the project's overlap is not. Leases and annotations that are there keep their places.
    """
    changed = 0
    for batch in slots.batches(item_ids):
        changed += open_batch(batch, decision, people)
    return changed


@transaction.atomic
def open_batch(batch: Sequence[int], decision: str, people: int | None = None) -> int:
    slots.lock(batch)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    rerouted = Item.objects.filter(pk__in=batch).exclude(route=decision)
    for project_id, route in rerouted.values_list("project_id", "route"):
        if decision:
            counts[project_id][tallies.ROUTED[decision]] += 1
        if route:
            counts[project_id][tallies.ROUTED[route]] -= 1
    changed = rerouted.count()
    wanted = Subquery(Project.objects.filter(pk=OuterRef("project")).values("overlap"))
    overlap = Value(0) if decision not in PEOPLE else wanted if people is None else Value(people)
    Item.objects.filter(pk__in=batch).update(route=decision, overlap=overlap)
    slots.settle(batch)
    # An item that a judge labelled is open again once people are asked too.
    for project_id, (_items, difference) in aggregation.relabel(batch).items():
        counts[project_id].update(difference)
    for project_id, count in counts.items():
        tallies.add(project_id=project_id, counts=count)
    return changed


# --- Why there is nothing -------------------------------------------------------------------------------------

PAUSED, YOU_PAUSED, DAY_DONE, QUOTA_DONE = "paused", "you_paused", "day_done", "quota_done"
QUIZ_PASSED, QUIZ_FAILED = "quiz_passed", "quiz_failed"
READY, NO_ITEMS, NOT_ROUTED, HELD = "ready", "no_items", "not_routed", "held"
FOR_OTHERS, YOURS_DONE, ALL_DONE = "for_others", "yours_done", "all_done"


def quota(member: Membership, project: Project, name: str) -> int | None:
    """The member's `daily_quota` or `total_quota`, else the project's; None is no limit."""
    own = {"daily_quota": member.daily_quota, "total_quota": member.total_quota}[name]
    return own if own is not None else {"daily_quota": project.daily_quota, "total_quota": project.total_quota}[name]


def submitted(rater: Rater) -> QuerySet[Assignment]:
    return Assignment.objects.filter(rater=rater, state=Assignment.SUBMITTED)


def towards_quota(rater: Rater) -> QuerySet[Assignment]:
    """What quotas count: training and quiz are no part of the work that they divide."""
    return submitted(rater).exclude(item__gold__use__in=phases.USES.values())


def midnight() -> datetime:
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def refusal(member: Membership, project: Project, rater: Rater, holding: int = 0) -> str:
    """Why this member gets no further item, whatever the queue holds; empty where they do.

    What somebody holds counts as done: a quota is not passed by fetching ahead. Only quotas that are set are counted.
    """
    if project.state != Project.ACTIVE:
        return PAUSED
    if member.is_paused or rater.excluded_at is not None:
        return YOU_PAUSED
    if phases.phase_of(member, project) == phases.FAILED:
        return QUIZ_FAILED
    total, daily = (quota(member, project, name) for name in ("total_quota", "daily_quota"))
    if total is not None and towards_quota(rater).count() + holding >= total:
        return QUOTA_DONE
    if daily is not None and towards_quota(rater).filter(finished_at__gte=midnight()).count() + holding >= daily:
        return DAY_DONE
    return ""


def standing(*, user: User, project: Project, member: Membership | None = None) -> str:
    """Why there is nothing for this person now, or READY where there is."""
    member = member or membership(user, project)
    rater = rater_for(user=user, project=project)
    refused = refusal(member, project, rater)
    if refused:
        return refused
    if member.quiz_ended:
        return QUIZ_PASSED
    if phases.phase_of(member, project) in phases.USES:
        return READY
    if Item.objects.filter(project=project, slots_open__gt=0).exists():
        return standing_of_open(rater, pools.open_to(user, member))
    if Assignment.objects.filter(state=Assignment.LEASED, item__project=project).exclude(rater=rater).exists():
        return HELD
    counts = tallies.read(project.pk)
    if not counts.get(tallies.ITEMS):
        return NO_ITEMS
    with_people = sum(counts.get(tallies.ROUTED[route], 0) for route in PEOPLE)
    return ALL_DONE if with_people else NOT_ROUTED


def standing_of_open(rater: Rater, open_pools: Sequence[int | None]) -> str:
    """There are open places: for this rater, or for others because of what they did, or of who they are."""
    if by_urgency(rater, open_pools):
        return READY
    theirs = (Item.objects.filter(project=rater.project_id, pool=pool, slots_open__gt=0) for pool in open_pools)
    return YOURS_DONE if any(items.exists() for items in theirs) else FOR_OTHERS


# --- Counting again -------------------------------------------------------------------------------------------


def recount(*, project: Project, at_a_time: int = 2000) -> int:
    """Compare the open places of the project's items with their leases and annotations, and mend what differs."""
    mended, last = 0, 0
    while True:
        routed = Item.objects.filter(project=project, pk__gt=last).order_by("pk")
        ids = list(routed.values_list("pk", flat=True)[:at_a_time])
        if not ids:
            return mended
        mended += sum(slots.mend(batch) for batch in slots.batches(ids))
        last = ids[-1]
