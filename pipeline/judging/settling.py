"""What a trouble means for a call and for its judge, what tokens cost, and what a person can set going again.

Money is booked whatever happens: what a reply says it used is spent; where a request was sent and no reply tells, the
most that it can have cost stays booked as unknown and counts against the cap. `books.py` does the booking.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from pipeline import money
from pipeline.judging import exchange
from pipeline.judging.calls import BREAKER
from pipeline.models import Judge, JudgeCall

MOST_STRIKES = 8  # failures of one call while the endpoint answered others; then the call is given up
BACKOFF, MOST_BACKOFF = 1.0, 60.0  # seconds before a call is asked again: 1, 2, 4 …
REST, MOST_REST = 5.0, 300.0  # seconds that a judge waits whose endpoint is down: 5, 10, 20 …
TOKENS_A_MESSAGE, TOKENS_A_PROMPT = 16, 64  # what a chat template adds, at most
MOST_ERROR = 500  # characters, as the tables have them


class CapReached(Exception):
    """The next question could overrun the spend cap; the message says by how much."""


# --- Money ----------------------------------------------------------------------------------------------------
def cost_of(judge: Judge, tokens: exchange.Tokens | None) -> int:
    """What so many tokens cost at this judge, in units."""
    tokens = tokens or exchange.Tokens(0, 0)
    return money.cost(
        tokens_input=tokens.read,
        tokens_output=tokens.written,
        tokens_cached=tokens.cached,
        price_input=judge.price_input,
        price_output=judge.price_output,
        price_cached=judge.price_cached,
    )


def most_tokens(judge: Judge, messages: Sequence[Mapping[str, str]]) -> exchange.Tokens:
    """The most that one request can read and write: no tokeniser makes more tokens of a text than it has bytes."""
    said = sum(TOKENS_A_MESSAGE + len(message["content"].encode()) for message in messages)
    return exchange.Tokens(TOKENS_A_PROMPT + said, judge.max_tokens)


def most_units(judge: Judge, most: exchange.Tokens) -> int:
    """The most that a request of at most so many tokens can cost, whatever of it was read before."""
    return max(cost_of(judge, most), cost_of(judge, most._replace(cached=most.read)))


def bound(judge: Judge, messages: Sequence[Mapping[str, str]]) -> int:
    """The most that one request can cost, in units."""
    return most_units(judge, most_tokens(judge, messages))


def believed(tokens: exchange.Tokens | None, most: exchange.Tokens) -> exchange.Tokens | None:
    """The endpoint's count; None where it is more than can be, and so is no count."""
    if tokens is None or tokens.read > most.read or tokens.written > most.written:
        return None
    return tokens


# --- No reply -------------------------------------------------------------------------------------------------
Consequence = Callable[[Judge, JudgeCall, exchange.Trouble, datetime], None]


def troubled(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    """Set on both, which the caller holds and keeps, what a trouble means: by default the call is due again."""
    call.due_at, call.error = None, trouble.sentence[:MOST_ERROR]
    CONSEQUENCES[trouble.kind](judge, call, trouble, now)


def doubling(first: float, times: int, most: float) -> timedelta:
    """`first` seconds, doubled so many times, up to `most`."""
    return timedelta(seconds=min(first * 2 ** min(max(times, 0), 30), most))


def backoff(call: JudgeCall) -> timedelta:
    """Longer for each request of the call that got no reply."""
    return doubling(BACKOFF, call.attempts - call.replies - 1, MOST_BACKOFF)


def wait_until(judge: Judge, moment: datetime, message: str) -> None:
    """Let the judge wait at least until then; one that needs a person stays stopped."""
    judge.resume_at = max(moment, judge.resume_at or moment)
    if judge.state != Judge.STOPPED:
        judge.state, judge.message = Judge.WAITING, message[:MOST_ERROR]


def answers_again(judge: Judge, now: datetime) -> None:
    """A reply came: the wait is over, unless the endpoint has asked for a longer one meanwhile."""
    judge.failures, judge.answered_at = 0, now
    if judge.state == Judge.WAITING and (judge.resume_at is None or judge.resume_at <= now):
        judge.state, judge.message, judge.resume_at = Judge.READY, "", None


def stop(judge: Judge, message: str) -> None:
    judge.state, judge.message = Judge.STOPPED, message[:MOST_ERROR]


def slow_down(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    """Asked to slow down: the whole judge waits as long as it is told to, or longer each time.

    Told to wait no time at all, it waits as if it had been told nothing: an endpoint that always says so would be
    asked without end.
    """
    asked = timedelta(seconds=trouble.retry_after or 0)
    wait_until(judge, now + (asked or backoff(call)), trouble.sentence)


def try_later(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    """No usable answer. Is it this question, or the endpoint?

    A failure right after the endpoint answered another question is a strike against this one, and enough strikes end
    it. Failures in a row are the endpoint's: nothing is given up, and the judge rests, longer each time. What was
    under way when it began to rest says nothing new, and makes no rest longer.
    """
    call.strikes += int(judge.failures == 0 and judge.answered_at is not None)
    rests = judge.failures >= BREAKER and judge.resume_at is not None and judge.resume_at > now
    judge.failures += int(not rests)
    if call.strikes >= MOST_STRIKES:
        call.state = JudgeCall.FAILED
        return
    if judge.failures >= BREAKER and not rests:
        rest = doubling(REST, judge.failures - BREAKER, MOST_REST)
        wait_until(judge, now + rest, f"The endpoint does not work. {trouble.sentence}")
    call.due_at = now + max(backoff(call), timedelta(seconds=trouble.retry_after or 0))


def need_a_person(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    stop(judge, trouble.sentence)


def give_up(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    """The endpoint will not take this question. If it has never taken any, the settings are wrong, not the items."""
    if judge.answered_at is not None:
        call.state = JudgeCall.FAILED
        return
    judge.failures += 1
    if judge.failures < BREAKER:
        call.state = JudgeCall.FAILED
        return
    stop(judge, f"{trouble.sentence} The endpoint takes none of our questions: check the judge's settings.")


def speak_otherwise(judge: Judge, call: JudgeCall, trouble: exchange.Trouble, now: datetime) -> None:
    """The endpoint knows a parameter by another name, or not at all: it is asked again as `books.py` remembers."""


CONSEQUENCES: dict[str, Consequence] = {
    exchange.BUSY: slow_down,
    exchange.DOWN: try_later,
    exchange.REFUSED: need_a_person,
    exchange.REJECTED: give_up,
    exchange.DIALECT: speak_otherwise,
}


# --- By hand --------------------------------------------------------------------------------------------------
def halt(*, judge: Judge, message: str) -> None:
    """Stop a judge that cannot be asked until a person has acted."""
    Judge.objects.filter(pk=judge.pk).update(state=Judge.STOPPED, message=message[:MOST_ERROR])


@transaction.atomic
def resume(*, judge: Judge, **values: object) -> None:
    """Let a judge that rests or has stopped be asked again at once, also what had failed a moment ago.

    One that is blocked because attacks fool it stays stopped (`pipeline.quality.attacks`).
    """
    JudgeCall.objects.filter(judge=judge, state=JudgeCall.PENDING).exclude(due_at=None).update(due_at=None)
    free = Judge.objects.filter(pk=judge.pk, block=None)
    free.update(state=Judge.READY, message="", resume_at=None, failures=0, **values)


def ask_again(*, judge: Judge) -> int:
    """Make the judge's failed calls due again; returns how many."""
    failed = JudgeCall.objects.filter(judge=judge, state=JudgeCall.FAILED)
    return failed.update(state=JudgeCall.PENDING, strikes=0, replies=0, attempts=0, due_at=None, error="")
