"""What follows when a run succeeds: a model in the registry, items to label, verdicts, a report.

Each outcome runs inside the transaction that marks its run as succeeded, so it happens whole and once. It returns a
note for the run's page. One that raises makes the run fail (OutcomeError, a sentence) or crash (anything else).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.db import transaction

from annotate.importing import take_in
from annotate.importing.errors import RowError
from pipeline import recipes, registry
from pipeline.judging.local import take_in_verdicts
from pipeline.models import ModelVersion, Run, Study
from pipeline.quality import by_runs
from pipeline.runs import storable

Row = dict[str, Any]


class OutcomeError(Exception):
    """A run's result cannot be used; the message says why."""


def record(run: Run) -> str:
    """Write what follows from a run's result; returns a note in words."""
    return OUTCOMES[run.kind](run)


def reward_model_trained(run: Run) -> str:
    version = registry.register(run=run)
    return f"Registered as {version.name}." + evaluated_next(
        lambda: recipes.evaluate_reward(
            project=run.project, model=version, by=run.created_by, config={}, snapshot=run.snapshot, loop=run.loop
        )
    )


def policy_trained(run: Run) -> str:
    """A policy is compared with its start under the reward model it was trained on, or else the one in use."""
    version = registry.register(run=run)
    return f"Registered as {version.name}." + evaluated_next(
        lambda: recipes.evaluate_policy(
            project=run.project,
            policy=version,
            by=run.created_by,
            config={},
            reward_model=version.reward_model,
            snapshot=run.snapshot,
            loop=run.loop,
        )
    )


def evaluated_next(start: Callable[[], Run]) -> str:
    """Queue the evaluation of a new model. Where that cannot be, the model is there all the same: say why."""
    try:
        with transaction.atomic():
            return f" Run {start().pk} evaluates it."
    except recipes.RecipeError as error:
        return f" It could not be evaluated: {error}"


def reward_model_evaluated(run: Run) -> str:
    return kept_report(run, run.inputs["model"].get("model"))


def policy_evaluated(run: Run) -> str:
    return kept_report(run, run.inputs["policy"].get("model"))


def kept_report(run: Run, model_id: int | None) -> str:
    """The report of a project's own held-out data goes to the model; one of other data stays on the run."""
    if model_id is not None and run.snapshot is not None:
        registry.keep_report(version=ModelVersion.objects.get(pk=model_id), run=run)
    return ""


def responses_generated(run: Run) -> str:
    """Every two responses to a prompt become an item to label; two that are the same word for word do not."""
    pairs = list(response_pairs(run))
    different = [pair for pair in pairs if pair["responses"][0]["messages"] != pair["responses"][1]["messages"]]
    try:
        taken = take_in(project=run.project, items=different, source=None)
    except RowError as error:
        raise OutcomeError(f"The responses cannot be taken in. {error}") from None
    same = len(pairs) - len(different)
    left_out = f" {same} prompts got the same answer twice and were left out." if same else ""
    return f"{taken.items_created} new items to label.{left_out}"


def response_pairs(run: Run) -> Iterator[Row]:
    """The run's responses as native items, two by two in the order of their sampling."""
    folder = Path(run.folder)
    answers: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(folder / "responses.jsonl"):
        answers[row["id"]].append(row)
    model = ModelVersion.objects.get(pk=run.inputs["model"]["model"])
    for prompt in rows_of(Path(run.inputs["prompts"]["path"])):
        sampled = sorted(answers.get(prompt["id"], []), key=lambda row: row["index"])
        for number in range(len(sampled) // 2):
            two = sampled[2 * number : 2 * number + 2]
            suffix = f"/{number + 1}" if len(sampled) > 2 else ""
            yield {
                "id": f"{prompt['id'][:160]}@run-{run.pk}{suffix}",
                "tags": prompt.get("tags", []),
                "metadata": {**prompt.get("metadata", {}), "run": run.pk},
                "prompt": prompt["prompt"],
                "responses": [as_response(row, model, run) for row in two],
            }


def as_response(row: Row, model: ModelVersion, run: Run) -> Row:
    facts = {"run": run.pk, "model_version": model.pk, "seed": row["seed"], "finished": row["finished"]}
    return {"model": model.name, "messages": storable(row["messages"]), "metadata": facts}


def rows_of(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def verdicts_given(run: Run) -> str:
    study = Study.objects.filter(run=run).select_related("judge__project", "judge__prompt").first()
    if study is not None:
        return f"{by_runs.take_in(run, study)} verdicts of study {study.pk}; none of them is an annotation."
    taken = take_in_verdicts(run)
    return f"{taken.get('verdicts', 0)} verdicts taken in."


OUTCOMES: dict[str, Callable[[Run], str]] = {
    "generate": responses_generated,
    "judge": verdicts_given,
    "judge_reward": verdicts_given,
    "train_reward": reward_model_trained,
    "dpo": policy_trained,
    "ppo": policy_trained,
    "evaluate_reward": reward_model_evaluated,
    "evaluate_policy": policy_evaluated,
}
