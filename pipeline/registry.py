"""The sole writer of ModelVersion: what models there are, what they came from, which are in use."""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import audit
from annotate.models import Project, User
from pipeline.ml.records import hash_folder
from pipeline.models import ModelVersion, Run

WORDS = {"train_reward": "reward", "dpo": "dpo", "ppo": "ppo"}  # in a model's name, by the kind of run that made it


class RegistryError(Exception):
    """A model cannot be registered, found or promoted as asked; the message says why."""


# --- Registering ----------------------------------------------------------------------------------------------
def register_base(*, path: Path | str, name: str) -> ModelVersion:
    """A model that was not made here, for all projects: a transformers folder. The same name and path add nothing."""
    folder = Path(path).absolute()
    found = ModelVersion.objects.filter(project=None, name=name).first()
    if found is not None and found.path == str(folder):
        return found
    if found is not None:
        raise RegistryError(f"There is a base model “{name}” already, in {found.path}: choose another name.")
    if not (folder / "config.json").exists():
        raise RegistryError(f"{folder} is no model: a transformers folder holds a config.json.")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return ModelVersion.objects.create(
        name=name, kind=ModelVersion.BASE, path=str(folder), sha256=hash_folder(folder), size=size
    )


@transaction.atomic
def register(*, run: Run) -> ModelVersion:
    """The model that a training run has made, with its lineage. A run makes one model, however often this is asked."""
    found = ModelVersion.objects.filter(run=run).first()
    if found is not None:
        return found
    Project.objects.select_for_update(no_key=True).get(pk=run.project_id)  # numbers are given one at a time
    manifest = json.loads((Path(run.folder) / "manifest.json").read_text(encoding="utf-8"))
    files = {Path(name).relative_to("model"): entry for name, entry in manifest["files"].items() if is_model(name)}
    if not files:
        raise RegistryError(f"Run {run.pk} has left no model in its folder.")
    start = run.inputs["base"] if run.kind == "train_reward" else run.inputs["policy"]
    return ModelVersion.objects.create(
        project=run.project,
        name=free_name(run),
        kind=ModelVersion.REWARD if run.kind == "train_reward" else ModelVersion.POLICY,
        path=str(Path(run.folder) / "model"),
        sha256=folder_hash({name: entry["sha256"] for name, entry in files.items()}),
        size=sum(entry["bytes"] for entry in files.values()),
        run=run,
        snapshot=run.snapshot,
        base_id=start.get("model"),
        reward_model_id=run.inputs.get("reward_model", {}).get("model"),
    )


def is_model(name: str) -> bool:
    return name.startswith("model/")


def folder_hash(files: dict[Path, str]) -> str:
    """What `records.hash_folder` says of a folder with these files, without reading them again."""
    lines = [f"{name.as_posix()}\0{files[name]}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def free_name(run: Run) -> str:
    """everyday-help-reward-3: the project, what made it, and a number."""
    stem = f"{run.project.slug}-{WORDS[run.kind]}-"
    taken = ModelVersion.objects.filter(project=run.project, name__startswith=stem).values_list("name", flat=True)
    numbers = [int(name.removeprefix(stem)) for name in taken if name.removeprefix(stem).isdigit()]
    return f"{stem}{max(numbers, default=0) + 1}"


def keep_report(*, version: ModelVersion, run: Run) -> None:
    """The newest evaluation on held-out data, as the stage wrote it, with the run that made it."""
    report = {
        **run.result,
        "run": run.pk,
        "snapshot": run.snapshot.number if run.snapshot else None,
        "at": timezone.now().isoformat(),
    }
    version.report = report
    version.save(update_fields=["report"])


# --- Using ----------------------------------------------------------------------------------------------------
@transaction.atomic
def promote(*, version: ModelVersion, by: User | None) -> ModelVersion | None:
    """Put a reward or policy model to use; the one in use before is retired, and returned. Raises RegistryError."""
    if version.project is None:
        raise RegistryError(f"{version.name} is a base model: models trained from it can be promoted.")
    Project.objects.select_for_update(no_key=True).get(pk=version.project.pk)  # one promotion at a time
    same = ModelVersion.objects.filter(project=version.project, kind=version.kind, stage=ModelVersion.PROMOTED)
    former = same.exclude(pk=version.pk).first()
    same.exclude(pk=version.pk).update(stage=ModelVersion.RETIRED)
    ModelVersion.objects.filter(pk=version.pk).update(
        stage=ModelVersion.PROMOTED, promoted_at=timezone.now(), promoted_by=by
    )
    version.refresh_from_db()
    record(version, audit.PROMOTED, by, former={"former": former.name} if former else {})
    return former


@transaction.atomic
def retire(*, version: ModelVersion, by: User | None = None) -> None:
    """Take a model out of use; it stays registered, and can be promoted again. Raises RegistryError for a base."""
    if version.project is None:
        raise RegistryError(f"{version.name} is a base model of all projects, and stays.")
    former = {"stage": version.stage}
    ModelVersion.objects.filter(pk=version.pk).update(stage=ModelVersion.RETIRED)
    version.refresh_from_db()
    record(version, audit.RETIRED, by, former=former)


def record(version: ModelVersion, verb: str, by: User | None, *, former: dict[str, str]) -> None:
    audit.record(
        project=version.project,
        by=by,
        verb=verb,
        kind="model",
        object_id=version.pk,
        words=version.name,
        before=former,
        after={"stage": version.stage},
    )


# --- Finding --------------------------------------------------------------------------------------------------
def base_models() -> QuerySet[ModelVersion]:
    """Models that were not made here, newest first."""
    return ModelVersion.objects.filter(project=None, kind=ModelVersion.BASE).order_by("-id")


def usable(project: Project, kind: str) -> QuerySet[ModelVersion]:
    """A project's models of a kind that are not retired: the promoted one first, then the newest."""
    found = ModelVersion.objects.filter(project=project, kind=kind).exclude(stage=ModelVersion.RETIRED)
    return found.order_by("-stage", "-id")  # "promoted" sorts after "candidate"


def policy_in_use(project: Project) -> ModelVersion | None:
    """What writes the next responses: the promoted policy, else the newest base model."""
    return in_use(project, ModelVersion.POLICY) or base_models().first()


def reward_in_use(project: Project) -> ModelVersion | None:
    """What scores responses: the promoted reward model, else the newest."""
    return usable(project, ModelVersion.REWARD).first()


def in_use(project: Project, kind: str) -> ModelVersion | None:
    """The promoted model of a kind."""
    return ModelVersion.objects.filter(project=project, kind=kind, stage=ModelVersion.PROMOTED).first()


def named(project: Project, name: str, kinds: tuple[str, ...]) -> ModelVersion:
    """A model of the project or a base model, by its name. Raises RegistryError."""
    candidates = ModelVersion.objects.filter(kind__in=kinds)
    found = candidates.filter(project=project, name=name).first() or candidates.filter(project=None, name=name).first()
    if found is None:
        known = [*usable_names(project, kinds)]
        raise RegistryError(
            f"There is no {' or '.join(kinds)} model “{name}” here: {', '.join(known) or 'none is registered yet'}."
        )
    return found


def usable_names(project: Project, kinds: tuple[str, ...]) -> list[str]:
    names = [version.name for kind in kinds for version in usable(project, kind)]
    return [*names, *(version.name for version in base_models() if ModelVersion.BASE in kinds)]


def as_input(version: ModelVersion) -> dict[str, Any]:
    """A model as a run's input."""
    return {"path": version.path, "sha256": version.sha256, "model": version.pk}
