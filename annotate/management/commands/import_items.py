"""manage.py import_items PROJECT FILE: take a file in, whole or not at all."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import Failed, JsonCommand, WrongUse, project_named
from annotate.importing import ImportStopped
from annotate.importing.formats import FORMATS
from annotate.importing.jobs import import_here
from annotate.importing.progress import CHECKING, Progress
from annotate.models import Import

SHOWN = 20  # errors printed for a person; --json has up to a hundred


def field_and_column(text: str) -> tuple[str, str]:
    """An argparse type: FIELD=COLUMN."""
    field, equals, column = text.partition("=")
    if not equals or not field or not column:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=COLUMN, as in prompt=question")
    return field, column


class Command(JsonCommand):
    help = "Import a file of items, plain or gzipped. Importing the same file twice adds nothing."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", default="", choices=list(FORMATS), help="Recognised if not given.")
        parser.add_argument(
            "--map",
            dest="mapping",
            action="append",
            default=[],
            type=field_and_column,
            metavar="FIELD=COLUMN",
            help="Which column holds a field, for CSV: --map prompt=question. May be given several times.",
        )

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        if not options["file"].is_file():
            raise WrongUse(f"There is no file {options['file']}: check the path.")
        self.stage = ""
        try:
            done = import_here(
                project=project,
                path=options["file"],
                format_name=options["format"],
                mapping={column: field for field, column in options["mapping"]},
                tell=self.tell,
            )
        except ImportStopped:
            raise Failed("The import was stopped from its page; nothing was taken in.") from None
        if done.state == Import.FAILED:
            raise Failed(sentences(done), outcome(done))
        return outcome(done)

    def tell(self, progress: Progress) -> None:
        """A line when a stage begins, and one whenever it is a tenth further."""
        step = f"{progress.stage} {10 * progress.done // max(progress.total, 1)}"
        if step != self.stage:
            self.stage = step
            unit = "bytes read" if progress.stage == CHECKING else "rows written"
            self.say(f"{progress.stage}: {progress.done:,} of {progress.total:,} {unit}")

    def in_words(self, result: dict[str, Any]) -> str:
        return (
            f"{result['file']} ({result['format']}), {result['rows']:,} rows: {result['items_created']:,} new items, "
            f"{result['items_existing']:,} there before; {result['annotations_created']:,} new annotations, "
            f"{result['annotations_existing']:,} there before."
        )


def outcome(done: Import) -> dict[str, Any]:
    return {
        "project": done.project.slug,
        "import": done.pk,
        "file": done.file_name,
        "format": done.format,
        "mapping": done.mapping,
        "state": done.state,
        "rows": done.rows_read,
        "items_created": done.items_created,
        "items_existing": done.items_existing,
        "annotations_created": done.annotations_created,
        "annotations_existing": done.annotations_existing,
        "error_count": done.error_count,
        "errors": done.errors,
    }


def sentences(done: Import) -> str:
    """The first errors, a line each."""
    lines = [f"Row {error['row']}: {error['message']}" if error["row"] else error["message"] for error in done.errors]
    more = done.error_count - len(lines[:SHOWN])
    shown = [*lines[:SHOWN], *([f"… and {more:,} more."] if more else [])]
    return "\n".join([f"Nothing was taken in from {done.file_name}.", *shown])
