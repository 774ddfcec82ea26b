"""Training a reward model: it learns, loses no pair, and lands on the same weights after a stop, a kill or a crash."""

import json
import math
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.ml import stopping
from pipeline.ml.__main__ import main
from pipeline.ml.data import pair_of
from pipeline.ml.models import load_reward_model, load_tokenizer, new_reward_model, score_sequences
from pipeline.ml.records import Events, RunFolder, read_events
from pipeline.ml.trainers.reward import PreferenceTrainer, centring_penalty, encode_pairs, soft_preference_loss
from pipeline.ml.trainers.sampling import LengthBucketSampler
from tests.ml.conftest import preference_rows, stage_process, write_rows, write_run

LINEAR = [*(f"self_attn.{side}_proj" for side in "qkvo"), *(f"mlp.{part}_proj" for part in ("gate", "up", "down"))]
FAST = {"dtype": "float32", "learning_rate": 3e-3, "batch_size": 4, "gradient_accumulation": 1, "lora_rank": 4}


@pytest.fixture
def training(tmp_path, tiny_model_folder):
    """Make a train_reward run on 12 pairs (3 batches) with 8 held-out ones; returns its run.json."""
    train = write_rows(tmp_path / "train.jsonl", preference_rows(12))
    held_out = write_rows(tmp_path / "eval.jsonl", preference_rows(8, start=100))
    inputs = {"base": tiny_model_folder, "train": train, "eval": held_out}

    def make(name, **config):
        return write_run(tmp_path / name, "train_reward", inputs, {**FAST, **config})

    return make


def result_of(run_file):
    return json.loads((run_file.parent / "result.json").read_text())


def events_of(run_file, kind):
    return [event for event in read_events(run_file.parent / "events.jsonl")[0] if event["event"] == kind]


def weights_of(run_file):
    return load_file(run_file.parent / "model" / "model.safetensors")


def assert_same_weights(one, other):
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) <= 1e-6


def stop_after(monkeypatch, step):
    """Send this process a SIGTERM when the metrics of a step are written: the stage stops one step later."""
    write = Events.metric

    def metric(self, at, **values):
        write(self, at, **values)
        if at == step and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Events, "metric", metric)


def stop_in_batch(monkeypatch, number):
    """Send this process a SIGTERM in the forward pass of the n-th training batch."""
    compute = PreferenceTrainer.compute_loss
    seen = []

    def compute_loss(self, *arguments, **options):
        seen.append(None)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return compute(self, *arguments, **options)

    monkeypatch.setattr(PreferenceTrainer, "compute_loss", compute_loss)


def stopped_scoring(model, sequences, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return score_sequences(model, sequences, **options)


def test_soft_preference_loss():
    """Golden numbers of the methods reference, 1.1 and 1.4; in float32, where exp(40) would not fit a sum."""
    margins = torch.tensor([1.5, -0.2, -40.0, 1.5, 1.5, 1.5])
    probability = torch.tensor([1.0, 1.0, 1.0, 0.8, 0.9, 5 / 7])
    expected = torch.tensor([0.201413, 0.798139, 40.0, 0.501413, 0.351413, 0.629985])
    assert torch.allclose(soft_preference_loss(margins, probability), expected, atol=1e-6)


def test_the_gradient_of_the_loss_is_the_probability_that_was_missing():
    margin = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    soft_preference_loss(margin, torch.tensor([1.0], dtype=torch.float64)).sum().backward()
    assert margin.grad.item() == pytest.approx(-0.182426, abs=1e-6)


def test_soft_labels_are_best_met_at_their_logit():
    margin = torch.tensor([math.log(4)], dtype=torch.float64, requires_grad=True)
    loss = soft_preference_loss(margin, torch.tensor([0.8], dtype=torch.float64)).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0.500402, abs=1e-6)
    assert margin.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_centring_penalty():
    """Golden numbers of the methods reference, 1.6."""
    penalty = centring_penalty(torch.tensor([2.0, -1.0]), torch.tensor([0.5, -1.5]), 0.01)
    assert penalty.item() == pytest.approx(0.0625, abs=1e-6)


def test_a_long_prompt_loses_its_beginning_and_no_pair_is_lost(tiny_model_folder):
    tokenizer = load_tokenizer(tiny_model_folder)
    pairs = [
        pair_of({"prompt": "x" * 300, "chosen": "yes", "rejected": "no"}),
        pair_of({"prompt": "Hi", "chosen": "yes", "rejected": "no"}),
    ]
    encoded = encode_pairs(tokenizer, pairs, 64)

    assert (len(encoded.chosen), len(encoded.rejected), encoded.shortened) == (2, 2, 2)
    assert len(encoded.chosen[0]) == len(encoded.rejected[0]) == 64
    assert tokenizer.decode(encoded.chosen[0]).endswith("<|start|>assistant\nyes<|end|>\n")
    assert tokenizer.decode(encoded.rejected[0]).endswith("<|start|>assistant\nno<|end|>\n")


def test_each_pass_sees_every_pair_once_in_batches_of_like_length():
    lengths = [number % 50 + 1 for number in range(230)]
    order = list(LengthBucketSampler(lengths, 4, seed=1, epoch=lambda: 0))
    spread = [
        max(lengths[index] for index in batch) - min(lengths[index] for index in batch)
        for batch in (order[start : start + 4] for start in range(0, 228, 4))
    ]

    assert sorted(order) == list(range(230))
    assert sum(spread) / len(spread) < 3  # 30 for batches drawn at random
    assert order == list(LengthBucketSampler(lengths, 4, seed=1, epoch=lambda: 0))
    assert order != list(LengthBucketSampler(lengths, 4, seed=1, epoch=lambda: 1))
    assert order != list(LengthBucketSampler(lengths, 4, seed=2, epoch=lambda: 0))


def test_a_new_head_starts_near_zero_and_in_float32(tiny_model_folder):
    tokenizer = load_tokenizer(tiny_model_folder)
    model = new_reward_model(tiny_model_folder, tokenizer, dtype=torch.bfloat16, seed=1)
    rewards = score_sequences(model, [[5, 6, 7], [8, 9]], batch_size=2)

    assert model.score.weight.dtype == torch.float32
    assert model.score.weight.std().item() == pytest.approx(1 / 33, rel=0.4)
    first_loss = soft_preference_loss(torch.tensor([rewards[0] - rewards[1]]), torch.tensor([1.0]))
    assert first_loss.item() == pytest.approx(math.log(2), abs=0.25)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_training_learns_and_reports(training, lora):
    run_file = training("run", lora=lora, warm_start=False, epochs=12, eval_every=6, save_every=100)
    assert main(["train_reward", str(run_file)]) == 0

    result = result_of(run_file)
    assert (result["steps"], result["pairs"], result["shortened"], result["head"]) == (36, 12, 0, None)
    assert result["eval"]["accuracy"] > 0.85
    assert result["eval"]["baselines"]["longer"]["n"] == 8
    metrics = events_of(run_file, "metric")
    losses = {event["step"]: event["values"]["loss"] for event in metrics if "loss" in event["values"]}
    assert sorted(losses) == list(range(1, 37))
    assert losses[1] == pytest.approx(math.log(2), abs=0.1)
    assert losses[36] < 0.3
    watched = [event for event in metrics if "eval_accuracy" in event["values"]]
    assert [event["step"] for event in watched] == [6, 12, 18, 24, 30, 36]
    last = watched[-1]["values"]
    assert last["eval_accuracy_low"] <= last["eval_accuracy"] <= last["eval_accuracy_high"]
    progress = [event for event in events_of(run_file, "progress") if event["stage"] == "training"]
    assert (progress[-1]["step"], progress[-1]["total"], progress[-1]["seconds_left"]) == (36, 36, 0.0)
    assert progress[-1]["tokens_per_second"] > 0
    assert progress[-1]["memory_bytes"] > 0


def test_the_saved_model_is_an_ordinary_folder_that_gives_the_same_rewards(training):
    run_file = training("run", epochs=2)
    main(["train_reward", str(run_file)])
    folder = run_file.parent / "model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert type(model).__name__ == "LlamaForSequenceClassification"
    assert (model.config.num_labels, model.config.pad_token_id) == (1, 0)
    assert tokenizer.pad_token != tokenizer.eos_token
    chat = [{"role": "user", "content": "Question 1?"}, {"role": "assistant", "content": "yes"}]
    ids = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    stock = model.eval()(torch.tensor([ids])).logits[0, 0].item()
    ours = score_sequences(load_reward_model(folder, dtype=torch.float32), [ids], batch_size=1)[0]
    assert stock == pytest.approx(ours, abs=1e-5)


def test_the_fitted_head_alone_already_separates(training):
    run_file = training("run", method="head_only")
    assert main(["train_reward", str(run_file)]) == 0

    result = result_of(run_file)
    assert (result["steps"], result["method"]) == (0, "head_only")
    assert result["eval"]["accuracy"] == 1.0
    assert result["head"]["held_out_accuracy"] == 1.0
    assert result["head"]["ridge"] in [pytest.approx(10**power) for power in (-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1)]


def test_adapters_in_the_topmost_block_leave_those_below_alone(training, tiny_model_folder):
    run_file = training("run", lora_layers=1)
    assert main(["train_reward", str(run_file)]) == 0
    before, after = load_file(tiny_model_folder / "model.safetensors"), weights_of(run_file)
    changed = {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}
    assert changed == {f"model.layers.1.{part}.weight" for part in LINEAR}


def test_a_warm_start_begins_where_the_fitted_head_ends(training):
    run_file = training("run", max_steps=1)
    main(["train_reward", str(run_file)])
    first = next(event["values"] for event in events_of(run_file, "metric"))
    assert (first["accuracy"], first["loss"] < 0.5) == (1.0, True)


def test_soft_labels_reach_the_loss(training):
    """Labels that are 60% sure hold the margins near logit(0.6) = 0.41; sure ones push them apart."""
    sure = training("sure", method="head_only", head_ridge=1e-3)
    main(["train_reward", str(sure)])
    train = sure.parent.parent / "train.jsonl"
    write_rows(train, [{**row, "probability": 0.6} for row in preference_rows(12)])
    unsure = training("unsure", method="head_only", head_ridge=1e-3)
    main(["train_reward", str(unsure)])

    assert result_of(sure)["eval"]["mean_margin"] > 2
    assert result_of(unsure)["eval"]["mean_margin"] == pytest.approx(0.405, abs=0.1)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_a_stopped_and_resumed_run_lands_on_the_same_weights(training, monkeypatch, lora):
    """Nine steps in three passes; the stop falls in the middle of the second."""
    straight, halved = (training(name, epochs=3, lora=lora, save_every=100) for name in ("straight", "halved"))
    assert main(["train_reward", str(straight)]) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, step=4)
        assert main(["train_reward", str(halved)]) == 130
    assert [event["step"] for event in events_of(halved, "stopped")] == [5]
    assert RunFolder(halved.parent).latest_checkpoint().name == "checkpoint-5"
    assert not (halved.parent / "model").exists()

    stopping.clear()
    assert main(["train_reward", str(halved)]) == 0
    assert "Resumed at step 5 of 9." in [event["message"] for event in events_of(halved, "log")]
    assert_same_weights(straight, halved)
    steps = [event["step"] for event in events_of(halved, "metric") if "loss" in event["values"]]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_stop_does_not_wait_for_the_rest_of_a_step(training, monkeypatch):
    """Three micro-batches a step: the stop comes after the second one of step 3, whose work is done again."""
    settings = {"epochs": 4, "batch_size": 1, "gradient_accumulation": 3, "save_every": 2, "eval_every": 0}
    straight, halved = training("straight", **settings), training("halved", **settings)
    main(["train_reward", str(straight)])
    with monkeypatch.context() as patch:
        stop_in_batch(patch, number=8)
        assert main(["train_reward", str(halved)]) == 130
    assert [event["step"] for event in events_of(halved, "stopped")] == [2]
    assert [event["step"] for event in events_of(halved, "checkpoint")] == [2]
    assert [event["step"] for event in events_of(halved, "metric")] == [1, 2]

    stopping.clear()
    assert main(["train_reward", str(halved)]) == 0
    assert_same_weights(straight, halved)


def test_a_stop_during_an_evaluation_keeps_the_step_before_it(training, monkeypatch):
    run_file = training("run", epochs=3, eval_every=2, save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.ml.trainers.reward.score_sequences", stopped_scoring)
        assert main(["train_reward", str(run_file)]) == 130
    assert RunFolder(run_file.parent).latest_checkpoint().name == "checkpoint-2"

    stopping.clear()
    assert main(["train_reward", str(run_file)]) == 0


def test_each_pass_has_an_order_of_its_own_also_after_a_resume(training, monkeypatch):
    passes = []
    order = LengthBucketSampler.__iter__
    monkeypatch.setattr(LengthBucketSampler, "__iter__", lambda self: passes.append(list(order(self))) or order(self))
    run_file = training("run", epochs=3)
    with monkeypatch.context() as patch:
        stop_after(patch, step=4)
        main(["train_reward", str(run_file)])
    stopping.clear()
    main(["train_reward", str(run_file)])

    first, second, second_again, third = passes
    assert second == second_again
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_the_same_seed_gives_the_same_model_and_another_seed_another(training):
    runs = [training("first"), training("second"), training("third")]
    spec = json.loads(runs[2].read_text())
    runs[2].write_text(json.dumps({**spec, "seed": 18, "config": {**spec["config"], "warm_start": False}}))
    for run_file in runs:
        main(["train_reward", str(run_file)])

    assert_same_weights(runs[0], runs[1])
    with pytest.raises(AssertionError):
        assert_same_weights(runs[0], runs[2])


def wait_for(run_file, kind, process):
    """Wait until a stage process has written an event of a kind."""
    deadline = time.monotonic() + 120
    while not events_of(run_file, kind):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {kind} event"
        time.sleep(0.01)


@pytest.mark.stage
def test_a_killed_run_goes_on_from_its_last_checkpoint(training):
    run_file = training("run", max_steps=60, epochs=100, save_every=5, eval_every=0)
    process = stage_process("train_reward", run_file)
    wait_for(run_file, "checkpoint", process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = int(RunFolder(run_file.parent).latest_checkpoint().name.removeprefix("checkpoint-"))
    assert not RunFolder.is_held(run_file.parent)

    assert main(["train_reward", str(run_file)]) == 0
    assert f"Resumed at step {reached} of 60." in [event["message"] for event in events_of(run_file, "log")]
    assert result_of(run_file)["steps"] == 60


@pytest.mark.stage
def test_sigterm_stops_a_stage_process_at_a_step(training):
    run_file = training("run", epochs=1000, save_every=5, eval_every=0)
    process = stage_process("train_reward", run_file)
    wait_for(run_file, "checkpoint", process)
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=60) == 130
    stopped = events_of(run_file, "stopped")[-1]["step"]
    assert RunFolder(run_file.parent).latest_checkpoint().name == f"checkpoint-{stopped}"
    assert "start again to go on from there" in process.communicate()[1]


def test_a_base_without_a_chat_template_is_refused(training, tiny_model_folder, tmp_path):
    run_file = training("run")
    bare = tmp_path / "bare"
    AutoTokenizer.from_pretrained(tiny_model_folder).save_pretrained(bare)
    (bare / "chat_template.jinja").unlink()
    spec = json.loads(run_file.read_text())
    spec["inputs"]["base"] = {"path": str(bare)}
    run_file.write_text(json.dumps(spec))

    assert main(["train_reward", str(run_file)]) == 1
    failed = events_of(run_file, "failed")[-1]
    assert failed["expected"] is True
    assert "has no chat template" in failed["message"]
