"""The whole way with real stage processes on a tiny model: train, measure, register, generate, and survive a kill."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from annotate.models import Item
from pipeline import launcher, recipes, registry, runs
from pipeline.models import ModelVersion, Run, RunEvent

pytestmark = [pytest.mark.stage, pytest.mark.once, pytest.mark.django_db(transaction=True)]
PATIENCE = 120.0
SMALL = {"batch_size": 4, "gradient_accumulation": 1, "max_length": 64, "dtype": "float32"}


@pytest.fixture
def base(tiny_model):
    return registry.register_base(path=tiny_model, name="tiny")


@pytest.fixture
def labelled(project, label_pairs, base):
    """60 pairs: 42 or so to train on, the rest held out."""
    label_pairs(project, 60)
    return project


def set_of(config):
    return [f"--set={name}={value}" for name, value in config.items()]


def command(capsys, *arguments):
    """Run a management command with --json; returns what it prints."""
    call_command(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
    return found


def test_the_whole_way_from_labels_to_a_promoted_policy_by_commands(labelled, base, capsys):
    """One journey and not four tests, since each stage takes seconds to load its libraries."""
    snapshot = reward_model_is_trained_and_measured(labelled, base, capsys)
    policy_is_trained_and_compared_with_its_start(labelled, base, snapshot, capsys)
    assert command(capsys, "promote", labelled.slug, "everyday-help-dpo-1")["model"] == "everyday-help-dpo-1"
    promoted_policy_writes_the_next_answers(labelled, base.path, capsys)
    policy_goes_on_against_the_reward_model(labelled, capsys)


def reward_model_is_trained_and_measured(labelled, base, capsys):
    config = {**SMALL, "max_steps": 3, "eval_every": 2}
    said = command(capsys, "train", "reward", labelled.slug, "--wait", *set_of(config))
    snapshot = labelled.snapshots.get()
    assert (said["state"], said["model"]) == ("succeeded", "everyday-help-reward-1")
    assert said["report"]["n"] == snapshot.counts["test"]
    assert 0.0 <= said["report"]["low"] <= said["report"]["accuracy"] <= said["report"]["high"] <= 1.0
    assert said["report"]["baselines"]["longer"]["n"] == snapshot.counts["test"]
    made = ModelVersion.objects.get(name="everyday-help-reward-1")
    assert (made.base, made.snapshot, made.run.pk) == (base, snapshot, said["run"])
    evaluation = Run.objects.get(pk=made.report["run"])
    assert (evaluation.kind, list(evaluation.models_used.all())) == ("evaluate_reward", [made])
    steps = RunEvent.objects.filter(run=said["run"], event="metric", data__values__has_key="loss")
    assert sorted(set(steps.values_list("step", flat=True))) == [1, 2, 3]
    return snapshot


def policy_is_trained_and_compared_with_its_start(labelled, base, snapshot, capsys):
    said = command(capsys, "train", "dpo", labelled.slug, "--wait", *set_of({**SMALL, "max_steps": 2}))
    assert (said["state"], said["model"]) == ("succeeded", "everyday-help-dpo-1")
    assert (said["report"]["n"], said["report"]["enough"]) == (snapshot.counts["test"], False)
    made = ModelVersion.objects.get(name="everyday-help-dpo-1")
    assert made.base == base
    used = Run.objects.get(pk=made.report["run"]).inputs
    assert used["reward_model"]["model"] == ModelVersion.objects.get(name="everyday-help-reward-1").pk


def promoted_policy_writes_the_next_answers(labelled, folder, capsys):
    prompts = Path(folder).parent / "prompts.txt"
    prompts.write_text("Why is the sky blue?\nWhat is a verb?\n")
    config = ["--set=max_new_tokens=6", "--n=4"]
    said = command(capsys, "generate", labelled.slug, "--prompts", str(prompts), "--wait", *config)
    assert said["state"] == "succeeded"
    items = Item.objects.filter(project=labelled, metadata__run=said["run"])
    assert 1 <= items.count() <= 4
    assert {response.model for item in items for response in item.responses.all()} == {"everyday-help-dpo-1"}
    before = Item.objects.count()
    Run.objects.filter(pk=said["run"]).update(state="errored")
    runs.resume(run=Run.objects.get(pk=said["run"]))
    launcher.drive(said["run"])
    assert Run.objects.get(pk=said["run"]).state == "succeeded"
    assert Item.objects.count() == before  # taking the same answers in again adds nothing


def policy_goes_on_against_the_reward_model(labelled, capsys):
    config = {"steps": 2, "rollout_size": 4, "minibatches": 2, "epochs": 1, "max_new_tokens": 6, "eval_every": 1}
    said = command(capsys, "train", "ppo", labelled.slug, "--wait", *set_of({**config, "dtype": "float32"}))
    assert said["state"] == "succeeded"
    made = ModelVersion.objects.get(name="everyday-help-ppo-1")
    assert (made.base.name, made.reward_model.name) == ("everyday-help-dpo-1", "everyday-help-reward-1")
    metrics = RunEvent.objects.filter(run=said["run"], event="metric", data__values__has_key="value_loss")
    assert {"reward", "kl", "value_loss", "entropy"} <= set(metrics.first().data["values"])
    assert RunEvent.objects.filter(run=said["run"], event="sample").exists()


def test_a_trainer_killed_midway_goes_on_from_its_checkpoint(labelled):
    config = {**SMALL, "max_steps": 150, "save_every": 5, "eval_every": 0, "epochs": 50, "warm_start": False}
    run = recipes.train_reward(project=labelled, by=None, config=config)
    events = Path(run.folder) / "events.jsonl"
    thread = threading.Thread(target=driven, args=(run.pk,))
    thread.start()
    try:
        # In the file itself: before the watcher has it in the database, a trainer this small can be done.
        wait_until(lambda: events.exists() and '"checkpoint"' in events.read_text(), "there is a checkpoint")
        pid = int((Path(run.folder) / "run.lock").read_text())
        os.kill(pid, signal.SIGKILL)
    finally:
        thread.join(PATIENCE)
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("succeeded", 2)
    steps = RunEvent.objects.filter(run=run, event="metric", data__values__has_key="loss")
    assert max(steps.values_list("step", flat=True)) == 150
    log = list(RunEvent.objects.filter(run=run, event="log").values_list("data__message", flat=True))
    assert any("Resumed at step" in message for message in log)


def driven(run_id):
    try:
        launcher.drive(run_id)
    finally:
        connection.close()


def test_a_settings_mistake_of_the_stage_is_a_failure_in_words(labelled, base):
    run = recipes.train_reward(project=labelled, by=None, config={**SMALL, "max_steps": 1})
    Path(run.inputs["train"]["path"]).write_text("")
    launcher.drive(run.pk)
    run.refresh_from_db()
    assert run.state == "failed"
    assert "“train”" in run.message
    assert "has changed since the run was made" in run.message


def test_ctrl_c_on_a_waiting_command_leaves_the_run_queued(labelled, database_url):
    config = {**SMALL, "max_steps": 9000, "epochs": 1000, "save_every": 9000, "eval_every": 0, "warm_start": False}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "train", "reward", labelled.slug, "--wait", "--json", *set_of(config)],
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: RunEvent.objects.filter(event="metric").exists() or process.poll(), "it trains")
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    run = Run.objects.get()
    assert process.returncode == 130
    assert (run.state, json.loads(said)["state"]) == ("queued", "queued")
    assert "waits in the queue" in complaint
    assert RunEvent.objects.filter(run=run).latest("position").event == "stopped"
    assert (Path(run.folder) / "checkpoints").exists()
