"""What became of a claimed call: its verdict, its cost, and what a failure means for the call and for the judge.

Each function is one transaction and settles a claim at most once. Money is booked whatever happens: what a reply
says it used is spent; where a request was sent and no reply tells, the most that it can have cost stays booked
as unknown and counts against the cap.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from annotate.models import Annotation
from annotate.questions import AnswerError
from annotate.submitting import record_judgment
from pipeline import money
from pipeline.judging import exchange, parsing, protocol
from pipeline.judging.calls import BREAKER, Claimed, book
from pipeline.models import Judge, JudgeCall
from pipeline.runs import storable

UNPARSABLE_REPLIES = 2  # a reply without a verdict is asked for once more, then recorded as it is
MOST_STRIKES = 8  # failures of one call while the endpoint answered others; then the call is given up
BACKOFF, MOST_BACKOFF = 1.0, 60.0  # seconds before a call is asked again: 1, 2, 4 …
REST, MOST_REST = 15.0, 900.0  # seconds that a judge waits whose endpoint is down: 15, 30, 60 …
MOST_ERROR = 500  # characters, as the tables have them


class CapReached(Exception):
    """The next question could overrun the spend cap; the message says by how much."""


def mine(claimed: Claimed) -> QuerySet[JudgeCall]:
    """The call's row, as long as it is pending under this claim."""
    return JudgeCall.objects.filter(pk=claimed.call.pk, state=JudgeCall.PENDING, claim=claimed.call.claim)


# --- A reply --------------------------------------------------------------------------------------------------
def answered(*, claimed: Claimed, reply: exchange.Reply) -> str:
    """Keep a reply, its verdict and its cost; returns the call's new state.

    A reply without a verdict leaves the call pending once, and is recorded as unparsable the second time.
    """
    verdict, error = read_verdict(claimed.brief, reply)
    if verdict is None and claimed.call.replies + 1 < UNPARSABLE_REPLIES:
        state, choice = JudgeCall.PENDING, ""
    elif verdict is None:
        state, choice = JudgeCall.UNPARSABLE, "unparsable"
    else:
        state, choice = JudgeCall.ANSWERED, protocol.choice_of(verdict.verdict, claimed.call.order)
    now = timezone.now()
    logprobs = parsing.verdict_logprobs(reply.logprobs, protocol.verdicts(claimed.brief)) if verdict else {}
    with transaction.atomic():
        settled = settle(
            claimed,
            tokens_of(reply),
            state=state,
            choice=choice,
            replies=F("replies") + 1,
            reply=reply.text,
            logprobs=logprobs,
            seconds=F("seconds") + reply.seconds,
            error=error[:MOST_ERROR],
            due_at=None,
            answered_at=None if state == JudgeCall.PENDING else now,
            news={"failures": 0, "answered_at": now},
        )
        if settled and choice:
            confidence = parsing.confidence(logprobs, verdict.verdict) if verdict else None
            state = annotate(claimed, state, choice, verdict.reason if verdict else "", confidence, reply.seconds)
        if claimed.judge.state == Judge.WAITING:
            end_wait(claimed.judge.pk, now)
    return state


def read_verdict(brief: protocol.Brief, reply: exchange.Reply) -> tuple[parsing.Verdict | None, str]:
    """The verdict of a reply, or why there is none."""
    try:
        return parsing.parse(reply.text, protocol.verdicts(brief)), ""
    except parsing.Unparsable as error:
        cut = (
            "The reply was cut at the longest length that is set for replies. "
            if reply.finish_reason == "length"
            else ""
        )
        return None, f"{cut}{error}"


def tokens_of(reply: exchange.Reply) -> tuple[int, int] | None:
    if reply.tokens_input is None or reply.tokens_output is None:
        return None
    return reply.tokens_input, reply.tokens_output


def annotate(
    claimed: Claimed, state: str, choice: str, reason: str, confidence: float | None, seconds: float | None
) -> str:
    """Record the judgment in stored order and tie it to its call; returns the call's state.

    Where the project no longer asks what the judge answered, the call fails with a sentence.
    """
    call, brief = claimed.call, claimed.brief
    row = JudgeCall.objects.filter(pk=call.pk)
    try:
        made = record_judgment(
            item=call.item,
            rater=claimed.judge.rater,
            order=call.order,
            answers={brief.question: {"choice": choice}},
            reason=storable(reason),
            confidence=confidence,
            seconds=seconds,
            metadata={
                "judge": claimed.judge.pk,
                "model": model_name(claimed.judge),
                "prompt_version": call.prompt_version,
                "prompt_sha256": call.prompt_sha256,
                "guideline_version": brief.guideline_version,
                "rubric_version": brief.rubric_version,
            },
        )
    except AnswerError as error:
        row.update(state=JudgeCall.FAILED, error=str(error)[:MOST_ERROR])
        return JudgeCall.FAILED
    row.update(annotation=made or unclaimed_annotation(claimed))
    return state


def model_name(judge: Judge) -> str:
    return judge.model_version.name if judge.model_version else judge.model


def unclaimed_annotation(claimed: Claimed) -> Annotation | None:
    """The same verdict, recorded before (by an import, say), unless another call is tied to it."""
    call = claimed.call
    there = Annotation.objects.filter(item=call.item_id, rater=claimed.judge.rater_id, order_key=call.order_key)
    return there.filter(judge_call=None).order_by("-revision").first()


def end_wait(judge_id: int, now: datetime) -> None:
    """The endpoint answers again: the wait is over, unless it has asked for a longer one meanwhile."""
    rested = Judge.objects.filter(pk=judge_id, state=Judge.WAITING).exclude(resume_at__gt=now)
    rested.update(state=Judge.READY, message="", resume_at=None)


# --- Money ----------------------------------------------------------------------------------------------------
def settle(
    claimed: Claimed,
    tokens: tuple[int, int] | None,
    *,
    charged: bool = True,
    news: Mapping[str, Any] | None = None,
    **values: Any,
) -> bool:
    """End a claim and book its money; False where another worker has taken the call over.

    `tokens` are (input, output) as far as the endpoint told; `charged` is False where it cannot have cost anything;
    `values` are set on the call, and `news` on the judge.
    """
    judge, call = claimed.judge, claimed.call
    cost = cost_of(judge, tokens)
    used = {
        "tokens_input": F("tokens_input") + (tokens or (0, 0))[0],
        "tokens_output": F("tokens_output") + (tokens or (0, 0))[1],
        "cost_units": F("cost_units") + cost,
    }
    unknown = call.reserved_units if charged and tokens is None else 0
    if mine(claimed).update(claim="", reserved_units=0, **used, **values):
        book(judge.pk, spent=cost, reserved=-call.reserved_units, unknown=unknown, **(news or {}))
        return True
    # Taken over while it was under way: its reservation stands as unknown. Now it is known, so far as it is.
    JudgeCall.objects.filter(pk=call.pk).update(**used)
    book(judge.pk, spent=cost, unknown=unknown - call.reserved_units, **(news or {}))
    return False


def cost_of(judge: Judge, tokens: tuple[int, int] | None) -> int:
    """What so many tokens cost at this judge, in units."""
    tokens_input, tokens_output = tokens or (0, 0)
    return money.cost(
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        price_input=judge.price_input,
        price_output=judge.price_output,
    )


# --- No reply -------------------------------------------------------------------------------------------------
def troubled(*, claimed: Claimed, trouble: exchange.Trouble) -> str:
    """Keep what went wrong, and decide what it means for the call and for the judge; returns the call's new state."""
    now = timezone.now()
    with transaction.atomic():
        judge = Judge.objects.select_for_update().get(pk=claimed.judge.pk)
        values: dict[str, Any] = {"state": JudgeCall.PENDING, "due_at": None}
        values |= CONSEQUENCES[trouble.kind](judge, claimed, trouble, now)
        charged = trouble.maybe_charged or trouble.tokens is not None
        judge.save(update_fields=["state", "message", "resume_at", "failures", "dialect"])
        settle(claimed, trouble.tokens, charged=charged, error=trouble.sentence[:MOST_ERROR], **values)
    return str(values["state"])


def abandon(*, claimed: Claimed) -> None:
    """This worker has to go before the reply came: the call is due again, and its cost is not known."""
    with transaction.atomic():
        settle(claimed, None, error="The worker stopped before the reply came.")


Consequence = Callable[[Judge, Claimed, exchange.Trouble, datetime], dict[str, Any]]


def doubling(first: float, times: int, most: float) -> timedelta:
    """`first` seconds, doubled so many times, up to `most`."""
    return timedelta(seconds=min(first * 2 ** min(times, 30), most))


def wait_until(judge: Judge, moment: datetime, message: str) -> None:
    """Let the judge wait at least until then; one that needs a person stays stopped."""
    judge.resume_at = max(moment, judge.resume_at or moment)
    if judge.state != Judge.STOPPED:
        judge.state, judge.message = Judge.WAITING, message[:MOST_ERROR]


def stop(judge: Judge, message: str) -> None:
    judge.state, judge.message = Judge.STOPPED, message[:MOST_ERROR]


def slow_down(judge: Judge, claimed: Claimed, trouble: exchange.Trouble, now: datetime) -> dict[str, Any]:
    """Asked to slow down: the whole judge waits as long as it is told to, or longer each time."""
    asked = trouble.retry_after
    wait = doubling(BACKOFF, claimed.call.attempts - 1, MOST_BACKOFF) if asked is None else timedelta(seconds=asked)
    wait_until(judge, now + wait, trouble.sentence)
    return {}


def try_later(judge: Judge, claimed: Claimed, trouble: exchange.Trouble, now: datetime) -> dict[str, Any]:
    """No usable answer. Is it this question, or the endpoint?

    A failure right after the endpoint answered another question is a strike against this one, and enough strikes end
    it. Failures in a row are the endpoint's: nothing is given up, and the judge rests, longer each time.
    """
    strikes = claimed.call.strikes + int(judge.failures == 0 and judge.answered_at is not None)
    judge.failures += 1
    if strikes >= MOST_STRIKES:
        return {"state": JudgeCall.FAILED, "strikes": strikes}
    if judge.failures >= BREAKER:
        rest = doubling(REST, judge.failures - BREAKER, MOST_REST)
        wait_until(judge, now + rest, f"The endpoint does not work. {trouble.sentence}")
    backoff = doubling(BACKOFF, claimed.call.attempts - 1, MOST_BACKOFF)
    return {"due_at": now + max(backoff, timedelta(seconds=trouble.retry_after or 0)), "strikes": strikes}


def need_a_person(judge: Judge, claimed: Claimed, trouble: exchange.Trouble, now: datetime) -> dict[str, Any]:
    stop(judge, trouble.sentence)
    return {}


def give_up(judge: Judge, claimed: Claimed, trouble: exchange.Trouble, now: datetime) -> dict[str, Any]:
    """The endpoint will not take this question. If it has never taken any, the settings are wrong, not the items."""
    if judge.answered_at is not None:
        return {"state": JudgeCall.FAILED}
    judge.failures += 1
    if judge.failures < BREAKER:
        return {"state": JudgeCall.FAILED}
    stop(judge, f"{trouble.sentence} The endpoint takes none of our questions: check the judge's settings.")
    ask_again(judge=judge)
    return {}


def speak_otherwise(judge: Judge, claimed: Claimed, trouble: exchange.Trouble, now: datetime) -> dict[str, Any]:
    """The endpoint knows a parameter by another name, or not at all: remember it and ask again."""
    judge.dialect = {**judge.dialect, **trouble.dialect}
    return {}


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


def resume(*, judge: Judge, **values: Any) -> None:
    """Let a judge that rests or has stopped be asked again at once, also what had failed a moment ago."""
    JudgeCall.objects.filter(judge=judge, state=JudgeCall.PENDING).update(due_at=None)
    Judge.objects.filter(pk=judge.pk).update(state=Judge.READY, message="", resume_at=None, failures=0, **values)


def ask_again(*, judge: Judge) -> int:
    """Make the judge's failed calls due again; returns how many."""
    failed = JudgeCall.objects.filter(judge=judge, state=JudgeCall.FAILED)
    return failed.update(state=JudgeCall.PENDING, strikes=0, replies=0, due_at=None, error="")
