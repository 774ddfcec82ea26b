"""Which item comes next for whom: leases that are taken, kept alive, given back.

A lease holds one of the item's places until it is submitted, skipped or runs out. The candidate is found by one
range over the index `item_queue`, skipping what other transactions hold at that moment, and its place is taken by
a conditional update, so nobody gets a place twice. Somebody who comes back gets the item that they hold.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery, Value
from django.utils import timezone

from annotate import aggregation, slots, tallies
from annotate.models import Assignment, Item, Project, Rater, Response, User

PEOPLE = frozenset({Item.HUMAN, Item.BOTH})


def rater_for(*, user: User, project: Project) -> Rater:
    """The rater that a user is in a project, made at the first need.

    A rater of a file may have the user's name already: a name in a file proves nothing, so the two stay apart.
    """
    found = Rater.objects.filter(user=user, project=project).first()
    if found is not None:
        return found
    taken = Rater.objects.filter(project=project, kind=Rater.HUMAN, name=user.username, user=None).exists()
    name = f"{user.username} ({user.pk})" if taken else user.username
    return Rater.objects.get_or_create(project=project, user=user, defaults={"kind": Rater.HUMAN, "name": name})[0]


@transaction.atomic
def next_assignment(*, user: User, project: Project) -> Assignment | None:
    """The item that the user holds, else a new lease; None where nothing is left for them or the project rests.

    The rater's row is locked meanwhile, so that somebody with many tabs still holds one item.
    """
    locked = Rater.objects.select_for_update(no_key=True).filter(user=user, project=project).first()
    rater = locked or rater_for(user=user, project=project)
    held = held_by(rater)
    if held is not None:
        return renewed(held)
    return lease(rater, project) if project.state == Project.ACTIVE else None


def held_by(rater: Rater) -> Assignment | None:
    """The rater's live lease, with its item."""
    live = Assignment.objects.filter(rater=rater, state=Assignment.LEASED)
    return live.select_related("item__project", "rater").order_by("pk").first()


def renewed(held: Assignment) -> Assignment:
    """The lease, for another term if half of this one is over."""
    term = timedelta(minutes=held.item.project.lease_minutes)
    if held.expires_at - timezone.now() < term / 2:
        renew(assignment=held)
    return held


def candidates(rater: Rater) -> QuerySet[Item]:
    """The items with an open place that the rater neither holds nor did nor skipped, the most urgent first."""
    done = Assignment.objects.filter(item=OuterRef("pk"), rater=rater).exclude(state=Assignment.EXPIRED)
    open_items = Item.objects.filter(project_id=rater.project_id, slots_open__gt=0)
    return open_items.filter(~Exists(done)).order_by("-priority", "pk")


class Free(NamedTuple):
    """An item whose lock is held, how many responses it has, and the lease of it that this rater let expire."""

    item: Item
    responses: int
    expired: int | None


def first_free(rater: Rater) -> Free | None:
    """Lock and return the first candidate.

    Items that other transactions hold are passed over. If all are held, wait for one: it may keep an open place.
    """
    responses = Response.objects.filter(item=OuterRef("pk")).order_by().values("item").annotate(n=Count("pk"))
    expired = Assignment.objects.filter(item=OuterRef("pk"), rater=rater, state=Assignment.EXPIRED)
    found = candidates(rater).annotate(
        responses_count=Subquery(responses.values("n")), expired=Subquery(expired.values("pk"))
    )
    free = None
    if connection.features.has_select_for_update_skip_locked:
        free = found.select_for_update(of=("self",), no_key=True, skip_locked=True).first()
    free = free or found.select_for_update(of=("self",), no_key=True).first()
    return Free(free, free.responses_count, free.expired) if free else None


def lease(rater: Rater, project: Project) -> Assignment | None:
    """Take a place of the best candidate; the caller holds the rater."""
    free = first_free(rater)
    if free is None or not slots.take(free.item.pk):
        return None
    item = free.item
    item.project = project
    now = timezone.now()
    until = now + timedelta(minutes=project.lease_minutes)
    if free.expired is not None:
        # It keeps the order that it was shown in, and the draft that was left.
        taken_up = Assignment.objects.select_related("rater").get(pk=free.expired)
        taken_up.item, taken_up.state, taken_up.finished_at = item, Assignment.LEASED, None
        taken_up.leased_at, taken_up.expires_at = now, until
        taken_up.save(update_fields=["state", "finished_at", "leased_at", "expires_at"])
        return taken_up
    order = random.sample(range(free.responses), free.responses)
    return Assignment.objects.create(item=item, rater=rater, order=order, leased_at=now, expires_at=until)


def renew(*, assignment: Assignment) -> bool:
    """Keep a lease alive for another term; False if it is no longer held."""
    until = timezone.now() + timedelta(minutes=assignment.item.project.lease_minutes)
    held = Assignment.objects.filter(pk=assignment.pk, state=Assignment.LEASED)
    return bool(held.update(expires_at=until))


@transaction.atomic
def regain(*, assignment: Assignment) -> bool:
    """Take up a lease that ran out, if the item still has a place and the rater holds nothing else."""
    Rater.objects.select_for_update(no_key=True).get(pk=assignment.rater_id)
    slots.lock([assignment.item_id])
    lost = Assignment.objects.filter(pk=assignment.pk, state=Assignment.EXPIRED)
    elsewhere = Assignment.objects.filter(rater=assignment.rater_id, state=Assignment.LEASED)
    if elsewhere.exists() or not lost.exists() or not slots.take(assignment.item_id):
        return False
    until = timezone.now() + timedelta(minutes=assignment.item.project.lease_minutes)
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


def return_expired(now: datetime) -> int:
    """Give back the leases that have run out; returns how many."""
    due = Assignment.objects.filter(state=Assignment.LEASED, expires_at__lte=now).order_by("item", "pk")
    return sum(release(assignment=assignment, expired_by=now) for assignment in due.only("item"))


def open_to_people(*, item_ids: Sequence[int], decision: str) -> int:
    """Do what the router decided for these items: who labels them, and how many people; returns how many changed.

    `decision` is Item.HUMAN, JUDGE or BOTH. Leases and annotations that are there keep their places.
    """
    changed = 0
    for batch in slots.batches(item_ids):
        changed += open_batch(batch, decision)
    return changed


@transaction.atomic
def open_batch(batch: Sequence[int], decision: str) -> int:
    slots.lock(batch)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    rerouted = Item.objects.filter(pk__in=batch).exclude(route=decision)
    for project_id, route in rerouted.values_list("project_id", "route"):
        counts[project_id][tallies.ROUTED[decision]] += 1
        if route:
            counts[project_id][tallies.ROUTED[route]] -= 1
    changed = rerouted.count()
    wanted = Subquery(Project.objects.filter(pk=OuterRef("project")).values("overlap"))
    people = wanted if decision in PEOPLE else Value(0)
    Item.objects.filter(pk__in=batch).update(route=decision, overlap=people)
    slots.settle(batch)
    # An item that a judge labelled is open again once people are asked too.
    for project_id, (_items, difference) in aggregation.relabel(batch).items():
        counts[project_id].update(difference)
    for project_id, count in counts.items():
        tallies.add(project_id=project_id, counts=count)
    return changed


PAUSED, NO_ITEMS, NOT_ROUTED, READY = "paused", "no_items", "not_routed", "ready"
HELD, YOURS_DONE, ALL_DONE = "held", "yours_done", "all_done"


def standing(*, user: User, project: Project) -> str:
    """Why there is nothing for this person now, or READY where there is."""
    if project.state != Project.ACTIVE:
        return PAUSED
    if Item.objects.filter(project=project, slots_open__gt=0).exists():
        return READY if candidates(rater_for(user=user, project=project)).exists() else YOURS_DONE
    if Assignment.objects.filter(state=Assignment.LEASED, item__project=project).exclude(rater__user=user).exists():
        return HELD
    counts = tallies.read(project.pk)
    if not counts.get(tallies.ITEMS):
        return NO_ITEMS
    with_people = sum(counts.get(tallies.ROUTED[route], 0) for route in PEOPLE)
    return ALL_DONE if with_people else NOT_ROUTED


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
