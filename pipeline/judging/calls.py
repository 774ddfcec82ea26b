"""Which questions are due to a judge, and who may ask them.

Pending calls are the queue, and items routed to the judge without a call are what feeds it. A worker that asks for a
judge holds its lease; it claims calls, which reserves the most that each may cost, and settles every claim once
(`settling.py`). A claim names itself, so a worker that comes back from the dead cannot settle what another one has
taken over. This module and `settling.py` are the only writers of JudgeCall and of a judge's state and money.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from annotate.models import Item, Project, Response
from pipeline import money
from pipeline.judging import protocol
from pipeline.models import Judge, JudgeCall, Route

LEASE = timedelta(seconds=30)  # renewed every few seconds; how long a dead worker's judge rests
PLAN = 500  # items that get their calls at once
BREAKER = 5  # failures in a row, whatever the call; then the whole judge waits and is tried with one call at a time
SETTLED = timedelta(minutes=2)  # no transaction that routes lasts so long
TO_JUDGE = (Item.JUDGE, Item.BOTH)
FRESH_FIRST = F("due_at").asc(nulls_first=True)
TOKENS_A_MESSAGE, TOKENS_A_PROMPT = 16, 64  # what a chat template adds, at most


class LeaseLost(Exception):
    """Another worker asks for this judge now."""


@dataclass(frozen=True)
class Claimed:
    """A call that this worker may ask and must settle; `judge` as it stood when the call was claimed."""

    judge: Judge
    call: JudgeCall
    brief: protocol.Brief
    messages: list[dict[str, str]]


# --- What is due ----------------------------------------------------------------------------------------------
def pairs() -> QuerySet[Item]:
    """Items with two responses: what a judge can compare."""
    response = Response.objects.filter(item=OuterRef("pk"))
    return Item.objects.filter(Exists(response.filter(position=1)), ~Exists(response.filter(position=2)))


def items_due(judge: Judge) -> QuerySet[Item]:
    """Pairs routed to the judge about which it was never asked with this prompt.

    Looks only at what was routed since `route_cursor`, so its cost does not grow with what is done.
    """
    asked = JudgeCall.objects.filter(judge=judge, item=OuterRef("pk"), prompt_version=judge.prompt_version)
    decided = Route.objects.filter(id__gt=judge.route_cursor, decision__in=TO_JUDGE, item__project=judge.project_id)
    routed = pairs().filter(~Exists(asked), pk__in=decided.values("item"), route__in=TO_JUDGE)
    return routed.exclude(state=Item.ARCHIVED)


def plan(*, judge: Judge, items: int = PLAN) -> int:
    """Make the calls, two orders each, of the next items that are due; returns how many items."""
    looked_at = newest_settled_route()
    judge.refresh_from_db(fields=["route_cursor"])
    ids = list(items_due(judge).order_by("id").values_list("id", flat=True)[:items])
    JudgeCall.objects.bulk_create(
        (
            JudgeCall(judge=judge, item_id=item, order_key=key, prompt_version=judge.prompt_version)
            for item in ids
            for key in map(protocol.order_key, protocol.ORDERS)
        ),
        ignore_conflicts=True,
        batch_size=500,
    )
    if len(ids) < items:
        Judge.objects.filter(pk=judge.pk, route_cursor__lt=looked_at).update(route_cursor=looked_at)
    return len(ids)


def newest_settled_route() -> int:
    """The newest Route old enough that no transaction can still bring an older number to light; 0 for none."""
    old = Route.objects.filter(created_at__lt=timezone.now() - SETTLED).order_by("-id")
    return old.values_list("id", flat=True).first() or 0


def pending(judge: Judge) -> QuerySet[JudgeCall]:
    return JudgeCall.objects.filter(judge=judge, state=JudgeCall.PENDING)


def judges_due(moment: datetime | None = None) -> list[int]:
    """The enabled judges of active projects that have something to ask and nobody who asks: what `wake` starts."""
    moment = moment or timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=moment)
    rested = Q(resume_at=None) | Q(resume_at__lte=moment)
    judges = Judge.objects.filter(free, rested, enabled=True, project__state=Project.ACTIVE).exclude(
        state=Judge.STOPPED
    )
    return [judge.pk for judge in judges if pending(judge).exists() or items_due(judge).exists()]


def horizon(*, judge: Judge, items: int) -> int:
    """The last call of the next `items` items, whose calls are made if need be; 0 where nothing is due."""
    orders = len(protocol.ORDERS)
    lacking = items - pending(judge).count() // orders
    if lacking > 0:
        plan(judge=judge, items=lacking)
    return max(pending(judge).order_by("id").values_list("id", flat=True)[: items * orders], default=0)


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
def take_lease(judge_id: int) -> str | None:
    """Become the one worker that asks for this judge; None while another is. Frees what a dead one left claimed."""
    now, token = timezone.now(), secrets.token_hex(16)
    with transaction.atomic():
        free = Judge.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), pk=judge_id)
        if not free.update(lease_token=token, lease_until=now + LEASE):
            return None
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


def book(judge_id: int, *, spent: int = 0, reserved: int = 0, unknown: int = 0, **values: Any) -> None:
    """Add to a judge's money, and set what else goes with it, in one update."""
    Judge.objects.filter(pk=judge_id).update(
        spent_units=F("spent_units") + spent,
        reserved_units=F("reserved_units") + reserved,
        unknown_units=F("unknown_units") + unknown,
        **values,
    )


# --- Claiming -------------------------------------------------------------------------------------------------
def bound(judge: Judge, messages: Sequence[dict[str, str]]) -> int:
    """The most that one request can cost, in units: no tokeniser makes more tokens of a text than it has bytes."""
    tokens = TOKENS_A_PROMPT + sum(TOKENS_A_MESSAGE + len(message["content"].encode()) for message in messages)
    return money.cost(
        tokens_input=tokens,
        tokens_output=judge.max_tokens,
        price_input=judge.price_input,
        price_output=judge.price_output,
    )


def reserve(judge: Judge, units: int) -> bool:
    """Set so much aside, if the cap allows it. The caller has locked `judge` and saves it."""
    left = judge.units_left()
    if left is not None and units > left:
        return False
    judge.reserved_units += units
    return True


@transaction.atomic
def claim(*, judge_id: int, token: str, most: int, under_way: int, horizon: int | None = None) -> list[Claimed]:
    """Up to `most` calls that are due, each with its cost reserved; none while the judge waits or is stopped.

    None beyond the call `horizon`, if there is one. Stops the judge when the next call could overrun its cap and none
    is under way that may turn out cheaper. Raises LeaseLost.
    """
    judge = Judge.objects.select_for_update(of=("self",)).select_related("project").get(pk=judge_id)
    if judge.lease_token != token:
        raise LeaseLost
    now = timezone.now()
    if not may_ask(judge, now):
        return []
    most = 1 - under_way if judge.failures >= BREAKER else most
    due = pending(judge).filter(Q(due_at=None) | Q(due_at__lte=now), claim="", **up_to(horizon))
    due = due.order_by(FRESH_FIRST, "id")  # a question that fails again and again must not hold up the others
    calls = list(due.select_related("item").prefetch_related("item__responses")[: max(0, most)])
    brief = protocol.brief_of(judge.project) if calls else None
    claimed: list[Claimed] = []
    for call in calls:
        assert brief is not None
        each = claim_one(judge, call, brief, now)
        if each is None:
            stop_at_cap(judge, call, anything_under_way=bool(claimed or under_way))
            break
        claimed.append(each)
    JudgeCall.objects.bulk_update([each.call for each in claimed], CLAIM_FIELDS)
    judge.save(update_fields=["reserved_units", "state", "message"])
    return claimed


CLAIM_FIELDS = ["claim", "claimed_at", "reserved_units", "attempts", "prompt_sha256"]


def may_ask(judge: Judge, now: datetime) -> bool:
    rested = judge.resume_at is None or judge.resume_at <= now
    return judge.enabled and judge.state != Judge.STOPPED and rested


def claim_one(judge: Judge, call: JudgeCall, brief: protocol.Brief, now: datetime) -> Claimed | None:
    """The call with its question and its cost reserved; None where the cap does not allow it."""
    messages = protocol.messages(brief, call.item.prompt, answers_of(call.item), call.order)
    call.reserved_units = bound(judge, messages)
    if not reserve(judge, call.reserved_units):
        return None
    call.claim, call.claimed_at = secrets.token_hex(16), now
    call.attempts, call.prompt_sha256 = call.attempts + 1, protocol.fingerprint(messages)
    return Claimed(judge, call, brief, messages)


def answers_of(item: Item) -> list[list[dict[str, Any]]]:
    """The messages of an item's responses in stored order."""
    return [response.messages for response in item.responses.all()]


def stop_at_cap(judge: Judge, call: JudgeCall, *, anything_under_way: bool) -> None:
    """Stop, unless something is under way that may turn out cheaper than was reserved for it."""
    if anything_under_way:
        return
    judge.state = Judge.STOPPED
    judge.message = cap_reached(judge, call.reserved_units)


def cap_reached(judge: Judge, units: int) -> str:
    unknown = f", up to {judge.unknown:.4f} more for lost replies" if judge.unknown_units else ""
    return (
        f"The spend cap of {judge.spend_cap} is reached: {judge.spent:.4f} is spent{unknown}, and the next question "
        f"may cost up to {money.amount(units):.4f}. Raise the cap to go on."
    )
