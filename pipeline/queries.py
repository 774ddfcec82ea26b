"""Reads that the pipeline's pages need, each a fixed number of queries whatever the tables hold."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from annotate.models import Annotation, Project, Rater
from pipeline import charts, loops, runs
from pipeline.ml.configs import settings_of
from pipeline.ml.stages import STAGES
from pipeline.models import Loop, LoopFiring, ModelVersion, Run, RunEvent, SnapshotItem

PAGE = 40  # rows of a list
POINTS = 5000  # metric events in one answer to the charts
TAIL = 10  # lines of the log on a run's page
SAMPLES = 20  # answers side by side
BADGES = {
    Run.QUEUED: "",
    Run.RUNNING: "live",
    Run.SUCCEEDED: "good",
    Run.FAILED: "warn",
    Run.ERRORED: "bad",
    Run.CANCELLED: "",
}
STATE_WORDS = {Run.QUEUED: "waiting for a worker", Run.ERRORED: "crashed", Run.CANCELLED: "stopped"}


# --- Runs -----------------------------------------------------------------------------------------------------
def runs_of(project: Project, before: int | None = None) -> list[Run]:
    """A page of a project's runs, newest first, without their long texts."""
    found = Run.objects.filter(project=project).select_related("created_by", "loop", "judge", "produced", "snapshot")
    if before is not None:
        found = found.filter(pk__lt=before)
    return list(found.defer("traceback", "config", "result")[:PAGE])


def run_rows(project: Project, before: int | None = None) -> list[dict[str, Any]]:
    return [{"run": run, "standing": standing(run)} for run in runs_of(project, before)]


def any_active(project: Project) -> bool:
    return Run.objects.filter(project=project, state__in=(Run.QUEUED, Run.RUNNING)).exists()


def standing(run: Run) -> dict[str, Any]:
    """How a run stands, for people: words, colour, time gone and left, speed, memory."""
    now = timezone.now()
    progress = run.progress
    left = progress.get("seconds_left")
    if left is not None:
        left = max(0.0, left - (now.timestamp() - progress.get("t", now.timestamp())))
    return {
        "words": state_words(run, now),
        "badge": BADGES[run.state],
        "gone": ((run.finished_at or now) - run.started_at).total_seconds() if run.started_at else None,
        "left": left if run.state == Run.RUNNING else None,
        "doing": progress.get("stage", "") if run.state == Run.RUNNING else "",
        "speed": progress.get("tokens_per_second"),
        "memory": progress.get("memory_bytes"),
        "resumable": run.state in (Run.FAILED, Run.ERRORED, Run.CANCELLED),
        "stoppable": not run.ended and not run.cancel_requested,
    }


def state_words(run: Run, now: datetime) -> str:
    if run.state != Run.RUNNING:
        return STATE_WORDS.get(run.state, run.state)
    if run.cancel_requested:
        return "stopping"
    if run.heartbeat is None or now - run.heartbeat > runs.STALE_AFTER:
        return "its worker is gone; the next one takes over"
    return "running"


def unit(run: Run) -> str:
    """The word before a run's progress: “step ” while it counts a training's steps, which it does not always."""
    in_steps = run.progress.get("stage") == "training" or run.total == run.config.get("steps")
    return "step " if run.kind in charts.CHARTS and in_steps else ""


def metric_points(run: Run, after: int) -> dict[str, Any]:
    """Metric events behind a position, as [step, {metric: value}]; `more` says that there are further ones now."""
    found = RunEvent.objects.filter(run=run, event="metric", position__gt=after).order_by("position")
    rows = list(found.values_list("position", "step", "data")[: POINTS + 1])
    shown = rows[:POINTS]
    drawn = charts.metrics_of(run.kind)
    return {
        "position": shown[-1][0] if shown else after,
        "points": [[step, only(data.get("values", {}), drawn)] for _, step, data in shown],
        "more": len(rows) > POINTS,
        "ended": run.ended,
    }


def only(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def has_metrics(run: Run) -> bool:
    return RunEvent.objects.filter(run=run, event="metric").exists()


def newest_values(run: Run) -> list[dict[str, Any]]:
    """The newest value of each drawn metric with its step, in words: what the charts show, as text."""
    found: dict[str, tuple[int | None, float]] = {}
    events = RunEvent.objects.filter(run=run, event="metric").order_by("-position")
    for step, data in events.values_list("step", "data")[:60]:
        for name, value in data.get("values", {}).items():
            if value is not None:
                found.setdefault(name, (step, value))
    return [
        {"words": charts.words_of(chart, series), "step": found[series.metric][0], "value": found[series.metric][1]}
        for chart in charts.CHARTS.get(run.kind, ())
        for series in chart.series
        if series.metric in found
    ]


# --- The log --------------------------------------------------------------------------------------------------
LOGGED = ("log", "metric", "checkpoint", "failed", "stopped")


def log_tail(run: Run) -> list[str]:
    """The newest lines of a run's log, oldest first, with the metrics that are drawn."""
    events = RunEvent.objects.filter(run=run, event__in=LOGGED).order_by("-position")
    shown = charts.metrics_of(run.kind)
    lines = [log_line(event, shown) for event in reversed(events[: 2 * TAIL])]
    return [line for line in lines if line][-TAIL:]


def whole_log(run: Run) -> Iterator[str]:
    """Every line of a run's log, and how it ended if it ended badly; memory does not grow with it."""
    events = RunEvent.objects.filter(run=run, event__in=LOGGED).order_by("position")
    for event in events.iterator(chunk_size=1000):
        yield log_line(event) + "\n"
    yield from (text + "\n" for text in (run.message, run.traceback) if text)


def log_line(event: RunEvent, shown: Sequence[str] | None = None) -> str:
    """14:02:29  step 127  reward 0.905  kl 5.16; of metrics only those `shown`, if that is said, and else nothing."""
    clock = datetime.fromtimestamp(event.t, tz=timezone.get_current_timezone()).strftime("%H:%M:%S")
    words = logged_words(event, shown)
    if not words:
        return ""
    return "  ".join([clock, f"step {event.step}", words] if event.step is not None else [clock, words])


def logged_words(event: RunEvent, shown: Sequence[str] | None) -> str:
    data = event.data
    if event.event == "metric":
        values = data.get("values", {})
        names = sorted(values) if shown is None else [name for name in shown if name in values]
        return "  ".join(f"{name.replace('_', ' ')} {short(values[name])}" for name in names)
    if event.event == "checkpoint":
        return "checkpoint saved"
    if event.event == "stopped":
        return "stopped"
    level = data.get("level", "info")
    return ("" if level == "info" else f"{level}: ") + str(data.get("message", ""))


def short(value: float | None) -> str:
    """A number in four digits or so; – where there is none."""
    return "–" if value is None else f"{value:.4g}"


# --- What a run shows besides its curves ----------------------------------------------------------------------
def samples(run: Run) -> dict[str, Any]:
    """Answers side by side: of the newest sampled step of a training, or of an evaluation's file."""
    if run.kind == "evaluate_policy":
        return {"step": None, "rows": file_samples(Path(run.folder) / "samples.jsonl")}
    events = RunEvent.objects.filter(run=run, event="sample")
    newest = events.order_by("-position").values_list("step", flat=True).first()
    if newest is None:
        return {"step": None, "rows": []}
    rows = {json.dumps(event.data["prompt"]): event.data for event in events.filter(step=newest).order_by("position")}
    return {"step": newest, "rows": list(rows.values())[:SAMPLES]}


def file_samples(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, SAMPLES)]


def made_by(run: Run) -> ModelVersion | None:
    """The model that a run has made, if it is one that makes models; free where `produced` was read along."""
    try:
        return run.produced
    except ModelVersion.DoesNotExist:
        return None


def evaluations_of(run: Run) -> list[Run]:
    """The runs that evaluate what this one has made, newest first."""
    version = made_by(run)
    if version is None:
        return []
    kinds = ("evaluate_reward", "evaluate_policy")
    return list(Run.objects.filter(models_used=version, kind__in=kinds, pk__gt=run.pk).defer("traceback"))


def lineage(run: Run) -> dict[str, Any]:
    """The models that a run uses by the names of its inputs, with their reports."""
    stage = STAGES[run.kind]
    inputs = {name: run.inputs[name] for name in (*stage.inputs, *stage.optional_inputs) if name in run.inputs}
    ids = {name: entry["model"] for name, entry in inputs.items() if entry.get("model")}
    found = ModelVersion.objects.in_bulk(ids.values())
    return {
        "models": [{"input": name.replace("_", " "), "version": found[pk]} for name, pk in ids.items() if pk in found],
        "rows": {name.replace("_", " "): entry["rows"] for name, entry in inputs.items() if "rows" in entry},
        "produced": made_by(run),
    }


def changed_settings(run: Run) -> list[dict[str, Any]]:
    """The settings of a run that are not the defaults, in words."""
    return [
        {"label": item.label, "value": run.config[item.name]}
        for item in settings_of(STAGES[run.kind].config)
        if item.name in run.config and run.config[item.name] != item.default
    ]


# --- Time -----------------------------------------------------------------------------------------------------
def work_of(kind: str, config: dict[str, Any], rows: int) -> float:
    """How much a run has to do, in units that compare runs of one kind: pairs, answers, tokens."""
    if kind == "ppo":
        return float(config["steps"] * config["rollout_size"] * config["max_new_tokens"])
    if kind == "generate":
        return float(rows * config["responses_per_prompt"])
    if kind in ("train_reward", "dpo"):
        steps = config["max_steps"] * config["batch_size"] * config["gradient_accumulation"]
        return float(min(steps, rows * config["epochs"]) if steps else rows * config["epochs"])
    return float(rows)


def rows_of(run: Run) -> int:
    return next((run.inputs[name]["rows"] for name in ("train", "prompts") if "rows" in run.inputs.get(name, {})), 0)


def same_way(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Do two configs train in the same way, so that the time of one says something about the other?"""
    return all(one.get(name) == other.get(name) for name in ("method", "lora", "dtype"))


def estimate(project: Project, kind: str, config: dict[str, Any], rows: int) -> dict[str, Any] | None:
    """How long a run will take, going by the newest one of its kind that succeeded; None where there is none."""
    ended = Run.objects.filter(project=project, kind=kind, state=Run.SUCCEEDED, attempt=1)[:PAGE]
    past = next((run for run in ended if same_way(run.config, config)), None)
    if past is None or past.started_at is None or past.finished_at is None:
        return None
    done = work_of(kind, past.config, rows_of(past))
    if not done:
        return None
    took = (past.finished_at - past.started_at).total_seconds()
    return {"seconds": took / done * work_of(kind, config, rows), "run": past}


# --- Models ---------------------------------------------------------------------------------------------------
def models_of(project: Project) -> QuerySet[ModelVersion]:
    """A project's models and the base models, newest first."""
    found = ModelVersion.objects.filter(Q(project=project) | Q(project=None))
    return found.select_related("base", "reward_model", "snapshot", "run").order_by("-project", "-id")


def ancestry(version: ModelVersion) -> list[ModelVersion]:
    """From the base model to this one, each started from the one before it."""
    known = {found.pk: found for found in models_of(version.project)} if version.project else {}
    chain = [version]
    while chain[0].base_id in known:
        chain.insert(0, known[chain[0].base_id])
    return chain


def trained_by(version: ModelVersion) -> dict[str, Any] | None:
    """How many pairs a model was trained on, and how many people and judges those are from."""
    if version.snapshot is None:
        return None
    members = SnapshotItem.objects.filter(snapshot=version.snapshot, split="train")
    ids = [pk for annotations in members.values_list("annotations", flat=True) for pk in annotations]
    raters = {rater for chunk in chunks(ids, 900) for rater in raters_of(chunk)}
    kinds = [kind for _, kind in raters]
    return {
        "pairs": version.snapshot.counts.get("train", 0),
        "annotations": len(ids),
        "people": kinds.count(Rater.HUMAN),
        "judges": kinds.count(Rater.JUDGE),
    }


def raters_of(annotation_ids: list[int]) -> Iterable[tuple[int, str]]:
    return Annotation.objects.filter(pk__in=annotation_ids).values_list("rater_id", "rater__kind").distinct()


def chunks(values: list[int], size: int) -> Iterable[list[int]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def runs_with(version: ModelVersion, project: Project) -> list[Run]:
    """The newest runs of a project that used a model."""
    return list(version.used_by.filter(project=project).defer("traceback", "config", "result")[:PAGE])


# --- Loops ----------------------------------------------------------------------------------------------------
def loop_rows(project: Project) -> list[dict[str, Any]]:
    """A project's loops, each with what it sees now and how often it has fired."""
    found = Loop.objects.filter(project=project)
    seen = loops.readings(found)
    shown = found.select_related("created_by").annotate(fired=Count("firings"), fired_at=Max("firings__created_at"))
    return [
        {
            "loop": loop,
            "new": seen[loop.pk].new,
            "share": min(loop.new_labels, seen[loop.pk].new),
            "next_look": next_look(loop),
            "what": STAGES[loop.step].title,
        }
        for loop in shown
    ]


def next_look(loop: Loop) -> datetime | None:
    """When beat sends the next look; None while the loop is paused."""
    if not loop.enabled:
        return None
    return (loop.last_look or loop.created_at) + timedelta(minutes=loop.every_minutes)


def firings_of(project: Project) -> QuerySet[LoopFiring]:
    """The newest times that a project's loops fired."""
    found = LoopFiring.objects.filter(loop__project=project).select_related("loop", "run", "run__produced")
    return found.order_by("-created_at")[:PAGE]
