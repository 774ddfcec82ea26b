"""The end of calls: their outcomes become annotations, in stored order, and their states are set, batch by batch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

MOST_MEMBERS = 120  # characters
CALL_FIELDS = [
    "state", "attempts", "replies", "strikes", "due_at", "reply", "choice", "logprobs", "prompt_sha256",
    "tokens_input", "tokens_output", "cost_units", "reserved_units", "seconds", "error", "annotation", "claim",
    "claimed_at", "answered_at",
]  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A call that is over: what it was asked with, and its outcome, or why it could not be asked."""

    call: Any  # a JudgeCall; of a study, which records nothing, a StudyCall
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
    members = members_in_words(judge) if said else ""
    made = record_judgments(rows=[judgment(judge, one, members) for one in said])
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


def judgment(judge: Judge, one: Ended, members: str) -> Judgment:
    """The outcome as the writer of annotations takes it; `members` says who the judge asked, if it is several."""
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
            **({"members": members} if members else {}),
            "prompt_sha256": call.prompt_sha256,
            "guideline_version": brief.guideline_version,
            "rubric_version": brief.rubric_version,
            **outcome.details,
        },
    )


def model_name(judge: Judge) -> str:
    return judge.model_version.name if judge.model_version else judge.model


def members_in_words(judge: Judge) -> str:
    """Who a panel or a cascade asks, in its order: model, prompt and protocol of each. "" for a judge that is one.

    Where that is long it is cut, and ends in a hash of the whole: other members are other words.
    """
    if judge.kind not in Judge.OF_MEMBERS:
        return ""
    seats = judge.seats.select_related("member__model_version").order_by("position")
    each = [
        " ".join([model_name(seat.member), seat.member.prompt_version, differences(protocol_of(seat.member.protocol))])
        for seat in seats
    ]
    whole = " + ".join(words.strip() for words in each)
    if len(whole) <= MOST_MEMBERS:
        return whole
    return f"{whole[: MOST_MEMBERS - 9]} {hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def unclaimed_annotation(judge: Judge, call: JudgeCall) -> Annotation | None:
    """The same verdict, recorded before (by an import, say), unless another call is tied to it."""
    there = Annotation.objects.filter(item=call.item_id, rater=judge.rater_id, order_key=call.order_key)
    return there.filter(judge_call=None).order_by("-revision").first()
