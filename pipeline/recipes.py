"""What to start a run with: which labels, which models, and whether there is enough of them.

Each recipe picks its inputs, uses or cuts a snapshot, and creates the run. Raises RecipeError, a sentence with the
remedy, where there is not enough, and ConfigError for settings that the stage does not take.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.models import Project, User
from pipeline import registry, runs
from pipeline.datasets.snapshots import SnapshotError, cut_snapshot, prompts_file, snapshot_file
from pipeline.ml.records import hash_file
from pipeline.models import Loop, ModelVersion, Run, Snapshot

Config = Mapping[str, Any]

FEWEST_PAIRS = 20  # below this a model learns the pairs by heart and nothing else
FEWEST_PROMPTS = 8


class RecipeError(Exception):
    """A run cannot be started; the message says what is missing and what to do."""


# --- Training -------------------------------------------------------------------------------------------------
def train_reward(
    *,
    project: Project,
    by: User | None,
    config: Config,
    base: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    loop: Loop | None = None,
) -> Run:
    """Train a reward model on the project's labels, starting from `base` or the newest base model."""
    start = base or needed(registry.base_models().first(), NO_BASE)
    used = snapshot or cut(project, by)
    return runs.create_run(
        project=project,
        kind="train_reward",
        config=config,
        inputs={"base": registry.as_input(start), **pairs_of(used, "a reward model")},
        by=by,
        snapshot=used,
        loop=loop,
        models_used=[start],
    )


def train_dpo(
    *,
    project: Project,
    by: User | None,
    config: Config,
    policy: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    loop: Loop | None = None,
) -> Run:
    """Train a policy on the project's labels directly, starting from `policy` or the one in use."""
    start = policy or needed(registry.policy_in_use(project), NO_BASE)
    used = snapshot or cut(project, by)
    return runs.create_run(
        project=project,
        kind="dpo",
        config=config,
        inputs={"policy": registry.as_input(start), **pairs_of(used, "a policy")},
        by=by,
        snapshot=used,
        loop=loop,
        models_used=[start],
    )


def train_ppo(
    *,
    project: Project,
    by: User | None,
    config: Config,
    policy: ModelVersion | None = None,
    reward_model: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    loop: Loop | None = None,
) -> Run:
    """Train a policy against a reward model on the training prompts; samples are shown on validation prompts."""
    start = policy or needed(registry.policy_in_use(project), NO_BASE)
    reward = reward_model or needed(registry.reward_in_use(project), NO_REWARD_MODEL)
    used = snapshot or cut(project, by)
    prompts = file_input(prompts_file, used, "train")
    if prompts["rows"] < FEWEST_PROMPTS:
        raise RecipeError(
            f"There are {prompts['rows']} labelled prompts to train on; PPO needs at least {FEWEST_PROMPTS}: "
            "label more items or import a file."
        )
    held_out = file_input(prompts_file, used, "validation")
    return runs.create_run(
        project=project,
        kind="ppo",
        config=config,
        inputs={
            "policy": registry.as_input(start),
            "reward_model": registry.as_input(reward),
            "prompts": prompts,
            **({"eval_prompts": held_out} if held_out["rows"] else {}),
        },
        by=by,
        snapshot=used,
        loop=loop,
        models_used=[start, reward],
    )


# --- Generating -----------------------------------------------------------------------------------------------
def generate(
    *,
    project: Project,
    prompts: Sequence[Mapping[str, Any]],
    by: User | None,
    config: Config,
    model: ModelVersion | None = None,
) -> Run:
    """Sample responses to prompts ({"id", "prompt", "tags"?, "metadata"?}) from `model` or the policy in use.

    Every two responses become an item to label, so an even number has to be asked for.
    """
    policy = model or needed(registry.policy_in_use(project), NO_BASE)
    if not prompts:
        raise RecipeError("There is no prompt: paste at least one.")
    responses = config.get("responses_per_prompt", 2)
    if isinstance(responses, int) and responses % 2:
        raise RecipeError(
            f"Every two responses become an item to label: ask for an even number of them, not {responses}."
        )
    return runs.create_run(
        project=project,
        kind="generate",
        config=config,
        inputs={"model": registry.as_input(policy), "prompts": runs.keep_rows(prompts)},
        by=by,
        models_used=[policy],
    )


# --- Evaluating -----------------------------------------------------------------------------------------------
def evaluate_reward(
    *,
    project: Project,
    by: User | None,
    config: Config,
    model: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    pairs: Path | None = None,
    loop: Loop | None = None,
) -> Run:
    """Score a snapshot's held-out test pairs, or the pairs of a file, with a reward model."""
    scorer = model or needed(registry.reward_in_use(project), NO_REWARD_MODEL)
    used = None if pairs else snapshot or scorer.snapshot or cut(project, by)
    return runs.create_run(
        project=project,
        kind="evaluate_reward",
        config=config,
        inputs={"model": registry.as_input(scorer), "pairs": test_pairs(used) if used else given_file(pairs)},
        by=by,
        snapshot=used,
        loop=loop,
        models_used=[scorer],
    )


def evaluate_policy(
    *,
    project: Project,
    by: User | None,
    config: Config,
    policy: ModelVersion | None = None,
    start: ModelVersion | None = None,
    reward_model: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    loop: Loop | None = None,
) -> Run:
    """Compare a policy with what it started from on held-out prompts, under a reward model."""
    new = policy or needed(registry.usable(project, ModelVersion.POLICY).first(), NO_POLICY)
    before = start or needed(new.base, f"{new.name} has no start to compare it with: name one.")
    scorer = reward_model or needed(registry.reward_in_use(project), NO_REWARD_MODEL)
    used = snapshot or new.snapshot or cut(project, by)
    prompts = file_input(prompts_file, used, "test")
    if not prompts["rows"]:
        raise RecipeError(f"Snapshot {used.number} holds no prompt out for a test: label more items.")
    return runs.create_run(
        project=project,
        kind="evaluate_policy",
        config=config,
        inputs={
            "policy": registry.as_input(new),
            "start": registry.as_input(before),
            "reward_model": registry.as_input(scorer),
            "prompts": prompts,
        },
        by=by,
        snapshot=used,
        loop=loop,
        models_used=[new, before, scorer],
    )


# --- Inputs ---------------------------------------------------------------------------------------------------
NO_BASE = (
    "There is no base model to start from: run `manage.py prepare` for the demo model, or name another with --base."
)
NO_REWARD_MODEL = "There is no reward model yet: train one first."
NO_POLICY = "There is no trained policy yet: train one with DPO or PPO first."


def needed(version: ModelVersion | None, otherwise: str) -> ModelVersion:
    if version is None:
        raise RecipeError(otherwise)
    return version


def cut(project: Project, by: User | None) -> Snapshot:
    """A snapshot of the labels as they are now; the same labels give the same one."""
    try:
        return cut_snapshot(project=project, by=by)
    except SnapshotError as error:
        raise RecipeError(str(error)) from None


def pairs_of(snapshot: Snapshot, what: str) -> dict[str, Any]:
    """A snapshot's training pairs, and its validation pairs where it has any, as inputs."""
    count = snapshot.counts.get("train", 0)
    if count < FEWEST_PAIRS:
        raise RecipeError(
            f"There are {count} labelled pairs to train on; {what} needs at least {FEWEST_PAIRS}: "
            "label more or import a file."
        )
    inputs = {"train": file_input(snapshot_file, snapshot, "train")}
    if snapshot.counts.get("validation", 0):
        inputs["eval"] = file_input(snapshot_file, snapshot, "validation")
    return inputs


def test_pairs(snapshot: Snapshot) -> dict[str, Any]:
    if not snapshot.counts.get("test", 0):
        raise RecipeError(f"Snapshot {snapshot.number} holds no pair out for a test: label more items.")
    return file_input(snapshot_file, snapshot, "test")


def file_input(file_of: Callable[[Snapshot, str], Path], snapshot: Snapshot, split: str) -> dict[str, Any]:
    """A file of a snapshot, as an input."""
    try:
        path = file_of(snapshot, split)
    except SnapshotError as error:
        raise RecipeError(str(error)) from None
    with path.open("rb") as lines:
        rows = sum(1 for line in lines if line.strip())
    return {"path": str(path), "sha256": hash_file(path), "rows": rows}


def given_file(path: Path | None) -> dict[str, Any]:
    if path is None or not path.is_file():
        raise RecipeError(f"There is no file {path}.")
    return {"path": str(path.absolute()), "sha256": hash_file(path)}
