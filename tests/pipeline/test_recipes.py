"""Recipes: a run gets the labels and models it needs, or a sentence says what is missing."""

import json
from pathlib import Path

import pytest

from pipeline import recipes, registry
from pipeline.ml.records import hash_file
from pipeline.models import ModelVersion, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return registry.register_base(path=tmp_path, name="tiny-base")


@pytest.fixture
def reward_model(project, base):
    return ModelVersion.objects.create(
        project=project, name="everyday-help-reward-1", kind="reward", path="/r", sha256="r", base=base
    )


def rows_of(given):
    return [json.loads(line) for line in Path(given["path"]).read_text(encoding="utf-8").splitlines()]


def started(recipe, project, **more):
    return recipe(project=project, by=None, config={}, **more)


def test_without_a_model_to_start_from_nothing_starts(project, label_pairs):
    label_pairs(project, 40)
    with pytest.raises(recipes.RecipeError, match="no base model to start from"):
        started(recipes.train_reward, project)


def test_without_labels_nothing_starts(project, base):
    with pytest.raises(recipes.RecipeError, match="no settled preferences yet"):
        started(recipes.train_reward, project)


def test_too_few_pairs_are_counted_in_the_refusal(project, base, label_pairs):
    label_pairs(project, 12)
    with pytest.raises(recipes.RecipeError) as refusal:
        started(recipes.train_reward, project)
    train = project.snapshots.get().counts["train"]
    assert 5 <= train <= 11
    assert str(refusal.value) == (
        f"There are {train} labelled pairs to train on; a reward model needs at least 20: label more or import a file."
    )
    assert Run.objects.count() == 0


def test_a_reward_model_is_trained_on_the_training_split_and_watched_on_another(project, base, label_pairs, admin):
    label_pairs(project, 60)
    run = recipes.train_reward(project=project, by=admin, config={"epochs": 2})
    snapshot = project.snapshots.get()
    assert (run.kind, run.state, run.snapshot, run.created_by) == ("train_reward", "queued", snapshot, admin)
    assert run.config["epochs"] == 2
    assert run.inputs["base"] == {"path": base.path, "sha256": base.sha256, "model": base.pk}
    train, held_out = run.inputs["train"], run.inputs["eval"]
    assert (train["rows"], held_out["rows"]) == (snapshot.counts["train"], snapshot.counts["validation"])
    assert train["sha256"] == hash_file(train["path"])
    learnt, watched = ({row["prompt"][0]["content"] for row in rows_of(item)} for item in (train, held_out))
    assert learnt & watched == set()
    assert list(run.models_used.all()) == [base]


def test_the_same_labels_are_the_same_snapshot(project, base, label_pairs):
    label_pairs(project, 40)
    first, second = (started(recipes.train_reward, project) for _ in range(2))
    assert first.snapshot == second.snapshot


def test_dpo_goes_on_from_the_policy_in_use(project, base, label_pairs):
    label_pairs(project, 40)
    assert started(recipes.train_dpo, project).inputs["policy"]["model"] == base.pk
    policy = ModelVersion.objects.create(project=project, name="p", kind="policy", path="/p", stage="promoted")
    assert started(recipes.train_dpo, project).inputs["policy"]["model"] == policy.pk


def test_ppo_needs_a_reward_model(project, base, label_pairs):
    label_pairs(project, 40)
    with pytest.raises(recipes.RecipeError, match="no reward model yet: train one first"):
        started(recipes.train_ppo, project)


def test_ppo_gets_prompts_a_policy_and_a_reward_model(project, base, reward_model, label_pairs):
    label_pairs(project, 60)
    run = started(recipes.train_ppo, project)
    assert set(run.inputs) == {"policy", "reward_model", "prompts", "eval_prompts"}
    assert run.inputs["reward_model"]["model"] == reward_model.pk
    assert run.inputs["prompts"]["rows"] == project.snapshots.get().counts["train"]
    assert set(run.models_used.all()) == {base, reward_model}


def test_generating_keeps_its_prompts(project, base):
    prompts = [{"id": "p1", "prompt": [{"role": "user", "content": "Why?"}], "tags": ["x"]}]
    run = recipes.generate(project=project, prompts=prompts, by=None, config={})
    assert rows_of(run.inputs["prompts"]) == prompts
    assert run.inputs["model"]["model"] == base.pk


def test_generating_asks_for_an_even_number_of_answers(project, base):
    prompts = [{"id": "p1", "prompt": [{"role": "user", "content": "Why?"}]}]
    with pytest.raises(recipes.RecipeError, match="even number of them, not 3"):
        recipes.generate(project=project, prompts=prompts, by=None, config={"responses_per_prompt": 3})
    with pytest.raises(recipes.RecipeError, match="no prompt"):
        recipes.generate(project=project, prompts=[], by=None, config={})


def test_a_reward_model_is_tested_on_pairs_that_were_kept_for_it(project, base, reward_model, label_pairs):
    label_pairs(project, 60)
    run = started(recipes.evaluate_reward, project)
    assert run.inputs["pairs"]["path"].endswith("/test.jsonl")
    assert run.inputs["pairs"]["rows"] == project.snapshots.get().counts["test"]


def test_a_reward_model_can_be_tested_on_a_file(project, base, reward_model, tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text("{}\n")
    run = started(recipes.evaluate_reward, project, pairs=file)
    assert (run.inputs["pairs"]["path"], run.snapshot) == (str(file), None)
    with pytest.raises(recipes.RecipeError, match="There is no file"):
        started(recipes.evaluate_reward, project, pairs=tmp_path / "nowhere.jsonl")


def test_a_policy_is_compared_with_its_start_under_a_reward_model(project, base, reward_model, label_pairs):
    label_pairs(project, 60)
    policy = ModelVersion.objects.create(project=project, name="p", kind="policy", path="/p", base=base)
    run = started(recipes.evaluate_policy, project)
    assert {name: entry.get("model") for name, entry in run.inputs.items()} == {
        "policy": policy.pk,
        "start": base.pk,
        "reward_model": reward_model.pk,
        "prompts": None,
    }


def test_a_snapshot_whose_files_are_gone_is_named(project, base, label_pairs):
    label_pairs(project, 40)
    snapshot = started(recipes.train_reward, project).snapshot
    for file in Path(recipes.snapshot_file(snapshot, "train")).parent.glob("train.*"):
        file.unlink()
    with pytest.raises(recipes.RecipeError, match="files of snapshot 1 are missing"):
        started(recipes.train_reward, project, snapshot=snapshot)
