"""The registry: a model's lineage, its name and hash, and which one is in use."""

import json
from pathlib import Path

import pytest

from pipeline import queries, registry
from pipeline.ml.records import hash_file, hash_folder, write_json
from pipeline.models import ModelVersion, Run
from tests import factories
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678")
    return registry.register_base(path=folder, name="tiny-base")


@pytest.fixture
def finished(project, base, make_run):
    """A training run whose folder holds a model and a manifest, as the stage leaves them."""

    def make(kind="train_reward", of=None, **inputs):
        start = "base" if kind == "train_reward" else "policy"
        given = {start: registry.as_input(of or base), "train": {"path": "/t.jsonl"}, **inputs}
        if kind == "ppo":
            given["prompts"] = given.pop("train")
        run = make_run(project, kind=kind, inputs=given)
        model = Path(run.folder) / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps({"run": run.pk}))
        (model / "model.safetensors").write_bytes(b"weights")
        files = {
            f"model/{file.name}": {"bytes": file.stat().st_size, "sha256": hash_file(file)} for file in model.iterdir()
        }
        write_json(
            Path(run.folder) / "manifest.json", {"files": {**files, "result.json": {"bytes": 2, "sha256": "x"}}}
        )
        return run

    return make


def test_a_base_model_is_registered_once(base, tmp_path):
    assert (base.kind, base.project, base.size) == ("base", None, 10)
    assert base.sha256 == hash_folder(tmp_path / "base")
    assert registry.register_base(path=tmp_path / "base", name="tiny-base") == base
    with pytest.raises(registry.RegistryError, match="already, in"):
        registry.register_base(path=tmp_path, name="tiny-base")
    with pytest.raises(registry.RegistryError, match="is no model"):
        registry.register_base(path=tmp_path / "nowhere", name="other")


def test_a_trained_model_knows_where_it_comes_from(project, base, finished, tmp_path):
    snapshot = stand_ins.snapshot(project, tmp_path)
    run = finished()
    Run.objects.filter(pk=run.pk).update(snapshot=snapshot)
    run.refresh_from_db()
    made = registry.register(run=run)
    assert made.name == "everyday-help-reward-1"
    assert (made.kind, made.base, made.run, made.snapshot, made.stage) == ("reward", base, run, snapshot, "candidate")
    assert made.sha256 == hash_folder(Path(run.folder) / "model")
    assert made.size == sum(file.stat().st_size for file in (Path(run.folder) / "model").iterdir())


def test_registering_a_run_again_adds_nothing(finished):
    run = finished()
    assert registry.register(run=run) == registry.register(run=run)
    assert ModelVersion.objects.exclude(project=None).count() == 1


def test_names_count_up_within_project_and_method(admin, finished):
    names = [registry.register(run=finished(kind)).name for kind in ("train_reward", "dpo", "train_reward")]
    assert names == ["everyday-help-reward-1", "everyday-help-dpo-1", "everyday-help-reward-2"]


def test_a_ppo_policy_names_its_reward_model(finished):
    reward = registry.register(run=finished())
    policy = registry.register(run=finished("ppo", reward_model=registry.as_input(reward)))
    assert policy.reward_model == reward
    assert policy.name == "everyday-help-ppo-1"


def test_a_run_without_a_model_is_refused(finished):
    run = finished()
    write_json(Path(run.folder) / "manifest.json", {"files": {"result.json": {"bytes": 2, "sha256": "x"}}})
    with pytest.raises(registry.RegistryError, match="has left no model"):
        registry.register(run=run)


def test_the_chain_of_models_leads_back_to_the_base(finished, base):
    first = registry.register(run=finished("dpo"))
    second = registry.register(run=finished("dpo", of=first))
    assert queries.ancestry(second) == [base, first, second]


# --- Use ------------------------------------------------------------------------------------------------------
def test_the_base_model_writes_until_a_policy_is_promoted(project, admin, finished, base):
    assert registry.policy_in_use(project) == base
    policy = registry.register(run=finished("dpo"))
    assert registry.policy_in_use(project) == base  # a candidate is not in use
    registry.promote(version=policy, by=admin)
    assert registry.policy_in_use(project) == policy
    assert (policy.stage, policy.promoted_by) == ("promoted", admin)


def test_one_policy_and_one_reward_model_are_in_use(project, admin, finished):
    first, second = (registry.register(run=finished("dpo")) for _ in range(2))
    reward = registry.register(run=finished())
    registry.promote(version=first, by=admin)
    registry.promote(version=reward, by=admin)
    assert registry.promote(version=second, by=admin) == first
    stages = dict(ModelVersion.objects.filter(project=project).values_list("name", "stage"))
    assert stages == {first.name: "retired", second.name: "promoted", reward.name: "promoted"}
    registry.promote(version=first, by=admin)  # and back again
    assert registry.policy_in_use(project) == first


def test_a_base_model_is_not_promoted(base, admin):
    with pytest.raises(registry.RegistryError, match="is a base model"):
        registry.promote(version=base, by=admin)


def test_the_reward_model_in_use_is_the_promoted_one_else_the_newest(project, admin, finished):
    older, newer = (registry.register(run=finished()) for _ in range(2))
    assert registry.reward_in_use(project) == newer
    registry.promote(version=older, by=admin)
    assert registry.reward_in_use(project) == older
    registry.retire(version=older)
    assert registry.reward_in_use(project) == newer


def test_models_of_another_project_are_not_found(admin, finished, base):
    registry.register(run=finished())
    other = factories.project(by=admin, name="Other")
    with pytest.raises(registry.RegistryError, match="no reward model “everyday-help-reward-1” here: none"):
        registry.named(other, "everyday-help-reward-1", ("reward",))
    assert registry.named(other, "tiny-base", ("base", "policy")) == base
