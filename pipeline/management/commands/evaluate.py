"""manage.py evaluate MODEL|reward|policy PROJECT: measure a model on held-out data."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import WrongUse, project_named
from annotate.models import Project
from pipeline import recipes, registry
from pipeline.commands import RunCommand, model_named, settings_from, snapshot_numbered
from pipeline.models import ModelVersion, Run

NEWEST = ("reward", "policy")


class Command(RunCommand):
    help = "Evaluate a reward model on held-out pairs, or a policy against its start on held-out prompts."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="A model's name; or reward or policy for the one in use, or the newest.")
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("--pairs", type=Path, metavar="FILE", help="Other pairs, for a reward model: TRL JSONL.")
        parser.add_argument("--start", help="For a policy: what to compare it with; by default what it started from.")
        parser.add_argument("--reward-model", help="For a policy: what scores the answers; by default the one in use.")
        parser.add_argument("--snapshot", type=int, help="A snapshot's number; by default the model's own.")
        self.start_arguments(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        version = self.chosen(project, options["model"])
        if version is not None and version.kind == ModelVersion.REWARD:
            run = self.of_reward_model(project, version, options)
        elif version is not None:
            run = self.of_policy(project, version, options)
        else:
            word = "reward model" if options["model"] == "reward" else "trained policy"
            raise recipes.RecipeError(f"There is no {word} yet: train one first.")
        return self.started(run, wait=options["wait"])

    def chosen(self, project: Project, name: str) -> ModelVersion | None:
        if name in NEWEST:
            return registry.usable(project, name).first()
        return registry.named(project, name, (ModelVersion.REWARD, ModelVersion.POLICY))

    def of_reward_model(self, project: Project, version: ModelVersion, options: dict[str, Any]) -> Run:
        if options["start"] or options["reward_model"]:
            raise WrongUse("--start and --reward-model are for evaluating a policy.")
        return recipes.evaluate_reward(
            project=project,
            by=None,
            config=settings_from("evaluate_reward", options["values"]),
            model=version,
            snapshot=snapshot_numbered(project, options["snapshot"]),
            pairs=options["pairs"],
        )

    def of_policy(self, project: Project, version: ModelVersion, options: dict[str, Any]) -> Run:
        if options["pairs"]:
            raise WrongUse("--pairs is for evaluating a reward model: a policy answers a snapshot's prompts.")
        kinds = (ModelVersion.POLICY, ModelVersion.BASE)
        reward = options["reward_model"]
        return recipes.evaluate_policy(
            project=project,
            by=None,
            config=settings_from("evaluate_policy", options["values"]),
            policy=version,
            start=model_named(project, options["start"], kinds) if options["start"] else None,
            reward_model=model_named(project, reward, (ModelVersion.REWARD,)) if reward else version.reward_model,
            snapshot=snapshot_numbered(project, options["snapshot"]),
        )
