"""manage.py export_dataset PROJECT --format trl-preference --out DIR: a snapshot as a folder of files."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import JsonCommand, project_named
from pipeline.datasets.exporting import check_out, export_snapshot
from pipeline.datasets.formats import FORMATS
from pipeline.datasets.snapshots import SnapshotError, cut_snapshot
from pipeline.datasets.writing import SOURCES, SPLITS


class Command(JsonCommand):
    help = "Cut a snapshot of the project's settled labels and write it as a dataset with a card."
    expected = (SnapshotError,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("--format", default="trl-preference", choices=list(FORMATS))
        parser.add_argument("--out", type=Path, required=True, help="An empty folder, or one that does not exist yet.")
        parser.add_argument("--source", default="all", choices=list(SOURCES), help="Who must have decided a label.")
        parser.add_argument(
            "--min-probability", type=float, default=0.5, help="Of the better answer, from 0.5 to 1. Default: 0.5."
        )

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        check_out(options["out"])
        settings = {name: options[name] for name in ("format", "source", "min_probability")}
        snapshot = cut_snapshot(project=project, settings=settings, report=self.tell)
        files = export_snapshot(snapshot=snapshot, out=options["out"])
        return {
            "project": project.slug,
            "snapshot": snapshot.number,
            "sha256": snapshot.sha256,
            "counts": snapshot.counts,
            "out": str(options["out"]),
            "files": files,
        }

    def tell(self, read: int) -> None:
        if read % 10_000 == 0:
            self.say(f"{read:,} labels read")

    def in_words(self, result: dict[str, Any]) -> str:
        splits = ", ".join(f"{result['counts'][split]:,} {split}" for split in SPLITS)
        return f"Snapshot {result['snapshot']} ({splits}) is in {result['out']}."
