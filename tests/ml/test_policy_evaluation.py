import json

import numpy as np
import pytest
import torch

from pipeline.ml import stopping
from pipeline.ml.data import Prompt, encode_prompt
from pipeline.ml.evaluation import policy as evaluation
from pipeline.ml.evaluation.policy import Compared, policy_report, win_rate
from pipeline.ml.models import load_policy, new_reward_model
from pipeline.ml.records import StageError, Stopped, read_events
from tests.ml.conftest import tiny_policy, tiny_tokenizer, write_rows

CONFIG = {"max_new_tokens": 10, "dtype": "float32", "bootstrap_samples": 200}


@pytest.fixture(scope="module")
def other_policy(tmp_path_factory):
    """A policy that is far from the tiny one: sharper, by larger embeddings."""
    folder = tmp_path_factory.mktemp("other")
    model = tiny_policy(seed=5)
    model.get_input_embeddings().weight.data.mul_(12)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = tiny_tokenizer()
    new_reward_model(tiny_model_folder, tokenizer, dtype=torch.float32, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def compare(run_folder, tiny_model_folder, reward_model, tmp_path):
    """Make the run folder of a comparison with the tiny model."""

    def make(policy, prompts=6, config=None, name="run"):
        rows = [
            {"id": f"p{number}", "prompt": [{"role": "user", "content": f"Say {number}"}]} for number in range(prompts)
        ]
        inputs = {
            "policy": policy,
            "start": tiny_model_folder,
            "reward_model": reward_model,
            "prompts": write_rows(tmp_path / "prompts.jsonl", rows),
        }
        return run_folder("evaluate_policy", inputs, CONFIG | (config or {}), name=name)

    return make


def samples(folder):
    return [json.loads(line) for line in (folder.path / "samples.jsonl").read_text().splitlines()]


def compared(*, gap, log_ratio=0.0, tokens=1, finished=True, content="same"):
    row = {"tokens": tokens, "finished": finished}
    return Compared(
        prompt=Prompt("p", [{"role": "user", "content": content}]),
        before={"tokens": 2, "finished": True},
        after=row,
        reward_before=1.0,
        reward_after=1.0 + gap,
        log_ratio=log_ratio,
    )


def test_win_rate_without_ties_has_wilson_s_interval():
    report = win_rate(np.array([1.0] * 60 + [-1.0] * 40), [str(n) for n in range(100)])
    assert (report["wins"], report["ties"], report["losses"]) == (60, 0, 40)
    assert report["win_rate"] == 0.6
    assert (report["low"], report["high"]) == (pytest.approx(0.5020, abs=1e-4), pytest.approx(0.6906, abs=1e-4))
    assert report["interval"] == "wilson"


def test_ties_count_half():
    report = win_rate(np.array([0.5] * 55 + [0.0] * 10 + [-0.5] * 35), [str(n) for n in range(100)])
    assert report["win_rate"] == pytest.approx(0.60)
    assert report["ties"] == 10


def test_several_answers_to_one_prompt_are_one_cluster():
    gaps = np.array([1.0] * 30 + [-1.0] * 20)
    many = win_rate(gaps, [str(n) for n in range(50)])
    few = win_rate(gaps, [str(n // 10) for n in range(50)])  # five prompts, each all won or all lost
    assert few["interval"] == "bootstrap"
    assert few["win_rate"] == many["win_rate"] == 0.6
    assert few["high"] - few["low"] > 2 * (many["high"] - many["low"])


def test_the_report_s_numbers():
    rows = [
        compared(gap=2.0, log_ratio=0.2, tokens=1, content="a"),
        compared(gap=-1.0, log_ratio=-0.1, tokens=2, content="b"),
        compared(gap=0.0, log_ratio=0.4, tokens=3, content="c"),
        compared(gap=1.0, log_ratio=-0.3, tokens=4, finished=False, content="d"),
    ]
    report = policy_report(rows, sampled=True)
    assert (report["n"], report["prompts"], report["enough"]) == (4, 4, False)
    assert report["win_rate"] == 0.625
    reward = report["reward"]
    assert (reward["start"], reward["policy"], reward["difference"]) == (1.0, 1.5, 0.5)
    assert reward["low"] < 0.5 < reward["high"]
    assert report["kl"]["per_sequence"] == pytest.approx(0.05)  # k1 of the reference's golden log-ratios
    assert report["kl"]["per_token"] == pytest.approx(0.02)
    assert report["kl"]["low"] < 0.05 < report["kl"]["high"]
    assert report["length"] == {"start": 2.0, "policy": 2.5}
    assert report["eos"] == {"start": 1.0, "policy": 0.75}


def test_a_hundred_prompts_are_enough():
    rows = [compared(gap=1.0, content=str(number)) for number in range(100)]
    assert policy_report(rows, sampled=True, resamples=100)["enough"] is True
    assert policy_report(rows[:99], sampled=True, resamples=100)["enough"] is False


def test_an_unchanged_policy_ties_with_its_start_exactly(compare, tiny_model_folder):
    folder = compare(tiny_model_folder)
    report = evaluation.run(folder)
    assert (report["win_rate"], report["ties"]) == (0.5, 6)
    assert report["reward"]["difference"] == report["reward"]["low"] == report["reward"]["high"] == 0.0
    assert report["kl"]["per_sequence"] == 0.0
    assert all(row["before"] == row["after"] for row in samples(folder))


def test_a_changed_policy_is_measured(compare, other_policy):
    folder = compare(other_policy)
    report = evaluation.run(folder)
    rows = samples(folder)
    assert [row["id"] for row in rows] == [f"p{number}" for number in range(6)]
    wins = sum(row["reward_after"] > row["reward_before"] for row in rows)
    assert report["wins"] == wins
    gaps = [row["reward_after"] - row["reward_before"] for row in rows]
    assert report["reward"]["difference"] == pytest.approx(sum(gaps) / 6)
    assert report["kl"]["per_sequence"] == pytest.approx(sum(row["log_ratio"] for row in rows) / 6)
    assert report["kl"]["per_sequence"] > 0
    words = [event["stage"] for event in read_events(folder.path / "events.jsonl")[0] if event["event"] == "progress"]
    assert {"the policy answers", "the start answers", "scoring answers"} <= set(words)


@pytest.mark.stage
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_kl_estimate_is_that_of_the_sampled_distributions(compare, other_policy, tiny_model_folder, temperature):
    config = {"max_new_tokens": 1, "responses_per_prompt": 64, "batch_size": 256, "temperature": temperature}
    report = evaluation.run(compare(other_policy, prompts=16, config=config))
    exact = []
    policy, start = (load_policy(folder, dtype=torch.float32) for folder in (other_policy, tiny_model_folder))
    for number in range(16):
        ids = torch.tensor([encode_prompt(tiny_tokenizer(), [{"role": "user", "content": f"Say {number}"}], 512).ids])
        with torch.no_grad():
            p, q = (torch.log_softmax(model(ids).logits[0, -1] / temperature, dim=-1) for model in (policy, start))
        exact.append((p.exp() * (p - q)).sum().item())
    assert report["kl"]["per_sequence"] == pytest.approx(np.mean(exact), rel=0.1)
    assert report["kl"]["low"] < np.mean(exact) < report["kl"]["high"]
    assert report["interval"] == "bootstrap"


@pytest.mark.stage
def test_greedy_answers_give_no_kl(compare, other_policy):
    report = evaluation.run(compare(other_policy, config={"temperature": 0.0}))
    assert report["kl"] is None


@pytest.mark.stage
def test_an_evaluation_that_was_stopped_goes_on_to_the_same_report(compare, other_policy):
    straight = compare(other_policy, prompts=20, name="straight")
    expected = evaluation.run(straight)
    resumed = compare(other_policy, prompts=20, name="resumed")
    whole = (straight.path / "answers-policy.jsonl").read_bytes()
    (resumed.path / "answers-policy.jsonl").write_bytes(whole[: len(whole) // 2])
    stopping._requested.set()
    with pytest.raises(Stopped):
        evaluation.run(resumed)
    stopping.clear()
    assert evaluation.run(resumed) == expected


def test_only_some_prompts_are_taken_and_always_the_same(compare, tiny_model_folder):
    config = evaluation.EvaluatePolicyConfig(max_prompts=3)
    folder = compare(tiny_model_folder)
    once, again = ([prompt.id for prompt in evaluation.chosen_prompts(folder, config)] for _ in range(2))
    assert len(once) == 3
    assert once == again == sorted(once)


def test_models_of_different_families_are_refused(compare, tmp_path):
    folder = tmp_path / "foreign"
    tiny_policy().save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(StageError, match="different tokens"):
        evaluation.run(compare(folder))
