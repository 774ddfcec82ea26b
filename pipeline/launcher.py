"""Starts a stage's process, or takes up the watch of one that runs, until the run has ended.

The process holds a lock on the run's folder as long as it lives, and nobody else can hold it. So what to do next
follows from what lies in the folder, whoever looks and whatever died before:

    the lock is held         somebody works: watch
    a manifest is there      it is done: take in the result
    a stop was asked for     it is over
    it reported a failure    it failed (a message) or crashed (a traceback)
    none of these            it was never started, or it died: start it, from its last checkpoint

A watcher that dies leaves its trainer alone (which has a session of its own), and the next one finds the lock held.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.db import OperationalError

from pipeline import outcomes, runs
from pipeline.ml.records import RunFolder, write_json
from pipeline.models import Run, RunEvent

POLL = 0.25  # seconds between looks at the process and at whether a stop was asked for
BEAT = 1.0  # seconds between looks at its events, each of which is also the watcher's sign of life
GRACE = 3.0  # seconds that a trainer has to end by itself once its run is cancelled
LINGER = 100.0  # seconds that a leaving worker stays for its trainer's checkpoint; the run waits in the queue already
NICENESS = "10"  # pages and short tasks come first
TAIL = 4000  # characters of a dead trainer's last words
WITHHELD = {"SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL", "EMAIL_URL"}  # a trainer needs none of them

Command = Callable[[Run], list[str]]
WATCH, FINISH, CANCEL, FAIL, START, GIVE_UP = "watch", "finish", "cancel", "fail", "start", "give up"


def trainer_environment() -> dict[str, str]:
    """What a trainer is told: no secrets; and that its threads sleep while they wait, since pages share its cores."""
    told = {name: value for name, value in os.environ.items() if name not in WITHHELD}
    return {"OMP_WAIT_POLICY": "PASSIVE", **told}


class OutOfReach(Exception):
    """The trainer lives on another machine, where this process cannot signal it."""


@dataclass(frozen=True)
class Facts:
    """What the folder and the row say about a run that somebody has just looked at."""

    held: bool
    complete: bool
    cancelled: bool
    last_event: str
    attempt: int
    max_attempts: int


def decide(facts: Facts) -> str:
    """What to do next with a run."""
    if facts.held:
        return WATCH
    if facts.complete:
        return FINISH
    if facts.cancelled:
        return CANCEL
    if facts.attempt == 0 or facts.last_event == "stopped":
        return START
    if facts.last_event == "failed":
        return FAIL
    return START if facts.attempt < facts.max_attempts else GIVE_UP


def stage_command(run: Run) -> list[str]:
    """The run's stage as a command line."""
    specification = str(Path(run.folder) / "run.json")
    return ["nice", "-n", NICENESS, sys.executable, "-u", "-m", "pipeline.ml", run.kind, specification]


def never() -> bool:
    return False


def drive(
    run_id: int,
    *,
    stop: Callable[[], bool] = never,
    command: Command = stage_command,
    report: Callable[[Run], None] | None = None,
) -> None:
    """Bring a queued or abandoned run to its end; returns at once if it has ended or somebody watches it.

    `stop` is asked several times a second; once true, the trainer is asked to save a checkpoint and the run goes back
    into the queue. `report` is called with the run after each look at its events.
    """
    run = runs.claim(run_id, watcher=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    if run is None:
        return
    try:
        Watch(run, stop, command, report).until_ended()
    except runs.LostWatch:
        return


class Watch:
    """One watcher of one claimed run. `child` is the trainer where this process has started it."""

    def __init__(
        self, run: Run, stop: Callable[[], bool], command: Command, report: Callable[[Run], None] | None
    ) -> None:
        self.run = run
        self.folder = Path(run.folder)
        self.stop = stop
        self.command = command
        self.report = report
        self.child: subprocess.Popen[bytes] | None = None
        self.next_beat = 0.0

    def until_ended(self) -> None:
        while self.run.state == Run.RUNNING:
            step = decide(self.look())
            if step == WATCH:
                self.watch()
            elif step == FINISH:
                self.finish()
            elif step == CANCEL:
                runs.end_cancelled(run=self.run)
            elif step == FAIL:
                self.fail()
            elif step == START and self.stop():
                runs.requeue(run=self.run)
            elif step == START:
                self.start()
            else:
                self.give_up()

    def look(self) -> Facts:
        """The lock first: once it is free, nothing in the folder changes any more."""
        held = self.alive()
        while not held and runs.take_in_events(run=self.run):
            continue
        return Facts(
            held=held,
            complete=(self.folder / "manifest.json").exists(),
            cancelled=runs.cancel_asked(self.run),
            last_event=self.last_event(),
            attempt=self.run.attempt,
            max_attempts=self.run.max_attempts,
        )

    def alive(self) -> bool:
        """Does a trainer work in the folder? One that was just started may not hold its lock yet."""
        if self.child is not None and self.child.poll() is None:
            return True
        return RunFolder.is_held(self.folder)

    def last_event(self) -> str:
        """The last event since the newest attempt began; "" if there is none. Asked to stop, it counts as stopped."""
        launch = self.launch()
        if launch.get("excused"):
            return "stopped"
        newest = RunEvent.objects.filter(run=self.run, position__gte=launch.get("events_from", 0))
        return newest.order_by("-position").values_list("event", flat=True).first() or ""

    def launch(self) -> dict[str, Any]:
        """Where the newest attempt begins in the files of the folder."""
        try:
            return json.loads((self.folder / "launch.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    # --- the trainer's life -----------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the trainer in a session of its own, so that neither Ctrl-C nor a dying worker takes it along."""
        runs.begin_attempt(run=self.run, counted=self.run.attempt == 0 or self.last_event() != "stopped")
        errors = self.folder / "stderr.log"
        marks = {"events_from": self.run.events_offset, "errors_from": size_of(errors)}
        write_json(self.folder / "launch.json", {"attempt": self.run.attempt, **marks})
        with (self.folder / "stdout.log").open("ab") as said, errors.open("ab") as complained:
            self.child = subprocess.Popen(
                self.command(self.run),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                cwd=settings.BASE_DIR,
                env=trainer_environment(),
                start_new_session=True,
            )

    def watch(self) -> None:
        """Follow the trainer until it ends, is cancelled, or this worker has to go."""
        while self.alive():
            if self.stop():
                self.leave()
                return
            if runs.cancel_asked(self.run):
                self.end_trainer()
                return
            self.beat()
            self.wait(POLL)

    def beat(self) -> None:
        if time.monotonic() < self.next_beat:
            return
        runs.take_in_events(run=self.run)
        self.next_beat = time.monotonic() + BEAT
        if self.report:
            self.report(self.run)

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until a trainer of our own ends."""
        if self.child is None or self.child.poll() is not None:
            time.sleep(seconds)
            return
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def end_trainer(self) -> None:
        """Ask the trainer to end, and end it GRACE seconds later. A trainer on another machine is left to it."""
        try:
            self.signal(signal.SIGTERM)
            if not self.ends_within(GRACE):
                self.signal(signal.SIGKILL)
                self.ends_within(GRACE)
        except OutOfReach:
            runs.let_go(run=self.run)
            raise runs.LostWatch from None

    def leave(self) -> None:
        """This worker has to go: the trainer saves a checkpoint, and the run waits for another worker.

        The run is queued after GRACE seconds whether or not the trainer has got there: whoever stops this worker may
        not wait longer. A trainer that is still at it ends by itself, and the next watcher finds its lock held.
        """
        try:
            self.signal(signal.SIGTERM)
            ended = self.ends_within(GRACE)
        except OutOfReach:
            ended = True
        runs.take_in_events(run=self.run)
        if (self.folder / "manifest.json").exists():
            return
        write_json(self.folder / "launch.json", {**self.launch(), "excused": True})
        runs.requeue(run=self.run)
        if not ended:
            self.ends_within(LINGER)

    def ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            self.wait(0.05)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send SIGTERM to the trainer itself, SIGKILL to all of its group. Raises OutOfReach."""
        pid = self.child.pid if self.child and self.child.poll() is None else holder(self.folder)
        if pid is None:
            return
        try:
            if number == signal.SIGKILL and os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            return

    # --- endings ----------------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Take in the result. What goes wrong here is a crash of ours, and is shown like one."""
        try:
            result = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
            runs.succeed(run=self.run, result=result, record=outcomes.record)
        except outcomes.OutcomeError as error:
            runs.fail(run=self.run, message=str(error))
        except (runs.LostWatch, OperationalError):
            raise  # not ours any more, or the database is away: whoever looks next tries again
        except Exception as error:  # noqa: BLE001 - recorded with its traceback, and the run ends
            message = f"The result could not be taken in: {type(error).__name__}: {error}"
            runs.crash(run=self.run, message=message, traceback=traceback.format_exc())

    def fail(self) -> None:
        """The trainer has said why it failed."""
        said = RunEvent.objects.filter(run=self.run, event="failed").order_by("position").last()
        data = said.data if said else {}
        message = str(data.get("message", "It failed without a word."))
        if data.get("expected"):
            runs.fail(run=self.run, message=message)
        else:
            runs.crash(run=self.run, message=message, traceback=str(data.get("traceback", "")))

    def give_up(self) -> None:
        """The trainer has died without a word as often as it may."""
        times = f"{self.run.attempt} times" if self.run.attempt > 1 else "once"
        message = f"The trainer died {times} without saying why{how_it_ended(self.child)}"
        runs.crash(run=self.run, message=message, traceback=self.last_words())

    def last_words(self) -> str:
        """The end of what the newest attempt wrote to stderr."""
        errors = self.folder / "stderr.log"
        if not errors.exists():
            return ""
        with errors.open("rb") as stream:
            stream.seek(max(self.launch().get("errors_from", 0), size_of(errors) - TAIL))
            return stream.read().decode("utf-8", "replace").strip()


def how_it_ended(child: "subprocess.Popen[bytes] | None") -> str:
    """The end of a sentence about a dead trainer, with the remedy where there is a likely one."""
    code = child.poll() if child else None
    if code is None:
        return ". Resume it to go on from its last checkpoint."
    if code == -signal.SIGKILL:
        return (
            ": something killed it (signal 9). Most often the machine has run out of memory: try a smaller batch "
            "size, shorter texts or a smaller model."
        )
    if code < 0:
        return f": it was ended by signal {-code}."
    return f": exit code {code}."


def holder(folder: Path) -> int | None:
    """The process that holds the folder's lock; None where it is free. Raises OutOfReach if it is not on this machine.

    The number in the lock file may mean another process here, so the command line has to name the folder.
    """
    if not RunFolder.is_held(folder):
        return None
    try:
        pid = int((folder / "run.lock").read_text(encoding="utf-8"))
        if any(str(folder) in argument for argument in psutil.Process(pid).cmdline()):
            return pid
    except (ValueError, psutil.Error):
        pass
    raise OutOfReach


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
