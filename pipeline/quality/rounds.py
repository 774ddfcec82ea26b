"""One worker's round for one study: its calls are asked as those about items are, by the same driver and books.

`pipeline.judging.rounds` sends and waits, `pipeline.judging.books` reserves, books and keeps. Here stands what is
different: the calls are a study's, their plans are made by its kind, nothing becomes an annotation, and a trouble
stops the study, not the judge. Judges that are models of ours are asked by a run (`by_runs.py`).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from pipeline.judging import calls
from pipeline.judging.asking import never
from pipeline.judging.books import Books
from pipeline.judging.evidence import EvidenceError
from pipeline.judging.plans import Ask, Plan, Request
from pipeline.judging.protocol import Brief, ProtocolError
from pipeline.judging.rounds import GLANCE, PATIENCE, RENEW, Round
from pipeline.judging.secrets import SecretError
from pipeline.judging.voices import Voices
from pipeline.judging.works import Work
from pipeline.ml.configs import ConfigError
from pipeline.models import Judge, Study, StudyCall
from pipeline.quality import audits, by_runs, studies
from pipeline.quality.studies import MOST_ERROR, Kind, StudyError
from pipeline.quality.wording import StudyVoices

SAMPLES = 10_000  # more samples than a protocol ever asks for
MONEY = ["spent_units", "reserved_units", "unknown_units", "answered_at", "dialect"]
CALL_FIELDS = [
    "state", "choice", "reply", "attempts", "replies", "strikes", "due_at", "prompt_sha256", "tokens_input",
    "tokens_output", "cost_units", "reserved_units", "seconds", "error", "claim", "claimed_at",
]  # fmt: skip
WHOLE = ("judge__project", "judge__rater", "judge__model_version", "judge__prompt")


def run_study(
    *, study: Study, kind: Kind, seconds: float | None = None, stop: Callable[[], bool] = never
) -> Mapping[str, int]:
    """Ask what is pending until it is done, has to wait, or `seconds` are over; returns calls by state.

    Returns at once while another worker has the study, or asks the same model, whose questions it might pay for a
    second time. A study of a model of ours waits for its run.
    """
    with calls.turn_of(study.judge) as judge_token:
        token = studies.take_lease(study.pk) if judge_token is not None else None
        if token is not None and judge_token is not None:
            try:
                deadline = None if seconds is None else time.monotonic() + seconds
                ask_all(study.pk, token, judge_token, kind, deadline, stop)
            finally:
                studies.give_back(study.pk, token)
    return studies.counts(study)


def ask_all(
    study_id: int, token: str, judge_token: str, kind: Kind, deadline: float | None, stop: Callable[[], bool]
) -> None:
    study = Study.objects.select_related(*WHOLE).get(pk=study_id)
    try:
        if study.judge.kind in Judge.BY_RUNS:
            by_runs.ask(study, kind)
        else:
            StudyRound(study, token, judge_token, kind, deadline, stop).run()
    except (SecretError, ProtocolError, ConfigError, EvidenceError, StudyError) as error:
        studies.halt(study, str(error))
        return
    except calls.LeaseLost:
        return  # it was stopped, or another worker goes on
    study.refresh_from_db(fields=["state"])
    if study.state == Study.DUE and not study.calls.filter(state=StudyCall.PENDING).exists():
        studies.finish(study, kind)


class StudyRound(Round):
    """A round over a study's calls."""

    def __init__(
        self,
        study: Study,
        token: str,
        judge_token: str,
        kind: Kind,
        deadline: float | None,
        stop: Callable[[], bool],
    ) -> None:
        # There are no further calls to make.
        super().__init__(study.judge, judge_token, 0, deadline, stop, None, Counter())
        self.study, self.study_token = study, token
        self.horizon = None
        self.books = StudyBooks(study, token, kind)

    def renew(self) -> None:
        if time.monotonic() - self.renewed > RENEW:
            studies.renew_lease(self.study.pk, self.study_token)
        super().renew()

    def rest(self) -> bool:
        """Wait a moment if something is due soon; a longer rest is left to the next worker."""
        self.study.refresh_from_db(fields=["state", "due_at"])
        waiting = self.study.calls.filter(state=StudyCall.PENDING, claim="").order_by(calls.FRESH_FIRST)
        first = waiting.values_list("due_at", flat=True)[:1]
        if self.study.state != Study.DUE or not first:
            return False
        now = timezone.now()
        pause = (max(now, self.study.due_at or now, first[0] or now) - now).total_seconds()
        if pause > PATIENCE:
            return False
        time.sleep(min(pause, GLANCE))
        return True


class StudyBooks(Books):
    """The books of a study. Money is the judge's; what a trouble means for the judge it means for the study alone."""

    rows = StudyCall

    def __init__(self, study: Study, token: str, kind: Kind) -> None:
        super().__init__(study.judge_id, token)
        self.study = study
        self.kind = kind
        self.by_arm: dict[str, StudyVoices] = {}

    def locked_judge(self) -> Judge:
        """The judge, held; its state is the study's, and is not kept on the judge."""
        judge = super().locked_judge()
        study = Study.objects.select_for_update().get(pk=self.study.pk)
        study.judge = judge
        self.study = study
        judge.enabled, judge.state, judge.message = True, Judge.READY, ""
        judge.failures, judge.resume_at = study.failures, study.due_at
        return judge

    def check_lease(self, judge: Judge) -> None:
        if self.study.lease_token != self.token or self.study.state != Study.DUE:
            raise calls.LeaseLost
        if audits.evaluator_of(judge) != self.study.evaluator:
            raise StudyError("The judge's model, prompt or protocol was changed meanwhile: start it anew.")

    def voices(self, judge: Judge) -> Voices:
        return self.in_arm("")

    def in_arm(self, arm: str) -> StudyVoices:
        """Who is asked, in the words of one of the ways that are compared."""
        if arm not in self.by_arm:
            self.by_arm[arm] = studies.voices_of(self.study, self.kind, arm)
        return self.by_arm[arm]

    def pending(self, judge: Judge) -> QuerySet[Any]:
        return self.study.calls.filter(state=StudyCall.PENDING)

    def plan_of(self, voices: Voices, call: StudyCall) -> tuple[Brief, Plan[Any]]:
        return studies.plan_of(self.study, self.kind, self.in_arm(call.arm), call)

    def key(self, request: Request, voices: Voices) -> str:
        """Of a study that asks anew, under a key of its own."""
        if self.kind.anew and isinstance(request, Ask):
            request = replace(request, sample=request.sample + SAMPLES * self.study.pk)
        return super().key(request, voices)

    def finish(self, judge: Judge, works: Sequence[Work]) -> None:
        for work in works:
            call = work.call
            choice, error = work.outcome or ("", work.failure)
            call.state = StudyCall.FAILED if work.failure else StudyCall.UNPARSABLE if error else StudyCall.ANSWERED
            call.choice, call.error, call.due_at = ("unparsable" if error else choice), error[:MOST_ERROR], None
            self.release(work)
            self.settled.append(call.state)

    def keep(self, judge: Judge, rows: Iterable[Any]) -> None:
        judge.save(update_fields=MONEY)
        self.keep_members()
        StudyCall.objects.bulk_update(list(rows), CALL_FIELDS, batch_size=50)
        if self.study.lease_token != self.token:
            return
        if judge.state == Judge.STOPPED:
            studies.halt(self.study, judge.message)
        self.study.failures, self.study.due_at = judge.failures, judge.resume_at
        self.study.save(update_fields=["failures", "due_at"])
