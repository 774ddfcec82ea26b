"""manage.py route PROJECT: decide who is asked about each open item."""

from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import JsonCommand, project_named
from pipeline.commands import how_many
from pipeline.routing import route_items


class Command(JsonCommand):
    help = "Decide for every open item whether people, the judge or both are asked."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("--limit", type=how_many, help="At most so many items.")

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        return {"project": project.slug, **route_items(project=project, limit=options["limit"])}

    def in_words(self, result: dict[str, Any]) -> str:
        words = (
            f"{result['routed']:,} items routed: {result['human']:,} to people, {result['judge']:,} to the judge, "
            f"{result['both']:,} to both."
        )
        return f"{words} {result['note']}".strip()
