"""manage.py generate PROJECT: let a model answer prompts; every two answers become an item to label."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import project_named
from annotate.models import Project
from pipeline import demo, prompts, recipes
from pipeline.commands import RunCommand, model_named, settings_from
from pipeline.models import ModelVersion


class Command(RunCommand):
    help = "Sample responses to prompts from the policy in use, as new items to label."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument(
            "--prompts",
            type=Path,
            metavar="FILE",
            help="One prompt a line, or .jsonl with “prompt”; by default the demo's, or those the project has.",
        )
        parser.add_argument("--n", type=int, default=2, help="Responses for each prompt, an even number.")
        parser.add_argument("--model", help="A policy's or base model's name, or a transformers folder.")
        self.start_arguments(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        kinds = (ModelVersion.POLICY, ModelVersion.BASE)
        run = recipes.generate(
            project=project,
            prompts=asked(project, options["prompts"]),
            by=None,
            config={"responses_per_prompt": options["n"], **settings_from("generate", options["values"])},
            model=model_named(project, options["model"], kinds) if options["model"] else None,
        )
        return self.started(run, wait=options["wait"])


def asked(project: Project, file: Path | None) -> list[dict[str, Any]]:
    if file is not None:
        return prompts.of_file(file)
    return demo.rows("prompts.jsonl") if project.is_demo else prompts.of_project(project)
