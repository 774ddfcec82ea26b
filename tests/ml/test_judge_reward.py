"""Reward models as judges: every response is scored by every model, as the models score them alone."""

import json

import pytest
import torch

from pipeline.ml import judge_reward
from pipeline.ml.models import load_tokenizer, new_reward_model, save_model
from pipeline.ml.records import StageError
from pipeline.ml.rewards.reward_model import RewardModelScorer
from tests.ml.conftest import write_rows


@pytest.fixture(scope="module")
def two_models(tiny_model_folder, tmp_path_factory):
    """Two tiny reward models with different random heads."""
    folders = []
    for seed in (3, 4):
        folder = tmp_path_factory.mktemp(f"reward-{seed}")
        tokenizer = load_tokenizer(tiny_model_folder)
        save_model(new_reward_model(tiny_model_folder, tokenizer, dtype=torch.float32, seed=seed), tokenizer, folder)
        folders.append(folder)
    return folders


def rows(count):
    return [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": f"Which is it, {number}?"}],
            "responses": [[{"role": "assistant", "content": text * (number + 1)}] for text in ("yes ", "no ")],
        }
        for number in range(count)
    ]


def verdicts(folder):
    return [json.loads(line) for line in (folder.path / "verdicts.jsonl").read_text().splitlines()]


def test_each_model_scores_each_response_and_a_resumed_run_goes_on_with_the_next_model(
    two_models, run_folder, tmp_path
):
    asked = rows(3)
    requests = write_rows(tmp_path / "requests.jsonl", asked)
    first, second = two_models
    folder = run_folder("judge_reward", {"model": first, "model_2": second, "requests": requests})
    result = judge_reward.run(folder)
    assert (result["n"], result["models"]) == (3, 2)
    found = verdicts(folder)
    assert [row["id"] for row in found] == ["0", "1", "2"]
    for place, model in enumerate(two_models):
        alone = RewardModelScorer(model, dtype=torch.float32)
        for row, request in zip(found, asked, strict=True):
            expected = alone.score([[*request["prompt"], *response] for response in request["responses"]])
            assert [scores[place] for scores in row["scores"]] == pytest.approx(expected, abs=1e-5)
    kept = (folder.path / "scores-model.jsonl").read_text()
    (folder.path / "scores-model_2.jsonl").unlink()
    (folder.path / "verdicts.jsonl").unlink()
    judge_reward.run(folder)
    assert verdicts(folder) == found
    assert (folder.path / "scores-model.jsonl").read_text() == kept


def test_a_request_without_responses_is_named(two_models, run_folder, tmp_path):
    requests = write_rows(tmp_path / "requests.jsonl", [{"id": "1", "prompt": "Hi?", "responses": []}])
    folder = run_folder("judge_reward", {"model": two_models[0], "requests": requests})
    with pytest.raises(StageError, match="row 1: “responses” must be a list"):
        judge_reward.run(folder)
