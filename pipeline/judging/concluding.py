"""The end of calls: their outcomes become annotations, in stored order, and their states are set, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from annotate.models import Annotation
from annotate.questions import AnswerError
from annotate.submitting import Judgment, record_judgments
from pipeline.judging.config import differences, protocol_of
from pipeline.judging.plans import Outcome
from pipeline.judging.protocol import Brief
from pipeline.judging.settling import MOST_ERROR
from pipeline.models import Judge, JudgeCall
from pipeline.runs import storable

CALL_FIELDS = [
    "state", "attempts", "replies", "strikes", "due_at", "reply", "choice", "logprobs", "prompt_sha256",
    "tokens_input", "tokens_output", "cost_units", "reserved_units", "seconds", "error", "annotation", "claim",
    "claimed_at", "answered_at",
]  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A call that is over: what it was asked with, and its outcome, or why it could not be asked."""

    call: JudgeCall
    brief: Brief
    outcome: Outcome | None
    failure: str = ""

    @property
    def state(self) -> str:
        """Failed where it could not be asked, unparsable where its main question has no answer."""
        if self.outcome is None:
            return JudgeCall.FAILED
        answer = self.outcome.answers.get(self.brief.question or self.brief.asked[0].name)
        if answer is None or (self.brief.question and answer["choice"] == "unparsable"):
            return JudgeCall.UNPARSABLE
        return JudgeCall.ANSWERED

    @property
    def choice(self) -> str:
        """What the call shows: the choice of the preference, if it answers one."""
        if self.outcome is None or not self.brief.question:
            return ""
        return str(self.outcome.answers.get(self.brief.question, {}).get("choice", ""))


def conclude(judge: Judge, ended: Sequence[Ended]) -> None:
    """Record the annotations, and set on the calls, which the caller holds and keeps, what they came to.

    Where the project no longer asks what the judge answered, the call fails with a sentence.
    """
    said = [one for one in ended if one.outcome is not None and one.outcome.answers]
    made = record_judgments(rows=[judgment(judge, one) for one in said])
    now = timezone.now()
    for one in ended:
        call, outcome = one.call, one.outcome
        call.state, call.choice, call.due_at, call.answered_at = one.state, one.choice, None, now
        call.error = (one.failure or (outcome.error if outcome else ""))[:MOST_ERROR]
        call.logprobs = dict(outcome.logprobs) if outcome else {}
    for one, annotation in zip(said, made, strict=True):
        if isinstance(annotation, AnswerError):
            one.call.state, one.call.error = JudgeCall.FAILED, str(annotation)[:MOST_ERROR]
        else:
            one.call.annotation = annotation or unclaimed_annotation(judge, one.call)


def keep_calls(calls: Sequence[JudgeCall]) -> None:
    """Write these calls, whose rows this transaction holds."""
    JudgeCall.objects.bulk_create(
        calls, update_conflicts=True, unique_fields=["id"], update_fields=CALL_FIELDS, batch_size=50
    )


def judgment(judge: Judge, one: Ended) -> Judgment:
    """The outcome as the writer of annotations takes it."""
    outcome, call, brief = one.outcome, one.call, one.brief
    assert outcome is not None
    return Judgment(
        item_id=call.item_id,
        rater=judge.rater,
        order=call.order,
        answers=outcome.answers,
        reason=storable(outcome.reason),
        reference=storable(outcome.reference),
        confidence=outcome.confidence,
        seconds=call.seconds or None,
        metadata={
            "judge": judge.pk,
            "model": model_name(judge),
            "prompt_version": call.prompt_version,
            "protocol": differences(protocol_of(judge.protocol)),
            "prompt_sha256": call.prompt_sha256,
            "guideline_version": brief.guideline_version,
            "rubric_version": brief.rubric_version,
            **outcome.details,
        },
    )


def model_name(judge: Judge) -> str:
    return judge.model_version.name if judge.model_version else judge.model


def unclaimed_annotation(judge: Judge, call: JudgeCall) -> Annotation | None:
    """The same verdict, recorded before (by an import, say), unless another call is tied to it."""
    there = Annotation.objects.filter(item=call.item_id, rater=judge.rater_id, order_key=call.order_key)
    return there.filter(judge_call=None).order_by("-revision").first()
