"""Which questions are due to a judge, and who may ask them.

Pending calls are the queue, and items routed to the judge without a call are what feeds it. A worker that asks for a
judge holds its lease; it claims calls, reserves the most that each of their requests may cost, and settles every claim
once (`books.py`). A claim names itself, so a worker that comes back from the dead cannot settle what another one has
taken over. This module, `books.py` and `settling.py` are the only writers of JudgeCall and of a judge's state and
money.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from annotate import rubrics
from annotate.models import Item, Project, Response
from annotate.questions import KINDS
from pipeline import money
from pipeline.judging import protocol
from pipeline.judging.config import BOTH, protocol_of
from pipeline.models import Judge, JudgeCall, Route
from pipeline.routing import budgets, guard

LEASE = timedelta(seconds=30)  # renewed every few seconds; how long a dead worker's judge rests
PLAN = 100  # items that get their calls at once
BREAKER = 5  # failures in a row, whatever the call; then the whole judge waits and is tried with one call at a time
SETTLED = timedelta(minutes=2)  # no transaction that routes lasts so long
TO_JUDGE = (Item.JUDGE, Item.BOTH)
FRESH_FIRST = F("due_at").asc(nulls_first=True)
MOST_COUNTED = 32_000  # requests of a call; the tables count no further


class LeaseLost(Exception):
    """Another worker asks for this judge now."""


# --- What is due ----------------------------------------------------------------------------------------------
def pairs() -> QuerySet[Item]:
    """Items with two responses: what a judge can compare."""
    return of_size(2, 2)


def of_size(least: int, most: int) -> QuerySet[Item]:
    """Items with so many responses."""
    response = Response.objects.filter(item=OuterRef("pk"))
    return Item.objects.filter(Exists(response.filter(position=least - 1)), ~Exists(response.filter(position=most)))


def sizes(judge: Judge) -> tuple[int, int]:
    """How few and how many responses an item may have to be asked all that the judge answers."""
    names = protocol_of(judge.protocol).asked
    if not names:
        return 2, 2
    kinds = [KINDS[asked.kind] for asked in rubrics.questions_of(judge.project) if asked.name in names]
    return max((kind.least for kind in kinds), default=2), min((kind.most for kind in kinds), default=2)


def items_due(judge: Judge) -> QuerySet[Item]:
    """Items routed to the judge that it can answer and about which it was never asked with this prompt.

    Looks only at what was routed since `route_cursor`, so its cost does not grow with what is done.
    """
    asked = JudgeCall.objects.filter(judge=judge, item=OuterRef("pk"), prompt_version=judge.prompt_version)
    decided = Route.objects.filter(id__gt=judge.route_cursor, decision__in=TO_JUDGE, item__project=judge.project_id)
    routed = of_size(*sizes(judge)).filter(~Exists(asked), pk__in=decided.values("item"), route__in=TO_JUDGE)
    return routed.exclude(state=Item.ARCHIVED)


def plan(*, judge: Judge, items: int = PLAN) -> int:
    """Make the calls, one an order, of the next items that are due; returns how many items."""
    looked_at = newest_settled_route()
    judge.refresh_from_db(fields=["route_cursor", "prompt_version", "protocol"])
    responses = Count("responses")
    due = list(items_due(judge).annotate(n=responses).order_by("id").values_list("id", "n")[:items])
    guard.let_people_decide([item for item, _size in due])
    JudgeCall.objects.bulk_create(
        (
            JudgeCall(
                judge=judge, item_id=item, order_key=protocol.order_key(order), prompt_version=judge.prompt_version
            )
            for item, size in due
            for order in orders(judge, size)
        ),
        ignore_conflicts=True,
        batch_size=500,
    )
    if len(due) < items:
        Judge.objects.filter(pk=judge.pk, route_cursor__lt=looked_at).update(route_cursor=looked_at)
    return len(due)


def orders(judge: Judge, responses: int) -> list[tuple[int, ...]]:
    """The presented orders in which an item with so many responses is asked: as stored, and reversed."""
    as_stored = tuple(range(responses))
    both = judge.kind != Judge.REWARD and protocol_of(judge.protocol).orders == BOTH
    return [as_stored, as_stored[::-1]] if both and responses > 1 else [as_stored]


def newest_settled_route() -> int:
    """The newest Route old enough that no transaction can still bring an older number to light; 0 for none."""
    old = Route.objects.filter(created_at__lt=timezone.now() - SETTLED).order_by("-id")
    return old.values_list("id", flat=True).first() or 0


def pending(judge: Judge) -> QuerySet[JudgeCall]:
    return JudgeCall.objects.filter(judge=judge, state=JudgeCall.PENDING)


def still_due(judge: Judge) -> int:
    """How many questions wait for the judge: those that are made, and those of items that have none yet."""
    lacking = items_due(judge).annotate(n=Count("responses")).values_list("n", flat=True)
    return pending(judge).count() + sum(len(orders(judge, size)) for size in lacking)


def judges_due(moment: datetime | None = None) -> list[int]:
    """The enabled judges of active projects that have something to ask and nobody who asks: what `wake` starts."""
    moment = moment or timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=moment)
    rested = Q(resume_at=None) | Q(resume_at__lte=moment)
    enabled = Judge.objects.filter(free, rested, enabled=True, project__state=Project.ACTIVE)
    longest_ago = F("answered_at").asc(nulls_first=True)  # of those that take turns, whoever has waited longest
    judges = enabled.exclude(state=Judge.STOPPED).select_related("project").order_by(longest_ago, "pk")
    return [judge.pk for judge in judges if pending(judge).exists() or items_due(judge).exists()]


def horizon(*, judge: Judge, items: int) -> int:
    """The last call of the next `items` items, whose calls are made if need be; 0 where nothing is due."""
    lacking = items - pending(judge).values("item").distinct().count()
    if lacking > 0:
        plan(judge=judge, items=lacking)
    last, seen = 0, set()
    for call, item in pending(judge).order_by("id").values_list("id", "item_id")[: 2 * items + 1]:
        seen.add(item)
        if len(seen) > items:
            break
        last = call
    return last


def next_due(judge: Judge, moment: datetime, horizon: int | None = None) -> float | None:
    """Seconds until the judge and one of its pending calls are due; None where nothing is pending."""
    waiting = pending(judge).filter(claim="", **up_to(horizon)).order_by(FRESH_FIRST)
    first = waiting.values_list("due_at", flat=True)[:1]
    if not first:
        return None
    until = max(moment, judge.resume_at or moment, first[0] or moment)
    return (until - moment).total_seconds()


def up_to(horizon: int | None) -> dict[str, int]:
    return {} if horizon is None else {"pk__lte": horizon}


# --- The lease ------------------------------------------------------------------------------------------------
def kin(judge: Judge) -> list[int]:
    """The judges of its project, itself among them, that ask a model which it asks, by themselves or as members.

    They take turns: the same question asked by two at once would be paid twice, and a member's limits hold whoever
    asks it.
    """
    theirs = list(judge.members.all()) if judge.kind in Judge.OF_MEMBERS else [judge]
    same = Q(pk=judge.pk)
    for asked in theirs:
        if asked.kind == Judge.ENDPOINT:
            same |= Q(base_url=asked.base_url, model=asked.model)
            same |= Q(members__base_url=asked.base_url, members__model=asked.model)
    found = Judge.objects.filter(same, project=judge.project_id)
    return sorted(set(found.values_list("pk", flat=True)))


def asker(judge: Judge, moment: datetime | None = None) -> Judge | None:
    """The judge that one of its kin is being asked for at this moment, perhaps itself; None where it is free."""
    held = Judge.objects.filter(pk__in=kin(judge), lease_until__gte=moment or timezone.now())
    return held.first()


def take_lease(judge_id: int) -> str | None:
    """Become the one worker that asks for this judge and its kin; None while another is.

    Frees what a dead one left claimed.
    """
    now, token = timezone.now(), secrets.token_hex(16)
    judge = Judge.objects.get(pk=judge_id)
    with transaction.atomic():
        held = Judge.objects.select_for_update().filter(pk__in=kin(judge)).order_by("pk")
        if any(one.lease_until is not None and one.lease_until >= now for one in held):
            return None
        Judge.objects.filter(pk=judge_id).update(lease_token=token, lease_until=now + LEASE)
        left = JudgeCall.objects.filter(judge=judge_id, state=JudgeCall.PENDING).exclude(claim="")
        lost = left.aggregate(units=Sum("reserved_units"))["units"] or 0
        left.update(claim="", reserved_units=0)
        # They may have been asked and paid: nobody knows, so the most that they can have cost stays booked.
        book(judge_id, reserved=-lost, unknown=lost)
    return token


def renew_lease(judge_id: int, token: str) -> None:
    """Stay the one worker. Raises LeaseLost."""
    held = Judge.objects.filter(pk=judge_id, lease_token=token)
    if not held.update(lease_until=timezone.now() + LEASE):
        raise LeaseLost


def give_back(judge_id: int, token: str) -> None:
    Judge.objects.filter(pk=judge_id, lease_token=token).update(lease_token="", lease_until=None)


@contextmanager
def turn_of(judge: Judge) -> Iterator[str | None]:
    """The lease of a judge for a block; None where another worker has it. Models of ours, asked by runs, need none."""
    if judge.kind in Judge.BY_RUNS:
        yield ""
        return
    token = take_lease(judge.pk)
    try:
        yield token
    finally:
        if token is not None:
            give_back(judge.pk, token)


def book(judge_id: int, *, spent: int = 0, reserved: int = 0, unknown: int = 0, **values: Any) -> None:
    """Add to a judge's money, and set what else goes with it, in one update."""
    Judge.objects.filter(pk=judge_id).update(
        spent_units=F("spent_units") + spent,
        reserved_units=F("reserved_units") + reserved,
        unknown_units=F("unknown_units") + unknown,
        **values,
    )


def book_elsewhere(judge_id: int, asked_id: int, units: int) -> None:
    """Add what a panel or a cascade spends at a member to the member's share; nothing for a judge's own model."""
    if judge_id != asked_id:
        Judge.objects.filter(pk=asked_id).update(elsewhere_units=F("elsewhere_units") + units)


# --- Claiming -------------------------------------------------------------------------------------------------
def may_ask(judge: Judge, now: datetime) -> bool:
    rested = judge.resume_at is None or judge.resume_at <= now
    return judge.enabled and judge.state != Judge.STOPPED and rested


def answers_of(item: Item) -> list[list[dict[str, Any]]]:
    """The messages of an item's responses in stored order."""
    return [response.messages for response in item.responses.all()]


def withdraw(item_ids: Sequence[int]) -> int:
    """Take back what no judge was asked yet about these items, which no judge is to answer; returns how many calls."""
    unasked = JudgeCall.objects.filter(item__in=item_ids, state=JudgeCall.PENDING, claim="", attempts=0)
    return unasked.delete()[0]


def cap_reached(judge: Judge, units: int, member_of: Judge | None = None) -> str:
    """Why the next question is not asked; `judge` may be a member of the one that asks."""
    if judge.is_bound_by_policy:
        return (
            f"{budgets.POLICY_MONEY} is used up: the next question may cost up to {money.amount(units):.4f}, more "
            "than is left. What waited for the judge goes to people; raise the money in the routing policy to go on."
        )
    whose = f" of its member {judge.name}" if member_of is not None and member_of.pk != judge.pk else ""
    groups = f", up to {judge.elsewhere:.4f} more by panels and cascades" if judge.elsewhere_units else ""
    unknown = f", up to {judge.unknown:.4f} more for lost replies" if judge.unknown_units else ""
    return (
        f"The spend cap of {judge.spend_cap}{whose} is reached: {judge.spent:.4f} is spent{unknown}{groups}, and "
        f"the next question may cost up to {money.amount(units):.4f}. Raise the cap to go on."
    )
