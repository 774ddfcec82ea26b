"""manage.py promote PROJECT MODEL: put a model to use."""

from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import JsonCommand, project_named
from pipeline import registry
from pipeline.models import ModelVersion


class Command(JsonCommand):
    help = "Promote a model: a policy writes the next answers, a reward model scores them. The former one is retired."
    expected = (registry.RegistryError,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("model", help="The model's name.")

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        kinds = (ModelVersion.REWARD, ModelVersion.POLICY, ModelVersion.BASE)
        version = registry.named(project, options["model"], kinds)
        former = registry.promote(version=version, by=None)
        return {"model": version.name, "kind": version.kind, "retired": former.name if former else None}

    def in_words(self, result: dict[str, Any]) -> str:
        instead = f" in place of {result['retired']}" if result["retired"] else ""
        return f"{result['model']} is in use{instead}."
