"""Which questions are due to a judge, and who may ask them.

Pending calls are the queue, and items routed to the judge without a call are what feeds it. A worker that asks for a
judge holds its lease; it claims calls, reserves the most that each of their requests may cost, and settles every claim
once (`books.py`). A claim names itself, so a worker that comes back from the dead cannot settle what another one has
taken over. This module, `books.py` and `settling.py` are the only writers of JudgeCall and of a judge's state and
money.
"""

import secrets
from collections.abc import Sequence
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
from pipeline.routing import guard

LEASE = timedelta(seconds=30)  # renewed every few seconds; how long a dead worker's judge rests
PLAN = 100  # items that get their calls at once
BREAKER = 5  # failures in a row, whatever the call; then the whole judge waits and is tried with one call at a time
SETTLED = timedelta(minutes=2)  # no transaction that routes lasts so long
TO_JUDGE = (Item.JUDGE, Item.BOTH)
FRESH_FIRST = F("due_at").asc(nulls_first=True)
TOKENS_A_MESSAGE, TOKENS_A_PROMPT = 16, 64  # what a chat template adds, at most


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


def judges_due(moment: datetime | None = None) -> list[int]:
    """The enabled judges of active projects that have something to ask and nobody who asks: what `wake` starts."""
    moment = moment or timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=moment)
    rested = Q(resume_at=None) | Q(resume_at__lte=moment)
    enabled = Judge.objects.filter(free, rested, enabled=True, project__state=Project.ACTIVE)
    judges = enabled.exclude(state=Judge.STOPPED).select_related("project")
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


def may_ask(judge: Judge, now: datetime) -> bool:
    rested = judge.resume_at is None or judge.resume_at <= now
    return judge.enabled and judge.state != Judge.STOPPED and rested


def answers_of(item: Item) -> list[list[dict[str, Any]]]:
    """The messages of an item's responses in stored order."""
    return [response.messages for response in item.responses.all()]


def cap_reached(judge: Judge, units: int) -> str:
    unknown = f", up to {judge.unknown:.4f} more for lost replies" if judge.unknown_units else ""
    return (
        f"The spend cap of {judge.spend_cap} is reached: {judge.spent:.4f} is spent{unknown}, and the next question "
        f"may cost up to {money.amount(units):.4f}. Raise the cap to go on."
    )
