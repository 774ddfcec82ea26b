"""The sole writer of a Run's state.

Every change is a conditional update that names the state it starts from and, for a running run, who watches it: two
workers that meet cannot both act. A watcher that finds its run taken from it gets LostWatch and leaves.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate import audit
from annotate.models import Project, User
from pipeline.ml.configs import from_dict, to_dict
from pipeline.ml.records import package_versions, write_json
from pipeline.ml.stages import STAGES
from pipeline.models import Judge, Loop, ModelVersion, Run, RunEvent, Snapshot

STALE_AFTER = timedelta(seconds=20)  # a watcher shows itself every second; a busy database may hold it up
ASK_SOONEST, ASK_LATEST = timedelta(seconds=10), timedelta(minutes=10)
CHUNK = 4 * 1024 * 1024  # bytes of events read at once


class RunError(Exception):
    """A run cannot be made or changed as asked; the message says why."""


class LostWatch(Exception):
    """The run has ended, or another worker watches it now."""


# --- Making ---------------------------------------------------------------------------------------------------
def artifacts(kind: str) -> Path:
    """The folder of all artifacts of a kind ("runs", "inputs"), made if need be."""
    folder = Path(settings.ARTIFACTS_URL).absolute() / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write rows to a JSONL file named by its content, for a run's inputs: {"path", "sha256", "rows"}."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    data = "".join(lines).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(data).hexdigest()
    path = artifacts("inputs") / f"{digest}.jsonl"
    if not path.exists():
        unfinished = path.with_name(f".{digest}.{random.randrange(2**32):08x}.tmp")
        unfinished.write_bytes(data)
        unfinished.replace(path)
    return {"path": str(path), "sha256": digest, "rows": len(lines)}


@transaction.atomic
def create_run(
    *,
    project: Project,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    by: User | None = None,
    snapshot: Snapshot | None = None,
    judge: Judge | None = None,
    loop: Loop | None = None,
    models_used: Sequence[ModelVersion] = (),
    seed: int | None = None,
    max_attempts: int = 3,
) -> Run:
    """A queued run with its folder and run.json; a worker is asked once the transaction stands.

    `inputs` are {"path", "sha256"?, "rows"?, "model"?} by the stage's names for them. Raises ConfigError for
    settings that the stage does not take, and RunError for inputs that it lacks or does not know.
    """
    whole = to_dict(from_dict(STAGES[kind].config, config))
    check_inputs(kind, inputs)
    run = Run.objects.create(
        project=project,
        kind=kind,
        config=whole,
        inputs=dict(inputs),
        seed=random.randrange(2**31) if seed is None else seed,
        snapshot=snapshot,
        judge=judge,
        loop=loop,
        max_attempts=max_attempts,
        created_by=by,
        asked_at=timezone.now(),
    )
    run.models_used.set(models_used)
    run.folder = str(new_folder(run.pk))
    run.save(update_fields=["folder"])
    write_json(Path(run.folder) / "run.json", specification(run))
    if loop is None and judge is None:  # what a loop or a judge starts by itself is nobody's act
        record(run, audit.STARTED, by)
    ask_on_commit(run.pk)
    return run


def record(run: Run, verb: str, by: User | None) -> None:
    title = f"{STAGES[run.kind].title}, run {run.pk}"
    audit.record(project=run.project, by=by, verb=verb, kind="run", object_id=run.pk, words=title)


def check_inputs(kind: str, inputs: Mapping[str, Any]) -> None:
    stage = STAGES[kind]
    missing = [name for name in stage.inputs if name not in inputs]
    unknown = [name for name in inputs if name not in (*stage.inputs, *stage.optional_inputs)]
    if missing or unknown:
        raise RunError(
            f"{stage.title}: "
            + " and ".join(
                [f"the input “{name}” is missing" for name in missing]
                + [f"the input “{name}” is not known" for name in unknown]
            )
            + "."
        )


def new_folder(pk: int) -> Path:
    """An empty folder for a run. An older one under its number was left by a database that is gone."""
    for name in (str(pk), f"{pk}-{random.randrange(2**32):08x}"):
        try:
            folder = artifacts("runs") / name
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RunError(f"There is no free folder for run {pk} in {artifacts('runs')}.")


def specification(run: Run) -> dict[str, Any]:
    """What run.json says: all that the stage needs to know."""
    return {
        "stage": run.kind,
        "run": run.pk,
        "seed": run.seed,
        "config": run.config,
        "inputs": run.inputs,
        "versions": package_versions(),
    }


# --- Waking workers -------------------------------------------------------------------------------------------
def ask_worker(run_id: int, *, queue: str = "training") -> None:
    """Send a message that this run is due. It may be lost or doubled: `due` finds the run again."""
    current_app.send_task("pipeline.tasks.drive_run", [run_id], queue=queue, retry=False)


def ask_on_commit(run_id: int, *, queue: str = "training") -> None:
    """Ask a worker once the transaction stands. A broker that is away is logged, and no reason to fail."""

    def ask() -> None:
        ask_worker(run_id, queue=queue)

    transaction.on_commit(ask, robust=True)


def abandoned(moment: datetime) -> Q:
    """Running, but its watcher has shown no sign of life for a while."""
    return Q(state=Run.RUNNING) & (Q(heartbeat=None) | Q(heartbeat__lt=moment - STALE_AFTER))


def due(moment: datetime | None = None) -> list[Run]:
    """Runs that wait for a worker and that a worker should be asked to take, oldest first.

    Marks them as asked. The longer a run has waited, the rarer the asking (every 10 s at first, every 10 minutes
    at last), so that messages do not pile up while all workers are busy or none is there.
    """
    moment = moment or timezone.now()
    waiting = Run.objects.filter(Q(state=Run.QUEUED) | abandoned(moment)).order_by("id")
    return [run for run in waiting if asking_helps(run, moment) and mark_asked(run, moment)]


def asking_helps(run: Run, moment: datetime) -> bool:
    if run.asked_at is None:
        return True
    waited = moment - (run.heartbeat or run.created_at)
    return moment - run.asked_at >= min(max(ASK_SOONEST, waited / 2), ASK_LATEST)


def mark_asked(run: Run, moment: datetime) -> bool:
    return bool(Run.objects.filter(pk=run.pk, state=run.state, asked_at=run.asked_at).update(asked_at=moment))


# --- Watching -------------------------------------------------------------------------------------------------
def claim(run_id: int, *, watcher: str) -> Run | None:
    """Take up the watch of a queued or abandoned run; None where it has ended or somebody watches it."""
    moment = timezone.now()
    claimed = Run.objects.filter(Q(state=Run.QUEUED) | abandoned(moment), pk=run_id).update(
        state=Run.RUNNING,
        watcher=watcher,
        heartbeat=moment,
        started_at=Coalesce("started_at", Value(moment)),
    )
    return Run.objects.select_related("project").get(pk=run_id) if claimed else None


def watched(run: Run) -> QuerySet[Run]:
    """The run's row, while it runs and this watcher has it."""
    return Run.objects.filter(pk=run.pk, state=Run.RUNNING, watcher=run.watcher)


def change(run: Run, **values: Any) -> None:
    """One conditional update of a watched run, in the database and in hand. Raises LostWatch."""
    if not watched(run).update(**values):
        raise LostWatch
    for name, value in values.items():
        setattr(run, name, value)


def cancel_asked(run: Run) -> bool:
    """Has somebody asked for this run to stop? Raises LostWatch."""
    asked = watched(run).values_list("cancel_requested", flat=True).first()
    if asked is None:
        raise LostWatch
    return asked


@transaction.atomic
def begin_attempt(*, run: Run, counted: bool) -> None:
    """The trainer is about to be started; `counted` unless it had merely been asked to stop. Raises LostWatch."""
    change(run, attempt=run.attempt + counted, progress={"stage": "starting"})


@transaction.atomic
def take_in_events(*, run: Run) -> bool:
    """Take in what the trainer has reported since last time, and show a sign of life. Raises LostWatch.

    Each line is kept once, under the position of its first byte. Of progress only the newest is kept, on the run.
    True if there was anything new, so that there may be more.
    """
    lines, offset = new_lines(Path(run.folder) / "events.jsonl", run.events_offset)
    kept = [event_row(run, position, event) for position, event in lines if event["event"] != "progress"]
    if kept:
        RunEvent.objects.bulk_create(kept, ignore_conflicts=True, batch_size=500)
    values: dict[str, Any] = {"heartbeat": timezone.now(), "events_offset": offset}
    for _, event in lines:
        if event["event"] == "progress":
            values |= {"step": event["step"], "total": event["total"], "progress": event}
    change(run, **values)
    return bool(lines)


def new_lines(path: Path, offset: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """(position, event) of each whole line from `offset` on, and where to go on; a line half-written waits."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(CHUNK)
            while data and b"\n" not in data and (more := stream.read(CHUNK)):
                data += more
    except FileNotFoundError:
        return [], offset
    found = []
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        if line.strip():
            found.append((offset, read_line(line)))
        offset += len(line)
    return found, offset


def read_line(line: bytes) -> dict[str, Any]:
    """One event. A line that a power cut has spoilt becomes a log entry that says so: the rest still counts."""
    try:
        return storable(json.loads(line))
    except ValueError:
        return {"t": 0.0, "event": "log", "level": "warning", "message": "A line of the events is unreadable."}


def storable(value: Any) -> Any:
    """The same value without what a database refuses in text: NUL characters and lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


def event_row(run: Run, position: int, event: dict[str, Any]) -> RunEvent:
    data = {key: value for key, value in event.items() if key not in ("t", "event", "step")}
    return RunEvent(run=run, position=position, t=event["t"], event=event["event"], step=event.get("step"), data=data)


# --- Ending ---------------------------------------------------------------------------------------------------
def end(run: Run, state: str, **values: Any) -> None:
    change(run, state=state, finished_at=timezone.now(), cancel_requested=False, **values)


@transaction.atomic
def succeed(*, run: Run, result: dict[str, Any], record: Callable[[Run], str]) -> None:
    """The run has its result. `record` writes what follows from it, in the same transaction, and returns a note.

    Raises LostWatch, and whatever `record` raises; then nothing is written.
    """
    end(run, Run.SUCCEEDED, result=storable(result), message="", traceback="", step=run.total)
    note = record(run)
    if note:
        Run.objects.filter(pk=run.pk).update(message=note)
        run.message = note


def fail(*, run: Run, message: str) -> None:
    """An expected failure, with a message for the user. Raises LostWatch."""
    end(run, Run.FAILED, message=storable(message))


def crash(*, run: Run, message: str, traceback: str) -> None:
    """A crash, with a traceback for the operator. Raises LostWatch."""
    end(run, Run.ERRORED, message=storable(message), traceback=storable(traceback))


def end_cancelled(*, run: Run) -> None:
    """The trainer has been stopped because somebody asked for it. Raises LostWatch."""
    end(run, Run.CANCELLED, message="Stopped.")


@transaction.atomic
def requeue(*, run: Run) -> None:
    """The watcher has to go: the run waits for the next worker. Raises LostWatch."""
    change(run, state=Run.QUEUED, watcher="", heartbeat=None, asked_at=timezone.now())
    ask_on_commit(run.pk)


def let_go(*, run: Run) -> None:
    """Give the watch back without touching the trainer: another machine must take it up. Raises LostWatch."""
    change(run, watcher="", heartbeat=None)


@transaction.atomic
def cancel(*, run: Run, by: User | None = None) -> None:
    """Ask for a run to stop: a queued one ends at once, a running one within seconds. Raises RunError if it ended."""
    mine = Run.objects.filter(pk=run.pk)
    ended = mine.filter(state=Run.QUEUED).update(
        state=Run.CANCELLED, finished_at=timezone.now(), message="Stopped before a worker took it."
    )
    asked = ended or mine.filter(state=Run.RUNNING).update(cancel_requested=True)
    if not asked:
        raise RunError(f"Run {run.pk} has ended already.")
    record(run, audit.STOPPED, by)
    if mine.filter(abandoned(timezone.now())).exists():
        for queue in ("training", "default"):  # whoever is there: stopping is short
            ask_on_commit(run.pk, queue=queue)


@transaction.atomic
def resume(*, run: Run, by: User | None = None) -> None:
    """Queue a run again that failed, crashed or was stopped: it goes on from its last checkpoint. Raises RunError."""
    queued = Run.objects.filter(pk=run.pk, state__in=(Run.FAILED, Run.ERRORED, Run.CANCELLED)).update(
        state=Run.QUEUED,
        attempt=0,
        cancel_requested=False,
        watcher="",
        heartbeat=None,
        finished_at=None,
        message="",
        traceback="",
        progress={},
        asked_at=timezone.now(),
    )
    if not queued:
        raise RunError(f"Run {run.pk} cannot be resumed: only one that failed, crashed or was stopped can.")
    record(run, audit.RESUMED, by)
    ask_on_commit(run.pk)
