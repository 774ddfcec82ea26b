"""manage.py export_project PROJECT FOLDER: the raw export, without loss."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import Failed, JsonCommand, WrongUse, project_named
from annotate.exporting import write_project


class Command(JsonCommand):
    help = "Write a project as a folder of project.json and items.jsonl, which import_project takes in again."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("folder", type=Path, help="Made if it is not there; it must be empty.")
        parser.add_argument("--names", action="store_true", help="People's names instead of pseudonyms.")

    def run(self, **options: Any) -> dict[str, Any]:
        project, folder = project_named(options["project"]), options["folder"]
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise WrongUse(f"{folder} is there already and not an empty folder: choose another.")
        try:
            return write_project(project=project, folder=folder, with_names=options["names"])
        except OSError as error:
            raise Failed(f"{folder} cannot be written: {error}.") from None
