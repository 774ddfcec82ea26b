"""Asks a judge what is no item of the queue: probes, and items under other words. The sole writer of Study.

What is asked goes through the judge's own protocol (`pipeline.judging.plans`), and `rounds` asks it. Replies are kept
by their content as for items, so nothing is paid twice. One worker holds a study's lease; the next one goes on with
the calls that are pending. What a study asks and what its replies come to is the business of its kind.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotate.models import Project, User
from pipeline.judging import calls
from pipeline.judging.plans import Plan
from pipeline.judging.setup import record
from pipeline.models import Judge, Study, StudyCall
from pipeline.quality import audits

LEASE = timedelta(seconds=60)
MOST_ERROR = 500

Row = tuple[str, str, str]  # key, arm, order key of a call


@dataclass(frozen=True)
class Kind:
    """What a kind of study asks, and what it comes to.

    `plan` asks one call: it returns a choice in stored order ("" where there is none to make) and what was wrong with
    the replies. `finish` makes the result of all calls, and does what follows from it. `anew` says that replies to
    earlier studies do not count, because the question is what the endpoint says now; `longest` what a reply needs, in
    tokens, where that may be more than the judge is set to.
    """

    plan: Callable[[Study, StudyCall], Plan[tuple[str, str]]]
    finish: Callable[[Study, Sequence[StudyCall]], dict[str, Any]]
    anew: bool = False
    longest: int = 0


class StudyError(Exception):
    """A study cannot be made; the message says why and what to do."""


@transaction.atomic
def create(
    *, judge: Judge, kind: str, rows: Iterable[Row], by: User | None, config: Mapping[str, Any] | None = None
) -> Study:
    """A study that is due. Raises StudyError while another of its kind is, and for judges that are no endpoint."""
    if judge.kind != Judge.ENDPOINT:
        raise StudyError("Only judges behind an endpoint are tried: a local model is asked by runs of its own.")
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


def due() -> list[int]:
    """The studies of active projects that have something to ask and no worker that does."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    rested = Q(due_at=None) | Q(due_at__lte=now)
    found = Study.objects.filter(free, rested, state=Study.DUE, judge__project__state=Project.ACTIVE)
    return list(found.values_list("pk", flat=True))


def stop(*, study: Study, by: User) -> None:
    """Ask nothing more for a study; what was asked is kept and paid."""
    if Study.objects.filter(pk=study.pk, state=Study.DUE).update(state=Study.STOPPED, message="Stopped by hand."):
        record(study.judge, "stopped", by, after={"study": study.pk})


def go_on(*, study: Study, by: User) -> None:
    """Ask on after a stop, also what had failed."""
    study.calls.filter(state=StudyCall.FAILED).update(state=StudyCall.PENDING, attempts=0, error="")
    renewed = {"state": Study.DUE, "message": "", "failures": 0, "due_at": None}
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
        calls.book(study.judge_id, reserved=-study.reserved_units, unknown=study.reserved_units)
        Study.objects.filter(pk=study_id).update(reserved_units=0)
    return token


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
