"""manage.py judge PROJECT: let the project's judges answer what was routed to them."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import STOPPED, Failed, WrongUse, project_named
from annotate.models import Project
from pipeline import shutdown
from pipeline.commands import RunCommand, how_many
from pipeline.judging import calls, judge_items
from pipeline.judging.asking import never
from pipeline.judging.protocol import ORDERS
from pipeline.models import Judge, Run


class Interrupted(Failed):
    """Somebody stopped the command: exit code 130. What was answered is kept; the rest stays due."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("Stopped. What was answered is kept, and the rest stays due.", result)
        self.returncode = STOPPED


class Command(RunCommand):
    help = "Let the project's judges answer what was routed to them, in both presentation orders."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug.")
        parser.add_argument("--judge", help="One judge, by its name; by default all that are switched on.")
        parser.add_argument("--limit", type=how_many, help="At most so many items a judge.")
        parser.add_argument("--wait", action="store_true", help="Wait for the run of a local judge.")

    def run(self, **options: Any) -> dict[str, Any]:
        project = project_named(options["project"])
        rows: list[dict[str, Any]] = []
        result = {"project": project.slug, "judges": rows}
        for judge in judges_of(project, options["judge"]):
            with shutdown.noticing_signals(over=True) as asked_to_go:
                rows.append({"judge": judge.name, **self.ask(judge, options["limit"], asked_to_go)})
                if asked_to_go():
                    raise Interrupted(result)
            if rows[-1]["run"] and options["wait"]:
                rows[-1] |= self.finish(judge, rows[-1]["run"], options["limit"])
        halted = [f"{row['judge']}: {row['message']}" for row in rows if row["state"] != Judge.READY]
        if halted:
            raise Failed("\n".join(halted), result)
        return result

    def ask(self, judge: Judge, limit: int | None, stop: Callable[[], bool] = never) -> dict[str, Any]:
        self.asked = 0
        return judge_items(judge=judge, limit=limit, again=True, stop=stop, report=self.tell)

    def finish(self, judge: Judge, run_id: int | None, limit: int | None) -> dict[str, Any]:
        """Wait for a local judge's runs, one after the other, until nothing is due or the limit is reached."""
        answered = 0
        while run_id:
            run = Run.objects.get(pk=run_id)
            self.wait_for(run)
            answered += run.result["n"]
            left = None if limit is None else limit - answered // len(ORDERS)
            run_id = self.ask(judge, left)["run"] if left is None or left > 0 else None
        return {"asked": answered, "answered": answered, "pending": calls.pending(judge).count()}

    def tell(self, counts: dict[str, Any]) -> None:
        """A line of progress for every hundred questions."""
        if counts["asked"] // 100 > self.asked // 100:
            self.say(f"{counts['asked']:,} questions asked, {counts['answered']:,} answered")
        self.asked = counts["asked"]

    def in_words(self, result: dict[str, Any]) -> str:
        return "\n".join(words_of(row) for row in result["judges"])


def judges_of(project: Project, name: str | None) -> list[Judge]:
    """The judges to ask. Raises WrongUse where there is none."""
    enabled = Judge.objects.filter(project=project, enabled=True).select_related("project")
    found = list(enabled if name is None else enabled.filter(name=name))
    if not found:
        known = ", ".join(enabled.values_list("name", flat=True))
        raise WrongUse(
            f"There is no judge {name!r} that is switched on: there are {known or 'none'}."
            if name
            else f"{project.slug} has no judge that is switched on: set one up on its page Judges."
        )
    return found


def words_of(row: dict[str, Any]) -> str:
    if row["run"] and not row["answered"]:
        return f"{row['judge']}: run {row['run']} is queued; {row['pending']:,} questions wait for it."
    if row["busy"]:
        other = "" if row["busy"] == row["judge"] else f" for {row['busy']}, which asks the same model"
        return f"{row['judge']}: another worker asks{other} now; {row['pending']:,} questions wait."
    return (
        f"{row['judge']}: {row['answered']:,} answered, {row['unparsable']:,} unparsable, {row['failed']:,} failed, "
        f"{row['pending']:,} still due."
    )
