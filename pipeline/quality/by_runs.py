"""Studies of judges that are models of ours: asked by one run, like their items (`pipeline.judging.local`)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from pipeline.judging import local, protocol
from pipeline.models import Judge, Run, Study, StudyCall
from pipeline.quality import studies
from pipeline.quality.studies import MOST_ERROR, Kind, StudyError


@transaction.atomic
def ask(study: Study, kind: Kind) -> None:
    """Queue the run that asks what is pending, or see what became of it. Raises StudyError."""
    run = Study.objects.select_for_update(of=("self",)).select_related("run").get(pk=study.pk).run
    if run is None:
        made = local.queue_run(study.judge, list(requests(study, kind)))
        Study.objects.filter(pk=study.pk).update(run=made)
    elif run.ended and run.state != Run.SUCCEEDED:
        raise StudyError(f"Run {run.pk} did not succeed ({run.state}). {run.message}")
    elif run.ended:
        left = study.calls.filter(state=StudyCall.PENDING)
        left.update(state=StudyCall.FAILED, error="The run gave no verdict on it.")


def requests(study: Study, kind: Kind) -> Iterator[dict[str, Any]]:
    """The rows that the stage reads, one a pending call."""
    assert kind.subject is not None
    judge = study.judge
    brief = protocol.brief_of(judge.project, judge.prompt)
    words: dict[str, protocol.Brief] = {}
    for call in study.calls.filter(state=StudyCall.PENDING).order_by("pk"):
        subject = kind.subject(study, call)
        if subject is None:
            continue
        if judge.kind == Judge.REWARD:
            yield {"id": str(call.pk), "prompt": subject.prompt, "responses": subject.responses}
            continue
        if call.arm not in words:
            words[call.arm] = kind.change(study, call.arm)(brief)
        asked = protocol.messages(
            words[call.arm], subject.prompt, subject.responses, call.order, protocol.LETTER_REPLY
        )
        yield {"id": str(call.pk), "prompt": asked, "choices": local.LETTERS}


@transaction.atomic
def take_in(run: Run, study: Study) -> int:
    """Settle the study's calls by a finished run's verdicts; the worker then finishes the study. Returns how many."""
    brief = protocol.brief_of(run.project, study.judge.prompt)
    rows = {int(row["id"]): row for row in local.read_verdicts(Path(run.folder) / "verdicts.jsonl")}
    taken = [call for call in study.calls.select_for_update().filter(state=StudyCall.PENDING) if call.pk in rows]
    for call in taken:
        settle(call, study.judge, brief, rows[call.pk])
    fields = ["state", "choice", "reply", "error", "attempts", "replies", "tokens_input"]
    StudyCall.objects.bulk_update(taken, fields, batch_size=100)
    return len(taken)


def settle(call: StudyCall, judge: Judge, brief: protocol.Brief, row: Mapping[str, Any]) -> None:
    outcome = (local.weighed if judge.kind == Judge.REWARD else local.heard)(call, brief, row).outcome
    assert outcome is not None
    choice, error = studies.choice_in(brief, outcome)
    call.state = StudyCall.UNPARSABLE if error else StudyCall.ANSWERED
    call.choice, call.error = ("unparsable" if error else choice), error[:MOST_ERROR]
    call.reply = local.in_words(row)
