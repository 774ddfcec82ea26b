"""PPO reaches the optimum that theory gives: the proof that reward, KL and critic have the right size and sign.

The reward is the share of 8 places that hold one word of 32. Under KL coefficient β the best policy gives that word
p ∝ q·exp(1/(8β)) with q = 1/32, place by place: .2821 for β = .05 (KL 3.24 nats), .0466 for β = .3 (KL .03), and 1
for β = 0 (KL 8 ln 32 = 27.7).
"""

import random

import pytest
from datasets import Dataset

from tests.ml.ppo_toy import save_toy, toy_trainer

UPDATES = 480


def learn(tmp_path, seed, updates=UPDATES, **settings):
    """Means over the last five rollouts (of 16 updates each)."""
    trainer = toy_trainer(save_toy(tmp_path / "toy", seed), tmp_path, max_steps=updates, seed=seed, **settings)
    trainer.train()
    last = [entry for entry in trainer.state.log_history if "reward" in entry][-5:]
    return {name: sum(entry[name] for entry in last) / len(last) for name in ("reward", "kl", "explained_variance")}


def test_ppo_finds_the_optimum_of_reward_and_kl(tmp_path):
    end = learn(tmp_path, seed=0, kl_coef=0.05)
    assert 0.15 < end["reward"] < 0.35
    assert 2.0 < end["kl"] < 4.5
    assert end["explained_variance"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("kl_coef", "least", "most"), [(0.0, 0.75, 1.0), (0.3, 0.0, 0.08)])
def test_ppo_finds_the_optimum_for_other_prices_of_kl(tmp_path, kl_coef, least, most):
    assert least <= learn(tmp_path, seed=1, kl_coef=kl_coef)["reward"] <= most


@pytest.mark.slow
def test_a_random_reward_teaches_nothing(tmp_path):
    draw = random.Random(5)

    def luck(completions, **_):
        return [draw.random() for _ in completions]

    end = learn(tmp_path, seed=0, kl_coef=0.05, reward=luck)
    assert end["reward"] == pytest.approx(0.5, abs=0.05)
    assert end["kl"] < 4


def parity(prompts, **_):
    """1 when the prompt's last word has an odd number."""
    return [float(int(prompt.split()[-1][1:]) % 2) for prompt in prompts]


@pytest.mark.parametrize(("critic_learning_rate", "learns"), [(1e-3, True), (1e-12, False)])
def test_the_critic_learns_what_the_prompt_foretells(tmp_path, critic_learning_rate, learns):
    """The policy stands still, so all that can be explained is the reward, which the prompt alone decides."""
    end = learn(
        tmp_path,
        seed=0,
        updates=160,
        reward=parity,
        learning_rate=0.0,
        lr_scheduler_type="constant",
        critic_learning_rate=critic_learning_rate,
        prompts=Dataset.from_dict({"prompt": [f"w{20 + i % 9} w{10 + i % 4}" for i in range(64)]}),
    )
    assert (end["explained_variance"] > 0.6) == learns
