"""Asks a judge what is no item of the queue: probes, and items under other words. The sole writer of Study.

What is asked goes through the judge's own protocol, whatever kind of judge it is: `rounds` asks endpoints, panels and
cascades, `by_runs` models of ours. Replies are kept by their content as for items, so nothing is paid twice. One
worker holds a study's lease; the next one goes on with the calls that are pending. What a study asks and what its
replies come to is the business of its kind.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from annotate.models import Project, User
from pipeline.judging import calls, plans
from pipeline.judging.composites import tagged
from pipeline.judging.kinds import Form
from pipeline.judging.parsing import Unparsable
from pipeline.judging.plans import Outcome, Plan, Subject
from pipeline.judging.protocol import Brief, brief_of
from pipeline.judging.setup import record
from pipeline.models import Judge, Proposal, Run, Study, StudyCall
from pipeline.quality import audits
from pipeline.quality.wording import Change, StudyVoices, as_it_is

LEASE = timedelta(seconds=60)
MOST_ERROR = 500

Row = tuple[str, str, str]  # key, arm, order key of a call


@dataclass(frozen=True)
class Kind:
    """What a kind of study asks, and what it comes to.

    `subject` is what a call asks a verdict on, None where it is no longer there; `change` makes the words of a call's
    arm of the present ones. Of a kind that lets the judge write instead, `form` is the one request. `finish` makes the
    result of all calls, and does what follows from it. `anew` says that replies to earlier studies do not count,
    because the question is what the judge says now; `longest` what a reply needs, in tokens.
    """

    finish: Callable[[Study, Sequence[StudyCall]], dict[str, Any]]
    subject: Callable[[Study, StudyCall], Subject | None] | None = None
    change: Callable[[Study, str], Change] = lambda study, arm: as_it_is
    form: Callable[[Study], Form] | None = None
    anew: bool = False
    longest: int = 0


class StudyError(Exception):
    """A study cannot be made; the message says why and what to do."""


@transaction.atomic
def create(
    *, judge: Judge, kind: str, rows: Iterable[Row], by: User | None, config: Mapping[str, Any] | None = None
) -> Study:
    """A study that is due. Raises StudyError while another of its kind is, and for what this judge cannot do."""
    if why := cannot(judge, kind):
        raise StudyError(why)
    Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    if Study.objects.filter(judge=judge, kind=kind, state=Study.DUE).exists():
        raise StudyError("One of these is under way already: wait until it is done, or stop it.")
    made = Study.objects.create(
        judge=judge,
        kind=kind,
        evaluator=audits.evaluator_of(judge),
        prompt_version=judge.prompt_version,
        config=dict(config or {}),
        created_by=by,
    )
    StudyCall.objects.bulk_create(
        (StudyCall(study=made, key=key, arm=arm, order_key=order) for key, arm, order in rows), batch_size=500
    )
    record(judge, "started", by, after={"study": made.pk, "kind": kind, "questions": made.calls.count()})
    return made


def kind_of(proposal: Proposal) -> str:
    """The kind of study that scores a proposal."""
    return Study.PROMPT if proposal.kind == Proposal.PROMPT else Study.CRITERION


def cannot(judge: Judge, kind: str) -> str:
    """Why a judge cannot be studied in this way; empty where it can."""
    if kind == Study.WRITING and judge.kind in Judge.BY_RUNS:
        return "A model of ours says which answer is better and writes nothing: let a judge behind an endpoint write."
    if kind in (Study.CRITERION, Study.PROMPT) and judge.kind == Judge.REWARD:
        return "A reward model reads neither rubric nor prompt: no criterion and no prompt changes what it says."
    if kind == Study.PROMPT and judge.kind in Judge.OF_MEMBERS:
        return "A panel or a cascade has no words of its own: propose a prompt to one of its members."
    return ""


def due() -> list[int]:
    """The studies of active projects that have something to ask and neither a worker nor a run that does."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    rested = Q(due_at=None) | Q(due_at__lte=now)
    by_run = Q(run=None) | Q(run__state__in=Run.ENDED)
    found = Study.objects.filter(free, rested, by_run, state=Study.DUE, judge__project__state=Project.ACTIVE)
    return list(found.values_list("pk", flat=True))


# --- What is asked --------------------------------------------------------------------------------------------
def voices_of(study: Study, kind: Kind, arm: str) -> StudyVoices:
    """Who is asked, in the words of one arm. Raises SecretError or ProtocolError."""
    return StudyVoices(study.judge, kind.change(study, arm), kind.longest)


def plan_of(study: Study, kind: Kind, voices: StudyVoices, call: StudyCall) -> tuple[Brief, Plan[tuple[str, str]]]:
    """What is to be asked for a call; the plan returns a choice in stored order and what was wrong, if anything."""
    if kind.form is not None:
        return brief_of(study.judge.project, study.judge.prompt), written(kind.form(study), voices.writer)
    assert kind.subject is not None
    subject = kind.subject(study, call)
    if subject is None:
        return brief_of(study.judge.project, study.judge.prompt), nothing_there()
    brief, plan = voices.plan(study.judge.prompt_version, subject)
    return brief, chosen(brief, plan)


def written(form: Form, member: int) -> Plan[tuple[str, str]]:
    """One request to the writer; what it proposes is kept with the study until the end."""
    try:
        yield from tagged(plans.once("writing", form), member)
    except Unparsable as error:
        return "", str(error)
    return "", ""


def nothing_there() -> Plan[tuple[str, str]]:
    yield from ()
    return "", "The item is no longer there."


def chosen(brief: Brief, plan: Plan[Outcome]) -> Plan[tuple[str, str]]:
    return choice_in(brief, (yield from plan))


def choice_in(brief: Brief, outcome: Outcome) -> tuple[str, str]:
    """The choice in stored order, and what is wrong where there is none."""
    choice = str(outcome.answers.get(brief.question, {}).get("choice", "unparsable"))
    if choice not in audits.SPOKEN:
        return "", outcome.error or "It named neither answer."
    return choice, ""


def stop(*, study: Study, by: User) -> None:
    """Ask nothing more for a study; what was asked is kept and paid."""
    if Study.objects.filter(pk=study.pk, state=Study.DUE).update(state=Study.STOPPED, message="Stopped by hand."):
        record(study.judge, "stopped", by, after={"study": study.pk})


def go_on(*, study: Study, by: User) -> None:
    """Ask on after a stop, also what had failed."""
    asked_again = {"attempts": 0, "replies": 0, "strikes": 0, "due_at": None, "error": ""}
    study.calls.filter(state=StudyCall.FAILED).update(state=StudyCall.PENDING, **asked_again)
    study.calls.filter(state=StudyCall.PENDING).update(due_at=None)
    renewed = {"state": Study.DUE, "message": "", "failures": 0, "due_at": None, "run": None}
    if Study.objects.filter(pk=study.pk, state=Study.STOPPED).update(**renewed):
        record(study.judge, "resumed", by, after={"study": study.pk})


# --- The lease ------------------------------------------------------------------------------------------------
def take_lease(study_id: int) -> str | None:
    """Become the one worker of a study. What a dead one had reserved may have been paid: it is booked as unknown."""
    now, token = timezone.now(), secrets.token_hex(16)
    with transaction.atomic():
        free = Study.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), pk=study_id, state=Study.DUE)
        if not free.update(lease_token=token, lease_until=now + LEASE):
            return None
        study = Study.objects.select_for_update().get(pk=study_id)
        left = study.calls.filter(state=StudyCall.PENDING).exclude(claim="")
        lost = (left.aggregate(units=Sum("reserved_units"))["units"] or 0) + study.reserved_units
        left.update(claim="", reserved_units=0)
        calls.book(study.judge_id, reserved=-lost, unknown=lost)
        Study.objects.filter(pk=study_id).update(reserved_units=0)
    return token


def renew_lease(study_id: int, token: str) -> None:
    """Stay the one worker. Raises LeaseLost where another has it, or somebody stopped it."""
    held = Study.objects.filter(pk=study_id, lease_token=token, state=Study.DUE)
    if not held.update(lease_until=timezone.now() + LEASE):
        raise calls.LeaseLost


def give_back(study_id: int, token: str) -> None:
    Study.objects.filter(pk=study_id, lease_token=token).update(lease_token="", lease_until=None)


def halt(study: Study, message: str) -> None:
    Study.objects.filter(pk=study.pk, state=Study.DUE).update(state=Study.STOPPED, message=message[:MOST_ERROR])


@transaction.atomic
def finish(study: Study, kind: Kind) -> None:
    study.result = kind.finish(study, list(study.calls.order_by("pk")))
    study.state, study.finished_at = Study.DONE, timezone.now()
    study.save(update_fields=["result", "state", "finished_at"])


def counts(study: Study) -> dict[str, int]:
    states = study.calls.values_list("state", flat=True)
    return {state: sum(each == state for each in states) for state, _ in StudyCall.STATES}
