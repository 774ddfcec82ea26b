"""The stage `ppo`, from run.json to a saved policy: what it reports, what it refuses, how it stops and goes on."""

import json
import os
import signal
import time
from contextlib import nullcontext
from itertools import count

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.ml import stopping
from pipeline.ml.configs import ConfigError, PPOStageConfig
from pipeline.ml.evaluation.policy import policy_report
from pipeline.ml.models import load_policy, load_tokenizer, new_reward_model, save_model
from pipeline.ml.records import RunFolder, StageError, Stopped, read_events
from pipeline.ml.rewards.reward_model import Calibration, RewardModelScorer
from pipeline.ml.trainers import memory, ppo
from pipeline.ml.trainers.critic import Critic
from tests.ml.conftest import stage_process, tiny_policy, write_rows, write_run
from tests.ml.ppo_toy import toy_tokenizer

CONFIG = {
    "steps": 3,
    "rollout_size": 8,
    "minibatches": 2,
    "epochs": 1,
    "micro_batch_size": 2,
    "max_new_tokens": 6,
    "learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "lora_rank": 4,
    "save_every": 1,
    "eval_every": 2,
    "eval_prompts": 3,
    "dtype": "float32",
}


@pytest.fixture(scope="module")
def inputs(tiny_model_folder, tmp_path_factory):
    """A policy, a reward model on the same base, and 24 prompts."""
    reward = tmp_path_factory.mktemp("reward")
    tokenizer = load_tokenizer(tiny_model_folder)
    save_model(new_reward_model(tiny_model_folder, tokenizer, dtype=torch.float32, seed=4), tokenizer, reward)
    rows = [
        {"id": f"p{i}", "prompt": [{"role": "user", "content": f"Say {i}"}], "reference": str(i)} for i in range(24)
    ]
    prompts = write_rows(tmp_path_factory.mktemp("prompts") / "prompts.jsonl", rows)
    return {"policy": tiny_model_folder, "reward_model": reward, "prompts": prompts}


def events_of(folder, name):
    return [event for event in read_events(folder.path / "events.jsonl")[0] if event["event"] == name]


def policy_weights(folder):
    return load_file(folder.model / "model.safetensors")


def largest_difference(one, other):
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def test_the_stage_trains_reports_and_saves(run_folder, inputs):
    folder = run_folder("ppo", inputs, CONFIG)
    result = ppo.run(folder)
    assert (result["steps"], result["updates"], result["critic"]) == (3, 6, "reward_model")
    assert result["evaluation"]["prompts"] == 3
    assert result["evaluation"]["reward"]["low"] <= result["evaluation"]["reward"]["difference"]
    assert result["evaluation"]["kl"]["per_sequence"] != 0
    assert len(result["samples"]) == 3
    json.dumps(result, allow_nan=False)
    start = load_file(inputs["policy"] / "model.safetensors")
    assert policy_weights(folder).keys() == start.keys()
    assert largest_difference(policy_weights(folder), start) > 1e-5
    assert AutoTokenizer.from_pretrained(folder.model).chat_template
    assert AutoModelForCausalLM.from_pretrained(folder.model).generation_config.eos_token_id is not None


def test_live_figures_come_once_a_step(run_folder, inputs):
    folder = run_folder("ppo", inputs, CONFIG)
    ppo.run(folder)
    metrics = events_of(folder, "metric")
    training = [event for event in metrics if "reward" in event["values"]]
    assert [event["step"] for event in training] == [1, 2, 3]
    assert [name for name in ppo.METRICS if name not in training[0]["values"]] == []
    assert [event["step"] for event in metrics if "eval_reward" in event["values"]] == [2, 3]
    assert [event["step"] for event in events_of(folder, "sample")] == [2, 2, 2, 3, 3, 3]
    sample = events_of(folder, "sample")[0]
    assert {"prompt", "before", "after", "reward_before", "reward_after"} <= sample.keys()
    words = {event["stage"] for event in events_of(folder, "progress")}
    assert {"loading the models", "sampling answers", "scoring answers", "updating the policy"} <= words
    assert events_of(folder, "progress")[-1]["total"] == 3
    assert "The models need" in events_of(folder, "log")[0]["message"]


def test_full_training_keeps_a_reference(run_folder, inputs):
    folder = run_folder("ppo", inputs, {**CONFIG, "lora": False, "steps": 2, "gradient_checkpointing": True})
    result = ppo.run(folder)
    start = load_file(inputs["policy"] / "model.safetensors")
    assert largest_difference(policy_weights(folder), start) > 1e-5
    assert result["evaluation"]["kl"]["per_sequence"] != 0


def test_a_checkable_reward_is_added(run_folder, inputs):
    folder = run_folder("ppo", inputs, {**CONFIG, "steps": 1, "verifiable": "same_number", "verifiable_weight": 2.0})
    config = folder.config(PPOStageConfig)
    prompts, _ = ppo.choose_prompts(folder, config)
    rows = ppo._dataset(folder, prompts)
    assert [row["reference"] for row in rows] == [prompt.id.removeprefix("p") for prompt in prompts]
    ppo.run(folder)


# -- stopping and going on ----------------------------------------------------------------------------------


def stop_at_call(monkeypatch, number):
    """Somebody asks to stop while the reward model is called for the given time."""
    calls = []
    original = RewardModelScorer.__call__

    def call(self, *args, **kwargs):
        calls.append(1)
        result = original(self, *args, **kwargs)
        if len(calls) == number:
            stopping._requested.set()
        return result

    monkeypatch.setattr(RewardModelScorer, "__call__", call)


@pytest.mark.parametrize("save_every", [1, 3])
def test_a_stop_within_a_rollout_loses_nothing(run_folder, inputs, monkeypatch, save_every):
    straight = run_folder("ppo", inputs, {**CONFIG, "save_every": save_every}, name="straight")
    ppo.run(straight)
    folder = run_folder("ppo", inputs, {**CONFIG, "save_every": save_every}, name="stopped")
    with monkeypatch.context() as patch:
        stop_at_call(patch, 2)
        with pytest.raises(Stopped) as stop:
            ppo.run(folder)
    assert stop.value.step == 1
    assert folder.latest_checkpoint().name == "checkpoint-2"
    stopping.clear()
    ppo.run(RunFolder(folder.path))
    assert largest_difference(policy_weights(folder), policy_weights(straight)) < 1e-6


def test_a_stop_within_the_updates_waits_for_the_boundary(run_folder, inputs, monkeypatch):
    original = ppo.PPOTrainer._record_update

    def record(self, *args):
        stopping._requested.set()
        return original(self, *args)

    monkeypatch.setattr(ppo.PPOTrainer, "_record_update", record)
    folder = run_folder("ppo", inputs, {**CONFIG, "save_every": 3})
    with pytest.raises(Stopped) as stop:
        ppo.run(folder)
    assert stop.value.step == 1
    assert folder.latest_checkpoint().name == "checkpoint-2"
    assert events_of(folder, "checkpoint")[-1]["step"] == 1


def test_a_stop_does_not_wait_for_slow_updates(run_folder, inputs, monkeypatch):
    updates = []
    original = ppo.PPOTrainer._finish_gradients

    def finish(self, model):
        updates.append(1)
        if len(updates) == 3:
            stopping._requested.set()
        original(self, model)

    monkeypatch.setattr(ppo.PPOTrainer, "_finish_gradients", finish)
    monkeypatch.setattr("pipeline.ml.trainers.ppo_trainer.PATIENCE", 0.0)
    folder = run_folder("ppo", inputs, CONFIG)
    with pytest.raises(Stopped):
        ppo.run(folder)
    assert len(updates) == 3
    assert folder.latest_checkpoint().name == "checkpoint-2"


def wait_for(process, path, what):
    """Until the events hold what is waited for; the process must not end before."""
    deadline = time.monotonic() + 120
    while not any(map(what, read_events(path / "events.jsonl")[0])):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_where_a_straight_one_does(tmp_path, inputs):
    config = {**CONFIG, "steps": 12}
    straight = write_run(tmp_path / "straight", "ppo", inputs, config)
    assert stage_process("ppo", straight).wait(timeout=180) == 0
    killed = write_run(tmp_path / "killed", "ppo", inputs, config)
    process = stage_process("ppo", killed)
    wait_for(process, killed.parent, lambda event: event["event"] == "checkpoint" and event["step"] == 3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (killed.parent / "manifest.json").exists()
    again = stage_process("ppo", killed)
    out, err = again.communicate(timeout=180)
    assert again.returncode == 0, err
    one, other = RunFolder(straight.parent), RunFolder(killed.parent)
    assert largest_difference(policy_weights(one), policy_weights(other)) < 1e-6
    assert any("Resumed at step" in event["message"] for event in events_of(other, "log"))
    results = [json.loads((folder.path / "result.json").read_text()) for folder in (one, other)]
    assert results[0]["evaluation"] == results[1]["evaluation"]


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_130(tmp_path, inputs):
    run = write_run(tmp_path / "run", "ppo", inputs, {**CONFIG, "steps": 500, "save_every": 500, "eval_every": 0})
    process = stage_process("ppo", run)
    wait_for(process, run.parent, lambda event: event["event"] == "metric" and event["step"] == 2)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    folder = RunFolder(run.parent)
    stopped = events_of(folder, "stopped")[0]["step"]
    assert folder.latest_checkpoint().name == f"checkpoint-{2 * stopped}"


# -- looks at held-out prompts ------------------------------------------------------------------------------


def test_an_unchanged_policy_ties_with_the_start_and_stays_in_its_mode(run_folder, inputs):
    """Rewards differ in the last bits from batch to batch: the same answer must not be scored twice."""
    folder = run_folder("ppo", inputs, CONFIG)
    config, policy = folder.config(PPOStageConfig), load_policy(inputs["policy"], dtype=torch.float32)
    _, watched = ppo.choose_prompts(folder, config)
    numbers = count()

    class Unsteady:
        def score(self, conversations):
            return [float(next(numbers)) for _ in conversations]

    probe = ppo._make_probe(folder, config, policy, load_tokenizer(inputs["policy"]), Unsteady(), watched)
    for step, training in ((0, False), (1, True)):
        policy.train(training)
        probe.look(step, policy, lambda: nullcontext(policy))
        assert policy.training is training
    report = policy_report(probe.compared(1), sampled=True)
    assert (report["ties"], report["kl"]["per_sequence"]) == (3, 0.0)


# -- prompts ------------------------------------------------------------------------------------------------


def test_prompts_to_watch_are_not_trained_on(run_folder, inputs):
    folder = run_folder("ppo", inputs, CONFIG)
    training, watched = ppo.choose_prompts(folder, folder.config(PPOStageConfig))
    assert len(watched) == 3
    assert len(training) + 3 <= 24
    assert not {prompt.id for prompt in training} & {prompt.id for prompt in watched}


def test_a_watched_prompt_is_taken_out_of_training(run_folder, inputs, tmp_path):
    rows = [{"id": "w", "prompt": [{"role": "user", "content": "Say 5"}]}]
    watched = write_rows(tmp_path / "watched.jsonl", rows)
    folder = run_folder("ppo", {**inputs, "eval_prompts": watched}, CONFIG)
    training, held_out = ppo.choose_prompts(folder, folder.config(PPOStageConfig))
    assert [prompt.id for prompt in held_out] == ["w"]
    assert len(training) == 23
    assert "p5" not in {prompt.id for prompt in training}


def test_a_single_prompt_is_both_trained_on_and_watched(run_folder, inputs, tmp_path):
    only = write_rows(tmp_path / "one.jsonl", [{"prompt": [{"role": "user", "content": "Hi"}]}])
    folder = run_folder("ppo", {**inputs, "prompts": only}, CONFIG)
    training, watched = ppo.choose_prompts(folder, folder.config(PPOStageConfig))
    assert len(training) == len(watched) == 1
    assert "those trained on are watched" in events_of(folder, "log")[0]["message"]


# -- critic, arguments, memory ------------------------------------------------------------------------------


def test_the_critic_takes_over_the_reward_models_head_in_units_of_the_score(inputs):
    talk = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]]
    raw = RewardModelScorer(inputs["reward_model"], dtype=torch.float32).score(talk)[0]
    tokenizer = load_tokenizer(inputs["reward_model"])
    ids = torch.tensor([tokenizer.apply_chat_template(talk[0], tokenize=True, return_dict=True)["input_ids"]])
    critic = Critic.from_reward_model(inputs["reward_model"], mean=2.0, deviation=0.5)
    assert critic(ids, torch.ones_like(ids))[0, -1].item() == pytest.approx((raw - 2.0) / 0.5, abs=1e-4)


def test_the_critic_starts_from_the_policy_where_tokens_differ(run_folder, inputs, tmp_path):
    policy = tmp_path / "policy"
    tiny_policy().save_pretrained(policy)
    tokenizer = toy_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(policy)
    folder = run_folder("ppo", {**inputs, "policy": policy}, CONFIG)
    critic, origin = ppo.make_critic(folder, folder.config(PPOStageConfig), Calibration())
    assert origin == "policy"
    assert critic.head.weight.abs().sum() == 0


def test_settings_reach_the_trainer(run_folder, inputs):
    config = {**CONFIG, "rollout_size": 24, "minibatches": 2, "epochs": 3, "micro_batch_size": 5, "save_every": 7}
    folder = run_folder("ppo", inputs, {**config, "kl_coef": 0.2, "clip_range": 0.3, "gamma": 0.9})
    arguments = ppo.trainer_arguments(folder.config(PPOStageConfig), folder)
    assert arguments.per_device_train_batch_size == 4  # the largest share of 12 that is at most 5
    assert arguments.gradient_accumulation_steps == 3
    assert arguments.generation_batch_size == 24
    assert arguments.updates_per_rollout == 6
    assert arguments.max_steps == 18
    assert arguments.save_steps == 42
    assert (arguments.kl_coef, arguments.epsilon, arguments.gamma) == (0.2, 0.3, 0.9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rollout_size": 9, "minibatches": 3}, "even"), ({"rollout_size": 10, "minibatches": 4}, "multiple")],
)
def test_rollouts_that_cannot_be_shared_out_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        PPOStageConfig(**settings)


def test_models_that_cannot_fit_are_refused_before_anything_is_loaded(run_folder, inputs, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000)
    monkeypatch.setattr(ppo, "load_policy", lambda *args, **kwargs: pytest.fail("loaded"))
    with pytest.raises(StageError, match=r"The models need .* GiB .* only 0\.00 GiB"):
        ppo.run(run_folder("ppo", inputs, CONFIG))


def test_memory_is_counted_from_the_configs(inputs):
    size = memory.model_size(inputs["policy"])
    policy = tiny_policy()
    assert size.parameters == sum(weight.numel() for weight in policy.parameters())
    need = memory.ppo_need(size, size, size, weights=torch.float32, scoring=torch.bfloat16, rank=None)
    assert need.parts["reference"] == need.parts["policy"] == 4 * size.parameters
    assert need.parts["reward model"] == 2 * size.parameters
    assert need.total == (4 * 3 + 2 + 12 * 2) * size.parameters
    lora = memory.ppo_need(size, size, size, weights=torch.bfloat16, scoring=torch.bfloat16, rank=4)
    assert lora.parts["reference"] == 0
    trained = 2 * size.adapters(4)
    assert lora.parts["adapters, gradients and optimizer"] == 16 * trained


def test_memory_of_a_container_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory._free_in_container(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_in_container(tmp_path) == 2**63
    assert memory._free_in_container(tmp_path / "nowhere") == 2**63
