"""Judges that are models of the registry: asked by a run of kind “judge”, in a process of its own.

The model writes nothing: the run scores the letters A and B as its answer, in both presentation orders. Here its
questions are written and its log-probabilities become annotations, one for each order, in stored order.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from pipeline import runs
from pipeline.judging import calls, parsing, protocol, settling
from pipeline.models import Judge, JudgeCall, Run

BATCH = 250  # items a run: its verdicts are taken in by one transaction, which others wait for
LETTERS = ("A", "B")
CUT = "The question was longer than the model reads: its beginning, the guidelines, was cut."


@transaction.atomic
def start(*, judge: Judge, limit: int | None = None, again: bool = False) -> Run | None:
    """A queued run that asks the judge what is due; None where nothing is, or where a run of it has not ended.

    After a run that failed the judge stops, until somebody asks for it `again`.
    """
    locked = Judge.objects.select_for_update(of=("self",)).select_related("project", "model_version").get(pk=judge.pk)
    last = locked.runs.order_by("-id").first()
    if last is not None and not last.ended:
        return None
    if last is not None and last.state != Run.SUCCEEDED and not again:
        settling.halt(judge=locked, message=f"Run {last.pk} did not succeed ({last.state}). {last.message}")
        return None
    if not locked.enabled or locked.state == Judge.STOPPED or locked.model_version is None:
        return None
    horizon = calls.horizon(judge=locked, items=BATCH if limit is None else min(limit, BATCH))
    rows = list(requests(locked, horizon))
    if not rows:
        return None
    version = locked.model_version
    return runs.create_run(
        project=locked.project,
        kind="judge",
        config={},
        inputs={
            "model": {"path": version.path, "sha256": version.sha256, "model": version.pk},
            "requests": runs.keep_rows(rows),
        },
        judge=locked,
        models_used=[version],
        seed=0,
    )


def requests(judge: Judge, horizon: int) -> Iterator[dict[str, Any]]:
    """The rows that the stage reads: {"id": the call, "prompt": messages, "choices"}."""
    brief = protocol.brief_of(judge.project)
    due = calls.pending(judge).filter(pk__lte=horizon).order_by("id")
    for call in due.select_related("item").prefetch_related("item__responses"):
        asked = protocol.messages(
            brief, call.item.prompt, calls.answers_of(call.item), call.order, protocol.LETTER_REPLY
        )
        yield {"id": str(call.pk), "prompt": asked, "choices": LETTERS}


@transaction.atomic
def take_in_verdicts(run: Run) -> dict[str, int]:
    """Make annotations of a finished run's verdicts; one that is taken in already adds nothing. Returns counts."""
    judge = run.judge
    if judge is None:
        return {}
    brief = protocol.brief_of(run.project)
    rows = {int(row["id"]): row for row in read_verdicts(Path(run.folder) / "verdicts.jsonl")}
    due = calls.pending(judge).filter(pk__lte=max(rows, default=0), pk__gte=min(rows, default=0)).order_by("id")
    taken = [call for call in due.select_related("item") if call.pk in rows]
    for call in taken:
        take_in(judge, call, brief, rows[call.pk])
    settling.resume(judge=judge, answered_at=timezone.now())
    return {"verdicts": len(taken)}


def read_verdicts(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def take_in(judge: Judge, call: JudgeCall, brief: protocol.Brief, row: Mapping[str, Any]) -> None:
    """One verdict: the letter that is more probable, and its share of both letters' probability as confidence."""
    logprobs = {letter: value for letter, value in row["logprobs"].items() if is_known(value)}
    verdict = verdict_of(logprobs)
    state = JudgeCall.ANSWERED if verdict else JudgeCall.UNPARSABLE
    choice = protocol.choice_of(verdict, call.order) if verdict else "unparsable"
    call.state, call.choice, call.logprobs, call.answered_at = state, choice, logprobs, timezone.now()
    call.attempts, call.replies = call.attempts + 1, call.replies + 1
    call.tokens_input, call.error = call.tokens_input + row["tokens"], CUT if row.get("shortened") else ""
    call.save()
    confidence = None if verdict == "tie" else parsing.confidence(logprobs, verdict)
    settling.annotate(calls.Claimed(judge, call, brief, []), state, choice, "", confidence, None)


def is_known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def verdict_of(logprobs: Mapping[str, float]) -> str:
    """The more probable letter; a tie where both are equal, nothing where one is not known."""
    if set(logprobs) != set(LETTERS):
        return ""
    if logprobs["A"] == logprobs["B"]:
        return "tie"
    return max(LETTERS, key=logprobs.__getitem__)
