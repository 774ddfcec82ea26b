"""Scores as PPO and evaluations see them: the reward model's own reading of a conversation, and checkable rewards."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from pipeline.ml import configs
from pipeline.ml.models import load_tokenizer, new_reward_model, save_model
from pipeline.ml.rewards.reward_model import Calibration, RewardModelScorer, calibrate
from pipeline.ml.rewards.verifiable import VERIFIABLE, contains_reference, same_number, token_share, valid_json

TALKS = [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, what can I do for you today?"}],
    [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "4"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "no"}],
]


@pytest.fixture(scope="module")
def reward_folder(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = load_tokenizer(tiny_model_folder)
    save_model(new_reward_model(tiny_model_folder, tokenizer, dtype=torch.float32, seed=4), tokenizer, folder)
    return folder


def by_hand(folder, talk):
    """The score at the last token of the templated text, one conversation at a time."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True)["input_ids"]])
    with torch.no_grad():
        return (model.model(ids).last_hidden_state[0, -1] @ model.score.weight[0]).item()


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_scores_are_read_at_the_last_token_of_the_models_own_template(reward_folder, batch_size):
    scores = RewardModelScorer(reward_folder, dtype=torch.float32, batch_size=batch_size).score(TALKS)
    assert scores == pytest.approx([by_hand(reward_folder, talk) for talk in TALKS], abs=1e-5)
    assert len(set(scores)) == 3


def test_trl_calls_it_with_prompts_and_answers_apart(reward_folder):
    scorer = RewardModelScorer(reward_folder, dtype=torch.float32)
    apart = scorer(prompts=[talk[:1] for talk in TALKS], completions=[talk[1:] for talk in TALKS], trainer_state=None)
    assert apart == scorer.score(TALKS)


def test_a_long_conversation_loses_its_beginning_and_keeps_its_answer(reward_folder):
    scorer = RewardModelScorer(reward_folder, dtype=torch.float32, max_length=20)
    answer = {"role": "assistant", "content": "a fairly long answer"}
    one, other = ([{"role": "user", "content": letter * 40}, answer] for letter in "ab")
    assert scorer.score([one]) == scorer.score([other])
    assert RewardModelScorer(reward_folder, dtype=torch.float32).score([one]) != scorer.score([one])


def test_scores_stay_apart_in_bfloat16(reward_folder):
    scores = RewardModelScorer(reward_folder, dtype=torch.bfloat16).score(TALKS)
    exact = RewardModelScorer(reward_folder, dtype=torch.float32).score(TALKS)
    assert scores == pytest.approx(exact, abs=0.05)
    assert all(math.isfinite(score) for score in scores)


def test_calibration_centres_and_scales_on_the_references():
    calibration = calibrate([1.0, 2.0, 3.0, 6.0])
    assert calibration.mean == 3.0
    assert calibration.deviation == pytest.approx(2.160247)  # ddof 1


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], Calibration(0.0, 1.0)), ([2.5], Calibration(2.5, 1.0)), ([2.0, 2.0], Calibration(2.0, 1.0))],
)
def test_calibration_without_a_spread_only_centres(scores, expected):
    assert calibrate(scores) == expected


def said(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_valid_json():
    assert valid_json(said('{"a": [1]}', "Sure! {}", "")) == [1.0, 0.0, 0.0]


def test_contains_reference():
    answers = said("It is  PARIS,\nof course", "Lyon", "Paris")
    assert contains_reference(answers, reference=["is paris", "Paris", None]) == [1.0, 0.0, None]
    assert contains_reference(answers) == [None, None, None]


def test_same_number():
    answers = said("2 apples, so 1,250.0 in all", "about -3", "none", "7")
    assert same_number(answers, reference=["1250", "3", "4", "seven"]) == [1.0, 0.0, 0.0, None]


def test_token_share():
    assert token_share(7, places=4)(completion_ids=[[7, 1, 7, 7, 7], [7], []]) == [0.75, 0.25, 0.0]


def test_the_form_offers_the_checkable_rewards_there_are():
    choices = next(item for item in configs.settings_of(configs.PPOStageConfig) if item.name == "verifiable").choices
    assert choices == ("none", *VERIFIABLE)


def test_a_folder_without_a_model_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(Exception, match=r"(no model|tokenizer|config\.json|chat template)"):
        RewardModelScorer(Path(tmp_path), dtype=torch.float32)
