"""The commands that start and manage runs: what they take, what they print, how they end."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from pipeline import launcher, registry, runs
from pipeline.models import Run
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return registry.register_base(path=tmp_path, name="tiny-base")


def ask(*arguments):
    """Run a command with --json; returns the object that it prints."""
    out = io.StringIO()
    call_command(*arguments, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


def refusal(*arguments):
    """(exit code, message) of a command that ends badly."""
    with pytest.raises(CommandError) as ended:
        call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())
    return ended.value.returncode, str(ended.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "reward", "nowhere"], "There is no project 'nowhere'"),
        (
            ["train", "reward", "everyday-help", "--set", "epoch=2"],
            "There is no setting 'epoch': Train a reward model",
        ),
        (["train", "reward", "everyday-help", "--set", "epochs=two"], "epochs is 'two', which is no int"),
        (["train", "reward", "everyday-help", "--set", "lora=maybe"], "set it to true or false"),
        (["train", "reward", "everyday-help", "--snapshot", "7"], "There is no snapshot 7"),
        (["train", "dpo", "everyday-help", "--reward-model", "r"], "--reward-model is for ppo"),
        (["evaluate", "everyday-help-reward-1", "everyday-help", "--start", "x"], "are for evaluating a policy"),
        (["runs", "--cancel", "99999"], "There is no run 99999"),
    ],
)
def test_wrong_use_is_said_with_exit_code_2(project, arguments, message):
    stand_ins.model(project, name="everyday-help-reward-1")
    code, said = refusal(*arguments)
    assert (code, Run.objects.count()) == (2, 0)
    assert message in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "reward", "everyday-help"], "no base model to start from"),
        (["train", "reward", "everyday-help", "--base", "gpt"], "There is no base model “gpt” here"),
        (["evaluate", "reward", "everyday-help"], "There is no reward model yet: train one first"),
        (["evaluate", "policy", "everyday-help"], "There is no trained policy yet: train one first"),
        (["evaluate", "mine", "everyday-help"], "There is no reward or policy model “mine” here"),
        (["generate", "everyday-help", "--prompts", "/nowhere.txt"], "/nowhere.txt cannot be read"),
        (["promote", "everyday-help", "mine"], "“mine” here: none is registered yet"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_1(project, arguments, message):
    code, said = refusal(*arguments)
    assert (code, Run.objects.count()) == (1, 0)
    assert message in said


def test_training_is_queued_with_its_settings(project, base, label_pairs):
    label_pairs(project, 40)
    said = ask("train", "reward", "everyday-help", "--set", "epochs=3", "--set", "head-ridge=none", "--set=lora=no")
    run = Run.objects.get(pk=said["run"])
    assert (said["state"], run.state) == ("queued", "queued")
    assert (run.config["epochs"], run.config["head_ridge"], run.config["lora"]) == (3, None, False)
    assert run.created_by is None


def test_a_model_on_disk_can_be_started_from(project, tmp_path, label_pairs):
    label_pairs(project, 40)
    folder = tmp_path / "other-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    said = ask("train", "reward", "everyday-help", "--base", str(folder))
    used = Run.objects.get(pk=said["run"]).models_used.get()
    assert (used.name, used.path, used.kind) == ("other-model", str(folder), "base")


def test_prompts_come_from_a_file_or_from_the_project(project, base, tmp_path, label_pairs):
    label_pairs(project, 2)
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "a", "prompt": "Why?"}\n')
    asked = [ask("generate", "everyday-help", "--prompts", str(file)), ask("generate", "everyday-help")]
    counts = [Run.objects.get(pk=said["run"]).inputs["prompts"]["rows"] for said in asked]
    assert counts == [1, 2]


def test_a_reward_model_is_measured_on_other_pairs(project, tmp_path):
    made = stand_ins.model(project, name="mine")
    file = tmp_path / "pairs.jsonl"
    file.write_text("{}\n")
    said = ask("evaluate", "mine", "everyday-help", "--pairs", str(file))
    run = Run.objects.get(pk=said["run"])
    assert (run.kind, run.inputs["pairs"]["path"], list(run.models_used.all())) == (
        "evaluate_reward",
        str(file),
        [made],
    )


def test_promoting_names_what_it_replaces(project):
    for name in ("first", "second"):
        stand_ins.model(project, kind="policy", name=name)
    assert ask("promote", "everyday-help", "first") == {"model": "first", "kind": "policy", "retired": None}
    assert ask("promote", "everyday-help", "second")["retired"] == "first"


def test_runs_are_listed_cancelled_and_resumed(project, make_run):
    first, second = make_run(project), make_run(project)
    assert [row["run"] for row in ask("runs", "everyday-help")["runs"]] == [second.pk, first.pk]
    assert ask("runs", "--cancel", str(first.pk))["runs"][0]["state"] == "cancelled"
    assert ask("runs", "--resume", str(first.pk))["runs"][0]["state"] == "queued"
    runs.cancel(run=first)
    code, said = refusal("runs", "--cancel", str(first.pk))
    assert (code, said) == (1, f"Run {first.pk} has ended already.")


def test_cancelling_a_run_whose_worker_is_gone_ends_it_here(project, make_run):
    run = runs.claim(make_run(project).pk, watcher="gone")
    Run.objects.filter(pk=run.pk).update(heartbeat=None)
    assert ask("runs", "--cancel", str(run.pk))["runs"][0]["state"] == "cancelled"


def test_waiting_for_a_run_that_fails_ends_with_its_message(project, base, label_pairs, monkeypatch):
    """A worker that is faster takes the run, and the command only watches it."""
    label_pairs(project, 40)

    def fails_elsewhere(run_id, **named):
        runs.fail(run=runs.claim(run_id, watcher="another worker"), message="The pairs are all ties.")

    monkeypatch.setattr(launcher, "drive", fails_elsewhere)
    assert refusal("train", "reward", "everyday-help", "--wait") == (1, "The pairs are all ties.")
