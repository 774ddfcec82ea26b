"""What the commands that start runs share: settings as KEY=VALUE, waiting for a run, and what is said of it.

With `--wait` a command does the work itself unless a worker has taken the run, and then it only watches.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import STOPPED, Failed, JsonCommand, WrongUse
from annotate.models import Project
from annotate.templatetags.figures import interval, percent, span
from pipeline import launcher, queries, recipes, registry, runs, shutdown
from pipeline.ml.configs import ConfigError, Setting, settings_of
from pipeline.ml.stages import STAGES
from pipeline.models import ModelVersion, Run, Snapshot
from pipeline.prompts import PromptError

LOOK = 1.0  # seconds between looks at a run that a worker drives
PACE = 3.0  # seconds at least between two lines of progress
SILENCE = 20.0  # seconds at most
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class LeftAlone(Failed):
    """Somebody stopped waiting: exit code 130. The message says what becomes of the run."""

    def __init__(self, run: Run) -> None:
        going = (
            f"Run {run.pk} has saved where it is and waits in the queue: a worker or `train … --wait` goes on with it."
            if run.state == Run.QUEUED
            else f"Run {run.pk} goes on in its worker."
        )
        super().__init__(f"{going} `runs --cancel {run.pk}` ends it.", facts(run))
        self.returncode = STOPPED


def pair(text: str) -> tuple[str, str]:
    """An argparse type: KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, as in epochs=2")
    return key.strip().replace("-", "_"), value.strip()


def how_many(text: str) -> int:
    """An argparse type: a whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def settings_from(kind: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Settings of a stage from the command line, each in its own type. Raises WrongUse."""
    known = {item.name: item for item in settings_of(STAGES[kind].config)}
    for name, _ in pairs:
        if name not in known:
            raise WrongUse(f"There is no setting {name!r}: {STAGES[kind].title} knows {', '.join(known)}.")
    return {name: value_of(known[name], text) for name, text in pairs}


def value_of(item: Setting, text: str) -> Any:
    if item.optional and text.lower() in ("", "none"):
        return None
    if item.kind is bool:
        if text.lower() not in TRUTHS:
            raise WrongUse(f"{item.name} is {text!r}: set it to true or false.")
        return TRUTHS[text.lower()]
    try:
        return item.kind(text)
    except ValueError:
        raise WrongUse(f"{item.name} is {text!r}, which is no {item.kind.__name__}.") from None


class RunCommand(JsonCommand):
    """A command that starts a run, and waits for it if asked to."""

    expected = (recipes.RecipeError, runs.RunError, registry.RegistryError, ConfigError, PromptError)

    def start_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--set",
            dest="values",
            action="append",
            default=[],
            type=pair,
            metavar="KEY=VALUE",
            help="A setting of the stage, such as epochs=2. May be given several times.",
        )
        parser.add_argument("--wait", action="store_true", help="Wait for the end; work here if no worker does.")

    def started(self, run: Run, *, wait: bool) -> dict[str, Any]:
        """What the command returns for a run that it has started. Raises Failed if the run did not succeed."""
        self.say(f"Run {run.pk} is queued: {STAGES[run.kind].title.lower()}.")
        if not wait:
            return facts(run)
        self.wait_for(run)
        for evaluation in queries.evaluations_of(run):
            self.wait_for(evaluation)
        return facts(run)

    def in_words(self, result: dict[str, Any]) -> str:
        lines = [f"Run {result['run']} {result['state']}. {result['message']}".strip(), *measured(result)]
        return "\n".join([*lines, f"Its folder: {result['folder']}"])

    def wait_for(self, run: Run) -> None:
        """Bring the run to its end, here or by watching a worker. Raises Failed or LeftAlone."""
        self.said_at, self.news = 0.0, ("", 0)
        with shutdown.noticing_signals(over=True) as asked_to_go:
            while not run.ended:
                launcher.drive(run.pk, stop=asked_to_go, report=self.report)
                run.refresh_from_db()
                if asked_to_go() and not run.ended:
                    raise LeftAlone(run)
                if not run.ended:
                    self.report(run)
                    time.sleep(LOOK)
        self.say(f"Run {run.pk} {queries.standing(run)['words']}. {run.message}".strip())
        if run.state != Run.SUCCEEDED:
            raise Failed(run.traceback.strip() or run.message, facts(run))

    def report(self, run: Run) -> None:
        """A line of progress: soon after news, and every now and then without any."""
        news, since = (run.progress.get("stage", ""), run.step), time.monotonic() - self.said_at
        if since >= SILENCE or (news != self.news and since >= PACE):
            self.say(progress_line(run))
            self.news, self.said_at = news, time.monotonic()


def progress_line(run: Run) -> str:
    standing = queries.standing(run)
    parts = [
        f"{run.step} of {run.total}" if run.total else "",
        standing["doing"],
        f"{span(standing['left'])} left" if standing["left"] is not None else "",
        f"{standing['speed']:.0f} tokens/s" if standing["speed"] else "",
    ]
    return f"run {run.pk}: " + (" · ".join(part for part in parts if part) or standing["words"])


def measured(result: dict[str, Any]) -> list[str]:
    """What an evaluation has found, in a line."""
    report = result["report"] or result["result"]
    name = result["model"] or "The model"
    if "accuracy" in report:
        longer = report["baselines"]["longer"]["accuracy"]
        share = f"{percent(report['accuracy'], 1)} ({interval(report['low'], report['high'])})"
        return [
            f"{name} is right on {share} of {report['n']} held-out pairs; the longer one wins {percent(longer, 1)}."
        ]
    if "win_rate" in report:
        share = f"{percent(report['win_rate'], 1)} ({interval(report['low'], report['high'])})"
        little = "" if report["enough"] else " Not enough prompts to decide on."
        return [f"{name} wins {share} against its start on {report['n']} held-out answers.{little}"]
    return []


def facts(run: Run) -> dict[str, Any]:
    """A run as plain data: its state, what it made, and what was measured."""
    made = ModelVersion.objects.filter(run=run).first()  # anew, for its report may have come since
    return {
        "run": run.pk,
        "kind": run.kind,
        "state": run.state,
        "message": run.message,
        "folder": run.folder,
        "model": made.name if made else None,
        "result": run.result,
        "report": made.report if made else {},
    }


def model_named(project: Project, name: str, kinds: tuple[str, ...]) -> ModelVersion:
    """A model by its name, or a folder on disk, which is registered as a base model under its own name."""
    if ModelVersion.BASE in kinds and "/" in name and Path(name).is_dir():
        return registry.register_base(path=Path(name), name=Path(name).resolve().name)
    return registry.named(project, name, kinds)


def snapshot_numbered(project: Project, number: int | None) -> Snapshot | None:
    """The project's snapshot of this number; None for none. Raises WrongUse."""
    if number is None:
        return None
    found = Snapshot.objects.filter(project=project, number=number).first()
    if found is None:
        raise WrongUse(f"There is no snapshot {number} of {project.slug}.")
    return found
