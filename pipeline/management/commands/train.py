"""manage.py train reward|dpo|ppo PROJECT: train a model on the project's labels."""

from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import WrongUse, project_named
from pipeline import recipes
from pipeline.commands import RunCommand, model_named, settings_from, snapshot_numbered
from pipeline.models import ModelVersion

KINDS = {"reward": "train_reward", "dpo": "dpo", "ppo": "ppo"}
STARTS = (ModelVersion.POLICY, ModelVersion.BASE)


class Command(RunCommand):
    help = "Train a reward model, or a policy with DPO or PPO, and evaluate it on held-out data."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=list(KINDS))
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("--base", help="The model to start from: its name, or a transformers folder.")
        parser.add_argument("--reward-model", help="For ppo: the reward model's name; by default the one in use.")
        parser.add_argument("--snapshot", type=int, help="A snapshot's number; by default the labels as they are now.")
        self.start_arguments(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        project, what = project_named(options["project"]), options["what"]
        if options["reward_model"] and what != "ppo":
            raise WrongUse("--reward-model is for ppo: reward models and DPO are trained on the labels themselves.")
        common: dict[str, Any] = {
            "project": project,
            "by": None,
            "config": settings_from(KINDS[what], options["values"]),
            "snapshot": snapshot_numbered(project, options["snapshot"]),
        }
        kinds = (ModelVersion.BASE,) if what == "reward" else STARTS
        start = model_named(project, options["base"], kinds) if options["base"] else None
        if what == "reward":
            run = recipes.train_reward(base=start, **common)
        elif what == "dpo":
            run = recipes.train_dpo(policy=start, **common)
        else:
            name = options["reward_model"]
            reward = model_named(project, name, (ModelVersion.REWARD,)) if name else None
            run = recipes.train_ppo(policy=start, reward_model=reward, **common)
        return self.started(run, wait=options["wait"])
