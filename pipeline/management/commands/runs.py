"""manage.py runs [PROJECT]: what runs and has run; cancel or resume a run."""

from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import JsonCommand, WrongUse, project_named
from pipeline import launcher, queries, runs
from pipeline.commands import progress_line
from pipeline.models import Run


class Command(JsonCommand):
    help = "List runs, newest first; cancel or resume one."
    expected = (runs.RunError,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", nargs="?", help="The project's slug; all projects without it.")
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--cancel", type=int, metavar="RUN", help="Stop this run.")
        act.add_argument("--resume", type=int, metavar="RUN", help="Queue this run again, from its last checkpoint.")
        parser.add_argument("--limit", type=int, default=20, help="How many to list.")

    def run(self, **options: Any) -> dict[str, Any]:
        found = Run.objects.select_related("project", "produced")
        if options["project"]:
            found = found.filter(project=project_named(options["project"]))
        if options["cancel"] is not None:
            run = numbered(found, options["cancel"])
            runs.cancel(run=run)
            launcher.drive(run.pk)  # ends it here if its worker is gone; otherwise does nothing
            return {"runs": [row(numbered(found, options["cancel"]))]}
        if options["resume"] is not None:
            runs.resume(run=numbered(found, options["resume"]))
            return {"runs": [row(numbered(found, options["resume"]))]}
        return {"runs": [row(run) for run in found.defer("config", "result")[: max(0, options["limit"])]]}

    def in_words(self, result: dict[str, Any]) -> str:
        lines = [
            f"{run['run']:>5}  {run['state']:<10} {run['project']:<20} {run['kind']:<16} {run['detail']}".rstrip()
            for run in result["runs"]
        ]
        return "\n".join(lines) or "Nothing has run yet."


def numbered(found: Any, pk: int) -> Run:
    run = found.filter(pk=pk).first()
    if run is None:
        raise WrongUse(f"There is no run {pk} here.")
    return run


def row(run: Run) -> dict[str, Any]:
    made = queries.made_by(run)
    return {
        "run": run.pk,
        "project": run.project.slug,
        "kind": run.kind,
        "state": run.state,
        "step": run.step,
        "total": run.total,
        "model": made.name if made else None,
        "detail": progress_line(run) if run.state == Run.RUNNING else run.message,
    }
