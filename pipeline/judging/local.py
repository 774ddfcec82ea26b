"""Judges that are models of the registry: asked by a run, in a process of its own.

A language model writes nothing: the run scores the letters A and B as its answer, in both presentation orders. A
reward model, or an ensemble, scores both answers; it knows no order, and is asked once. Here the requests are
written, and what comes back becomes annotations in stored order.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from pipeline import runs
from pipeline.judging import calls, parsing, protocol, settling
from pipeline.judging.concluding import Ended, conclude, keep_calls
from pipeline.judging.plans import Outcome, Vote, outcome_of
from pipeline.models import Judge, JudgeCall, ModelVersion, Run, StudyCall

BATCH = 250  # items a run: its verdicts are taken in by one transaction, which others wait for
LETTERS = ("A", "B")
STAGES = {Judge.LOCAL: "judge", Judge.REWARD: "judge_reward"}
CUT = "The question was longer than the model reads: its beginning, the guidelines, was cut."


@transaction.atomic
def start(*, judge: Judge, limit: int | None = None, again: bool = False) -> Run | None:
    """A queued run that asks the judge what is due; None where nothing is, or where a run of it has not ended.

    After a run that failed the judge stops, until somebody asks for it `again`.
    """
    locked = (
        Judge.objects.select_for_update(of=("self",))
        .select_related("project", "model_version", "prompt")
        .get(pk=judge.pk)
    )
    last = locked.runs.filter(study=None).order_by("-id").first()
    if last is not None and not last.ended:
        return None
    if last is not None and last.state != Run.SUCCEEDED and not again:
        settling.halt(judge=locked, message=f"Run {last.pk} did not succeed ({last.state}). {last.message}")
        return None
    if not locked.enabled or locked.state == Judge.STOPPED or not models_of(locked):
        return None
    horizon = calls.horizon(judge=locked, items=BATCH if limit is None else min(limit, BATCH))
    rows = list(scored_requests(locked, horizon) if locked.kind == Judge.REWARD else requests(locked, horizon))
    return queue_run(locked, rows) if rows else None


def queue_run(judge: Judge, rows: Sequence[Mapping[str, Any]]) -> Run:
    """A queued run that gives these rows to the judge's models."""
    models = models_of(judge)
    places = ("model", *(f"model_{number}" for number in range(2, len(models) + 1)))
    inputs = {
        place: {"path": version.path, "sha256": version.sha256, "model": version.pk}
        for place, version in zip(places, models, strict=True)
    }
    return runs.create_run(
        project=judge.project,
        kind=STAGES[judge.kind],
        config={},
        inputs={**inputs, "requests": runs.keep_rows(rows)},
        judge=judge,
        models_used=models,
        seed=0,
    )


def models_of(judge: Judge) -> list[ModelVersion]:
    """The models of the registry that a judge is."""
    if judge.kind == Judge.REWARD:
        return list(judge.reward_models.order_by("id"))
    return [judge.model_version] if judge.model_version else []


def requests(judge: Judge, horizon: int) -> Iterator[dict[str, Any]]:
    """The rows that the stage reads: {"id": the call, "prompt": messages, "choices"}."""
    brief = protocol.brief_of(judge.project, judge.prompt)
    for call in due(judge, horizon):
        asked = protocol.messages(
            brief, call.item.prompt, calls.answers_of(call.item), call.order, protocol.LETTER_REPLY
        )
        yield {"id": str(call.pk), "prompt": asked, "choices": LETTERS}


def scored_requests(judge: Judge, horizon: int) -> Iterator[dict[str, Any]]:
    """The rows that reward models read: {"id": the call, "prompt": messages, "responses": in stored order}."""
    protocol.brief_of(judge.project)  # says so where the project asks nothing that a pair of scores answers
    for call in due(judge, horizon):
        yield {"id": str(call.pk), "prompt": call.item.prompt, "responses": calls.answers_of(call.item)}


def due(judge: Judge, horizon: int) -> QuerySet[JudgeCall]:
    waiting = calls.pending(judge).filter(pk__lte=horizon).order_by("id")
    return waiting.select_related("item").prefetch_related("item__responses")


@transaction.atomic
def take_in_verdicts(run: Run) -> dict[str, int]:
    """Make annotations of a finished run's verdicts; one that is taken in already adds nothing. Returns counts."""
    judge = run.judge
    if judge is None:
        return {}
    brief = protocol.brief_of(run.project, judge.prompt)
    rows = {int(row["id"]): row for row in read_verdicts(Path(run.folder) / "verdicts.jsonl")}
    asked = calls.pending(judge).filter(pk__lte=max(rows, default=0), pk__gte=min(rows, default=0)).order_by("id")
    held = asked.select_for_update(of=("self",)).select_related("item")
    taken = [call for call in held if call.pk in rows]
    read = weighed if judge.kind == Judge.REWARD else heard
    conclude(judge, [read(call, brief, rows[call.pk]) for call in taken])
    keep_calls(taken)
    settling.resume(judge=judge, answered_at=timezone.now())
    return {"verdicts": len(taken)}


def read_verdicts(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def heard(call: JudgeCall | StudyCall, brief: protocol.Brief, row: Mapping[str, Any]) -> Ended:
    """One verdict: the letter that is more probable, and its share of both letters' probability as confidence."""
    logprobs = {letter: value for letter, value in row["logprobs"].items() if is_known(value)}
    call.attempts, call.replies = call.attempts + 1, call.replies + 1
    call.tokens_input += row["tokens"]
    return Ended(call, brief, replace(said(logprobs, brief, call.order), error=CUT if row.get("shortened") else ""))


def weighed(call: JudgeCall | StudyCall, brief: protocol.Brief, row: Mapping[str, Any]) -> Ended:
    """The scores of one pair by one reward model or several.

    p = mean over the models of σ(score of a − score of b) is the probability that a is better (Bradley and Terry,
    1952); the variance of these σ among the models of an ensemble says how far they differ, and is kept.
    """
    call.attempts, call.replies = call.attempts + 1, call.replies + 1
    call.tokens_input += row["tokens"]
    first, second = row["scores"]
    if not all(map(is_known, [*first, *second])):
        return Ended(call, brief, Outcome({brief.question: {"choice": "unparsable"}}, error="A score is no number."))
    margins = [a - b for a, b in zip(first, second, strict=True)]
    each = [sigmoid(margin) for margin in margins]
    share = fmean(each)
    (asked,) = brief.asked
    choice = "tie" if share == 0.5 else "A" if share > 0.5 else "B"
    vote = Vote(choice, "", None if choice == "tie" else {"A": share, "B": 1.0 - share})
    spoken = outcome_of(vote, asked, (0, 1))
    details = {**spoken.details, "score_margins": margins, "variance": pvariance(each)}
    cut = "A conversation was longer than a model reads: its beginning was cut." if row.get("shortened") else ""
    return Ended(call, brief, replace(spoken, details=details, error=cut))


def sigmoid(margin: float) -> float:
    """1 / (1 + exp(−margin)), without overflow."""
    if margin >= 0:
        return 1.0 / (1.0 + math.exp(-margin))
    return math.exp(margin) / (1.0 + math.exp(margin))


def said(logprobs: Mapping[str, float], brief: protocol.Brief, order: Sequence[int]) -> Outcome:
    """What the log-probabilities (nats) of both letters say, in stored order."""
    verdict = verdict_of(logprobs)
    if not verdict:
        return Outcome({brief.question: {"choice": "unparsable"}})
    shares = None if verdict == "tie" else parsing.shares(logprobs)
    (asked,) = brief.asked
    return outcome_of(Vote(verdict, "", shares, logprobs=logprobs), asked, order)


def in_words(row: Mapping[str, Any]) -> str:
    """What the models said, as a page shows it: log-probabilities of the letters, or scores of both answers."""
    return json.dumps(row["scores"] if "scores" in row else row["logprobs"])


def is_known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def verdict_of(logprobs: Mapping[str, float]) -> str:
    """The more probable letter; a tie where both are equal, nothing where one is not known."""
    if set(logprobs) != set(LETTERS):
        return ""
    if logprobs["A"] == logprobs["B"]:
        return "tie"
    return max(LETTERS, key=logprobs.__getitem__)
