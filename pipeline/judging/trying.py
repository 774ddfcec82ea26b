"""Try a judge on one item: both orders, the raw exchange shown, nothing kept but what it cost."""

import json
from concurrent.futures import Future
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db import transaction

from annotate.models import Item
from pipeline import money
from pipeline.judging import calls, exchange, parsing, protocol, settling
from pipeline.judging.asking import address_of
from pipeline.models import Judge

LONGEST = 25.0  # seconds that somebody waits for a page


@dataclass(frozen=True)
class Exchange:
    """What was sent for one order, what came back, and what it means. `choice` is in stored order."""

    order: list[int]
    sent: str
    received: str
    verdict: str = ""
    choice: str = ""
    reason: str = ""
    confidence: float | None = None
    error: str = ""
    tokens: tuple[int, int] | None = None
    cost: Decimal = Decimal(0)
    seconds: float | None = None


def preview(judge: Judge, item: Item, order: tuple[int, int] = (0, 1)) -> list[dict[str, str]]:
    """The messages that the judge would be sent. Raises ProtocolError."""
    reply = protocol.LETTER_REPLY if judge.kind == Judge.LOCAL else protocol.JSON_REPLY
    return protocol.messages(protocol.brief_of(judge.project), item.prompt, calls.answers_of(item), order, reply)


def try_judge(*, judge: Judge, item: Item) -> list[Exchange]:
    """Ask an endpoint about one item in both orders, now. Raises ProtocolError, SecretError or settling.CapReached.

    An endpoint that will not take one of our parameters is asked again without it, which is remembered.
    """
    from pipeline.judging.client import Endpoint  # here, because it takes a second to import

    address = replace(address_of(judge), timeout=min(float(judge.timeout_seconds), LONGEST))
    questions = [preview(judge, item, order) for order in protocol.ORDERS]
    dialect = dict(judge.dialect)
    with Endpoint(address) as endpoint:
        while True:
            reserve(judge, sum(calls.bound(judge, asked) for asked in questions))
            replies = [outcome_of(future) for future in [endpoint.ask(asked, dialect) for asked in questions]]
            made = [
                settled(judge, order, exchange.request(address, asked, dialect), calls.bound(judge, asked), reply)
                for order, asked, reply in zip(protocol.ORDERS, questions, replies, strict=True)
            ]
            learned = [reply.dialect for reply in replies if isinstance(reply, exchange.Trouble) and reply.dialect]
            if not learned:
                return made
            dialect |= learned[0]
            Judge.objects.filter(pk=judge.pk).update(dialect=dialect)


Outcome = exchange.Reply | exchange.Trouble


def outcome_of(future: "Future[exchange.Reply]") -> Outcome:
    try:
        return future.result()
    except exchange.Trouble as trouble:
        return trouble


@transaction.atomic
def reserve(judge: Judge, units: int) -> None:
    """Set aside what may be spent. Raises CapReached.

    It is booked as unknown until the replies are there, so it stays right if this process does not live to see them.
    """
    locked = Judge.objects.select_for_update().get(pk=judge.pk)
    left = locked.units_left()
    if left is not None and units > left:
        raise settling.CapReached(calls.cap_reached(locked, units))
    calls.book(judge.pk, unknown=units)


def settled(judge: Judge, order: tuple[int, int], sent: dict[str, Any], units: int, outcome: Outcome) -> Exchange:
    """Book what one question cost, and read its reply."""
    trouble = outcome if isinstance(outcome, exchange.Trouble) else None
    tokens = trouble.tokens if trouble else settling.tokens_of(outcome)  # type: ignore[arg-type]
    cost = settling.cost_of(judge, tokens)
    lost = tokens is None and (trouble is None or trouble.maybe_charged)
    calls.book(judge.pk, spent=cost, unknown=0 if lost else -units)
    common: dict[str, Any] = {"order": list(order), "sent": pretty(sent), "tokens": tokens, "cost": money.amount(cost)}
    if isinstance(outcome, exchange.Trouble):
        return Exchange(**common, received=pretty_text(outcome.body), error=outcome.sentence)
    brief = protocol.brief_of(judge.project)
    verdict, error = settling.read_verdict(brief, outcome)
    logprobs = parsing.verdict_logprobs(outcome.logprobs, protocol.verdicts(brief)) if verdict else {}
    return Exchange(
        **common,
        received=pretty_text(outcome.body),
        verdict=verdict.verdict if verdict else "",
        choice=protocol.choice_of(verdict.verdict, order) if verdict else "",
        reason=verdict.reason if verdict else "",
        confidence=parsing.confidence(logprobs, verdict.verdict) if verdict else None,
        error=error,
        seconds=outcome.seconds,
    )


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def pretty_text(body: str) -> str:
    """A body as JSON with line breaks, or as it is where it is none."""
    try:
        return pretty(json.loads(body))
    except (ValueError, RecursionError):
        return body
