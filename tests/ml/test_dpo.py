import json
import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from trl import DPOConfig

from pipeline.ml import stopping
from pipeline.ml.__main__ import main
from pipeline.ml.data import Pair, pair_of
from pipeline.ml.models import load_policy
from pipeline.ml.records import Events, RunFolder, StageError, Stopped, read_events
from pipeline.ml.trainers import dpo
from pipeline.ml.trainers.pair_tokens import encode_answer, encode_pair, encode_pairs
from pipeline.ml.trainers.reference import PairLogProbs, pair_log_probs
from pipeline.ml.trainers.reward import soft_preference_loss
from pipeline.ml.trainers.soft_dpo import (
    DisplacementWatch,
    HeldOut,
    SoftDPOTrainer,
    dpo_dataset,
    fall,
    held_out_metrics,
    implicit_accuracy,
    smoothed,
)
from tests.ml.conftest import preference_rows, stage_process, tiny_policy, tiny_tokenizer, write_rows, write_run

# One pair as in the method reference, 1.3: log-ratios c and r, beta, and the margin h = beta·(c − r).
C, R, BETA, H = 0.5, -0.7, 0.1, 0.12
FAST = {"learning_rate": 3e-3, "batch_size": 2, "gradient_accumulation": 2, "dtype": "float32", "eval_every": 5}


def soft_pairs(count):
    """Learnable pairs whose labels are of different certainty."""
    return [
        pair_of(row | {"probability": probability})
        for row, probability in zip(preference_rows(count), [1.0, 0.9, 0.7, 0.5] * count, strict=False)
    ]


def loss_of(policy, pairs, *, loss=("sigmoid",), weights=(1.0,), reference_seed=4, beta=BETA):
    """(SoftDPOTrainer's loss on one batch, log-ratios c and r of that batch, its encoded pairs)."""
    tokenizer = tiny_tokenizer()
    encoded = encode_pairs(tokenizer, pairs, 256)
    reference = pair_log_probs(tiny_policy(seed=reference_seed).eval(), encoded.tokens, pad=0)
    own = pair_log_probs(policy.eval(), encoded.tokens, pad=0)
    dataset = dpo_dataset(encoded.pairs, encoded.tokens, reference, 0.0)
    trainer = trainer_of(policy, dataset, loss_type=list(loss), loss_weights=list(weights), beta=beta)
    batch = trainer.data_collator([dataset[place] for place in range(len(dataset))])
    found = trainer.compute_loss(trainer.model, batch).item()
    return found, *own.minus(reference), encoded


def trainer_of(policy, dataset, **settings):
    arguments = DPOConfig(
        output_dir="unused",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        precompute_ref_log_probs=True,
        report_to="none",
        **settings,
    )
    folder = type("Folder", (), {"events": Events(None)})()
    return SoftDPOTrainer(
        model=policy,
        args=arguments,
        folder=folder,
        processing_class=tiny_tokenizer(),
        train_dataset=dataset,
        held_out=None,
    )


@pytest.fixture
def pairs_files(tmp_path):
    return {
        "train": write_rows(tmp_path / "train.jsonl", preference_rows(24)),
        "eval": write_rows(tmp_path / "eval.jsonl", preference_rows(12, start=100)),
    }


@pytest.fixture
def dpo_run(run_folder, tiny_model_folder, pairs_files):
    """Make a run folder of DPO on the tiny model."""

    def make(config=None, name="run", **inputs):
        given = {"policy": tiny_model_folder, **pairs_files, **inputs}
        return run_folder(
            "dpo", {key: value for key, value in given.items() if value}, FAST | (config or {}), name=name
        )

    return make


def metrics(folder, name):
    events = read_events(folder.path / "events.jsonl")[0]
    return [
        (event["step"], event["values"][name])
        for event in events
        if event["event"] == "metric" and name in event["values"]
    ]


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder.model, dtype=torch.float32).state_dict()


# ---- the loss


@pytest.mark.parametrize(("probability", "golden"), [(1.0, 0.634946), (0.9, 0.646946), (0.7, 0.670946)])
def test_the_soft_loss_has_the_reference_s_golden_numbers(probability, golden):
    loss = soft_preference_loss(torch.tensor([H], dtype=torch.float64), torch.tensor([probability]))
    assert loss.item() == pytest.approx(golden, abs=1e-6)


def test_the_soft_loss_is_least_where_the_margin_is_the_label_s_logit():
    margin = torch.tensor([math.log(0.7 / 0.3)], requires_grad=True)
    soft_preference_loss(margin, torch.tensor([0.7])).backward()
    assert margin.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_s_weight_is_that_of_the_reference():
    ratio = torch.tensor([C - R], dtype=torch.float64, requires_grad=True)
    soft_preference_loss(BETA * ratio, torch.tensor([1.0])).backward()
    assert -ratio.grad.item() / BETA == pytest.approx(0.470036, abs=1e-6)


def test_the_trainer_s_loss_is_the_soft_loss_of_independent_log_ratios():
    pairs = soft_pairs(4)
    found, c, r, _ = loss_of(tiny_policy(), pairs, beta=2.0)
    probability = torch.tensor([pair.probability for pair in pairs])
    expected = soft_preference_loss(2.0 * (c - r), probability).mean().item()
    hard = soft_preference_loss(2.0 * (c - r), torch.ones(4)).mean().item()
    assert found == pytest.approx(expected, abs=2e-5)
    assert abs(expected - hard) > 1e-3  # the test can tell them apart


def test_hard_labels_give_trl_s_own_loss():
    found, c, r, _ = loss_of(tiny_policy(), soft_pairs(4)[:1], beta=2.0)
    assert found == pytest.approx(-torch.nn.functional.logsigmoid(2.0 * (c - r)).mean().item(), abs=2e-5)


def test_the_imitation_term_is_the_token_mean_of_the_chosen_answers():
    policy = tiny_policy()
    found, c, r, encoded = loss_of(policy, soft_pairs(3), loss=("sigmoid", "sft"), weights=(1.0, 0.2))
    chosen = pair_log_probs(policy.eval(), encoded.tokens, pad=0).chosen
    tokens = sum(len(pair.chosen) for pair in encoded.tokens)
    probability = torch.tensor([pair.probability for pair in encoded.pairs])
    soft = soft_preference_loss(BETA * (c - r), probability).mean().item()
    assert found == pytest.approx(soft - 0.2 * chosen.sum().item() / tokens, abs=2e-5)


def test_ipo_leaves_soft_labels_aside():
    found, c, r, encoded = loss_of(tiny_policy(), soft_pairs(3), loss=("ipo",))
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in encoded.tokens]
    gaps = [cc / n - rr / m for cc, rr, (n, m) in zip(c.tolist(), r.tolist(), lengths, strict=True)]
    assert found == pytest.approx(np.mean([(gap - 1 / (2 * BETA)) ** 2 for gap in gaps]), abs=1e-3)


def test_soft_labels_reach_the_gradient():
    gradients = []
    for probability in (1.0, 0.5):
        policy = tiny_policy()
        pairs = [pair_of(row | {"probability": probability}) for row in preference_rows(2)]
        tokens = encode_pairs(tiny_tokenizer(), pairs, 256).tokens
        reference = pair_log_probs(policy.eval(), tokens, pad=0)
        dataset = dpo_dataset(pairs, tokens, reference, 0.0)
        trainer = trainer_of(policy, dataset)
        trainer.compute_loss(policy, trainer.data_collator(list(dataset))).backward()
        gradients.append(sum(item.grad.abs().sum().item() for item in policy.parameters()))
    assert gradients[0] > 1e-3
    assert gradients[1] == pytest.approx(0.0, abs=1e-5)  # at the start h = 0, which is what an even label wants


def test_label_smoothing_flips_a_share_of_the_labels():
    assert smoothed(1.0, 0.1) == pytest.approx(0.9)
    assert smoothed(0.9, 0.1) == pytest.approx(0.82)
    assert smoothed(0.5, 0.3) == pytest.approx(0.5)


# ---- tokens


def test_a_pair_is_split_where_the_assistant_begins_and_ends_with_the_end_token():
    tokenizer = tiny_tokenizer()
    pair = pair_of(preference_rows(3)[2])
    tokens = encode_pair(tokenizer, pair)
    assert tokenizer.decode(tokens.prompt).endswith("<|start|>assistant\n")
    assert tokenizer.decode(tokens.chosen) == "yes..<|end|>"
    assert tokenizer.decode(tokens.rejected) == "no..<|end|>"
    assert tokens.chosen[-1] == tokens.rejected[-1] == tokenizer.eos_token_id


def test_a_long_prompt_loses_its_beginning_and_answers_keep_their_end():
    tokenizer = tiny_tokenizer()
    pair = Pair(
        prompt=[{"role": "user", "content": "x" * 200}],
        chosen=[{"role": "assistant", "content": "a" * 30}],
        rejected=[{"role": "assistant", "content": "b" * 10}],
    )
    encoded = encode_pairs(tokenizer, [pair], 64)
    tokens = encoded.tokens[0]
    assert len(tokens.prompt) + len(tokens.chosen) == 64
    assert tokens.chosen[-1] == tokens.rejected[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(tokens.prompt).endswith("x<|end|>\n<|start|>assistant\n")
    assert (encoded.shortened, encoded.left_out) == (1, 0)


def test_a_pair_whose_answer_leaves_no_room_is_left_out_and_never_cut():
    pair = Pair(
        prompt=[{"role": "user", "content": "why?"}],
        chosen=[{"role": "assistant", "content": "a" * 100}],
        rejected=[{"role": "assistant", "content": "b"}],
    )
    encoded = encode_pairs(tiny_tokenizer(), [pair], 64)
    assert (encoded.tokens, encoded.left_out) == ([], 1)


def test_a_template_without_end_token_is_refused():
    with pytest.raises(StageError, match="end an answer"):
        encode_answer(tiny_tokenizer(), "no end")


def test_a_template_that_opens_a_thought_parts_where_the_answers_part():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n{% endif %}", "assistant\n<think>{% endif %}"
    )
    tokens = encode_pair(tokenizer, pair_of(preference_rows(1)[0]))
    assert tokenizer.decode(tokens.prompt).endswith("<|start|>assistant\n")
    assert tokenizer.decode(tokens.chosen) == "yes<|end|>"


# ---- what is measured


def test_accuracy_has_an_interval_and_counts_ties_half():
    found = implicit_accuracy(np.array([1.0] * 59 + [0.0] * 2 + [-1.0] * 39), np.ones(100))
    assert found["accuracy"] == 0.6
    assert (found["accuracy_low"], found["accuracy_high"]) == (
        pytest.approx(0.502, abs=1e-4),
        pytest.approx(0.6906, abs=1e-4),
    )


def test_at_the_start_there_is_no_accuracy():
    assert implicit_accuracy(np.zeros(10), np.ones(10))["accuracy"] is None


def test_even_labels_have_no_right_side():
    found = implicit_accuracy(np.array([1.0, -1.0, -1.0]), np.array([1.0, 0.5, 0.5]))
    assert found["accuracy"] == 1.0


def test_held_out_metrics_of_two_pairs():
    zeros = torch.zeros(2)
    held_out = HeldOut(
        tokens=[],
        probability=torch.tensor([1.0, 0.9]),
        reference=PairLogProbs(torch.tensor([-10.0, -8.0]), torch.tensor([-10.0, -8.0])),
        start=PairLogProbs(zeros, zeros),
    )
    policy = PairLogProbs(torch.tensor([-9.5, -7.5]), torch.tensor([-10.7, -8.7]))
    found = held_out_metrics(held_out, policy, BETA)
    assert found["loss"] == pytest.approx((0.634946 + 0.646946) / 2, abs=1e-5)
    assert found["margin"] == pytest.approx(H)
    assert (found["accuracy"], found["logps_chosen"], found["logps_rejected"]) == (1.0, -8.5, pytest.approx(-9.7))


def test_displacement_warns_once_when_good_answers_lose_a_fifth(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    watch = DisplacementWatch(events)
    watch.update(-110.0, -100.0)
    assert read_events(tmp_path / "events.jsonl")[0] == []
    for _ in range(5):
        watch.update(-150.0, -100.0)
    found = read_events(tmp_path / "events.jsonl")[0]
    assert [event["level"] for event in found] == ["warning"]
    assert "sft_weight" in found[0]["message"]


def test_a_fall_is_a_share_of_the_reference():
    assert fall(-120.0, -100.0) == pytest.approx(0.2)
    assert fall(-90.0, -100.0) == pytest.approx(-0.1)


# ---- the stage


def test_dpo_learns_held_out_pairs(dpo_run):
    folder = dpo_run({"epochs": 4})
    result = dpo.run(folder)
    report = result["eval"]
    assert result["steps"] == 24
    assert (report["n"], report["accuracy"]) == (12, 1.0)
    assert report["low"] > 0.7
    assert report["baselines"]["longer"]["n"] == 12
    assert report["by_length"]["chosen_longer"]["n"] + report["by_length"]["chosen_shorter"]["n"] <= 12
    start, accuracy = metrics(folder, "eval_accuracy")[0], metrics(folder, "eval_accuracy")[-1]
    assert start == (0, None)
    assert accuracy == (24, 1.0)
    assert metrics(folder, "eval_loss")[0] == (0, pytest.approx(math.log(2)))
    assert metrics(folder, "accuracy")[:2] == [(1, None), (2, None)]
    for name in ("loss", "margin", "learning_rate", "grad_norm", "logps_chosen", "logps_rejected"):
        assert len(metrics(folder, name)) == 24


def test_the_policy_is_saved_whole_and_differs_from_its_start(dpo_run, tiny_model_folder):
    folder = dpo_run({"max_steps": 6})
    dpo.run(folder)
    assert not (folder.model / "adapter_config.json").exists()
    policy = load_policy(folder.model, dtype=torch.float32).state_dict()
    start = load_policy(tiny_model_folder, dtype=torch.float32).state_dict()
    assert policy.keys() == start.keys()
    assert not torch.equal(policy["model.layers.0.mlp.up_proj.weight"], start["model.layers.0.mlp.up_proj.weight"])
    assert (folder.model / "chat_template.jinja").exists()


@pytest.mark.parametrize("lora", [True, False])
def test_a_run_resumed_from_a_checkpoint_ends_as_the_straight_one(dpo_run, monkeypatch, lora):
    config = {"epochs": 2, "save_every": 3, "lora": lora, "learning_rate": 1e-3}
    straight = dpo_run(config, name="straight")
    expected = dpo.run(straight)
    resumed = dpo_run(config, name="resumed")
    _stop_at_step(monkeypatch, 7)
    with pytest.raises(Stopped) as stop:
        dpo.run(resumed)
    assert stop.value.step == 7
    stopping.clear()
    monkeypatch.undo()
    read_before = {path: path.stat().st_mtime_ns for path in resumed.path.glob("reference-*.json")}
    result = dpo.run(RunFolder(resumed.path))
    assert {path.name for path in read_before} == {"reference-train.json", "reference-eval.json"}
    assert all(path.stat().st_mtime_ns == at for path, at in read_before.items()), "what it said is read once"
    assert result["steps"] == expected["steps"] == 12
    assert result["eval"] == expected["eval"]
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert metrics(resumed, "loss") == metrics(straight, "loss")


def _stop_at_step(monkeypatch, step):
    original = dpo.StageCallback.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == step:
            stopping._requested.set()
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(dpo.StageCallback, "on_step_end", on_step_end)


def test_a_stop_asked_for_while_evaluating_saves_the_training(dpo_run, monkeypatch):
    folder = dpo_run({"epochs": 2, "eval_every": 4, "save_every": 100})
    original = SoftDPOTrainer.held_out_log_probs

    def asked(self):
        stopping._requested.set()
        return original(self)

    monkeypatch.setattr(SoftDPOTrainer, "held_out_log_probs", asked)
    with pytest.raises(Stopped):
        dpo.run(folder)
    assert folder.latest_checkpoint().name == "checkpoint-4"


def test_the_reference_is_the_start_and_not_the_checkpoint(dpo_run, tiny_model_folder):
    folder = dpo_run({"max_steps": 4, "lora": False})
    dpo.run(folder)
    kept = json.loads((folder.path / "reference-train.json").read_text())
    pairs = [pair_of(row) for row in preference_rows(24)]
    tokens = encode_pairs(tiny_tokenizer(), pairs, 1024).tokens
    start = pair_log_probs(load_policy(tiny_model_folder, dtype=torch.float32), tokens, pad=0)
    assert kept["chosen"] == pytest.approx(start.chosen.tolist(), abs=1e-5)


def test_a_reference_of_its_own_is_used_and_the_charts_begin_at_the_start(dpo_run, tmp_path):
    reference = tmp_path / "reference"
    tiny_policy(seed=9).save_pretrained(reference)
    tiny_tokenizer().save_pretrained(reference)
    folder = dpo_run({"max_steps": 2}, reference=reference)
    dpo.run(folder)
    assert metrics(folder, "eval_loss")[0][1] != pytest.approx(math.log(2), abs=1e-4)
    assert metrics(folder, "eval_accuracy")[0][1] is not None
    kept = json.loads((folder.path / "reference-eval.json").read_text())
    assert kept != json.loads((folder.path / "start-eval.json").read_text())


def test_a_reference_of_another_family_is_refused(dpo_run, tmp_path):
    reference = tmp_path / "reference"
    tiny_policy().save_pretrained(reference)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(reference)
    with pytest.raises(StageError, match="other tokens"):
        dpo.run(dpo_run(reference=reference))


def test_without_held_out_pairs_there_is_no_report(dpo_run):
    folder = dpo_run({"max_steps": 2}, eval=None)
    assert dpo.run(folder)["eval"] is None
    assert metrics(folder, "eval_loss") == []


def test_no_pair_that_fits_is_a_sentence(dpo_run, tmp_path):
    row = preference_rows(1)[0] | {"chosen": [{"role": "assistant", "content": "y" * 20}]}
    with pytest.raises(StageError, match="raise max_length"):
        dpo.run(dpo_run({"max_length": 16}, train=write_rows(tmp_path / "long.jsonl", [row])))


def test_a_killed_process_goes_on_from_its_checkpoint(dpo_run, tiny_model_folder, pairs_files, tmp_path):
    config = FAST | {"epochs": 200, "save_every": 5, "eval_every": 0}
    run = write_run(tmp_path / "run", "dpo", {"policy": tiny_model_folder, "train": pairs_files["train"]}, config)
    process = stage_process("dpo", run)
    folder = RunFolder(run.parent)
    deadline = time.monotonic() + 90
    while folder.latest_checkpoint() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    step = int(folder.latest_checkpoint().name.split("-")[1])
    spec = json.loads(run.read_text())
    spec["config"]["max_steps"] = step + 3
    run.write_text(json.dumps(spec))
    assert main(["dpo", str(run)]) == 0
    logs = [event["message"] for event in read_events(run.parent / "events.jsonl")[0] if event["event"] == "log"]
    assert any(message.startswith("Resumed at step ") for message in logs)
    assert json.loads((run.parent / "result.json").read_text())["steps"] == step + 3
