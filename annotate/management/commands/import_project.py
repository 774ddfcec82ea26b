"""manage.py import_project FOLDER: a raw export as a new project, whole or not at all."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate import pools, projects
from annotate.commands import JsonCommand, user_named
from annotate.importing.errors import RowError
from annotate.importing.whole import ExportError, import_project
from annotate.questions import QuestionError


class Command(JsonCommand):
    help = "Make a new project from a raw export: guidelines, questions, versions, items and annotations."
    expected = (ExportError, RowError, pools.PoolError, projects.ProjectError, QuestionError)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="A folder that export_project wrote.")
        parser.add_argument(
            "--name", default="", help="What people read at the top of its pages; the old name if not given."
        )
        parser.add_argument("--slug", default="", help="Its name in addresses and commands.")
        parser.add_argument("--manager", default="", metavar="USERNAME", help="Who manages it, besides the admins.")

    def run(self, **options: Any) -> dict[str, Any]:
        by = user_named(options["manager"]) if options["manager"] else None
        made, taken = import_project(folder=options["folder"], by=by, name=options["name"], slug=options["slug"])
        return {"project": made.slug, "items": taken.items_created, "annotations": taken.annotations_created}
