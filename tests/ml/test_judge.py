import json
import math

import pytest
import torch

from pipeline.ml import judge, stopping
from pipeline.ml.data import encode_prompt
from pipeline.ml.logprobs import answer_log_probs, float32_logits
from pipeline.ml.records import StageError, Stopped
from tests.ml.conftest import tiny_policy, tiny_tokenizer, write_rows

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14]]
ANSWERS = [[[20, 21]], [[22], [23, 24, 25], [2, 30]], [[23, 24, 25, 2]]]


def request_rows(count, choices=("A", "B")):
    return [
        {
            "id": f"r{number}",
            "prompt": [{"role": "user", "content": "Which? " * (number + 1)}],
            "choices": list(choices),
        }
        for number in range(count)
    ]


def verdicts(folder):
    return [json.loads(line) for line in (folder.path / "verdicts.jsonl").read_text().splitlines()]


def by_hand(model, prompt, answer, temperature=1.0):
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0] / temperature
    table = torch.log_softmax(logits, dim=-1)
    return sum(table[len(prompt) + place - 1, token].item() for place, token in enumerate(answer))


def sharp_policy():
    """The tiny model with weights so large that it matters where each token stands."""
    model = tiny_policy(seed=3).eval()
    for weight in model.parameters():
        weight.data.mul_(5)
    return model


def read(model, answers, **settings):
    return answer_log_probs(model, PROMPTS, answers, pad=0, **({"batch_size": 9} | settings))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_an_answer_s_log_probability_is_the_sum_over_its_tokens(temperature):
    model = sharp_policy()
    found = read(model, ANSWERS, temperature=temperature)
    for prompt, several, values in zip(PROMPTS, ANSWERS, found, strict=True):
        expected = [by_hand(model, prompt, answer, temperature) for answer in several]
        assert values == pytest.approx(expected, abs=1e-4)


def test_equal_models_get_equal_numbers_to_the_last_bit():
    model, twin = (tiny_policy(seed=3).to(torch.bfloat16).eval() for _ in range(2))
    assert read(model, ANSWERS) == read(twin, ANSWERS)


def test_an_empty_answer_is_certain():
    assert read(tiny_policy(), [[[], [8]], [[9]], [[10]]])[0][0] == 0.0


def test_the_next_token_s_probabilities_sum_to_one():
    found = read(tiny_policy(seed=3).eval(), [[[token] for token in range(259)] for _ in PROMPTS])
    assert [sum(math.exp(value) for value in values) for values in found] == pytest.approx([1.0] * 3)


def test_logits_in_float32_tell_apart_what_bfloat16_rounds_to_one_number():
    model = tiny_policy(seed=3).eval()
    head = model.get_output_embeddings().weight.data
    head.mul_(300)
    head[21] = head[20] * 1.001
    model = model.to(torch.bfloat16)
    model.get_output_embeddings().weight.data[21, 0] *= 1.01
    choices = [[[20], [21]]] * 3
    rounded = read(model, choices)[0]
    with float32_logits(model):
        exact = read(model, choices)[0]
    assert rounded[0] == rounded[1]
    assert exact[0] != exact[1]
    assert read(model, choices)[0] == rounded  # nothing stays behind


def test_log_probs_stop_between_batches_when_asked_to():
    stopping._requested.set()
    with pytest.raises(Stopped):
        read(tiny_policy(), ANSWERS)


def test_batches_are_counted_in_answers_and_tokens():
    heard = []
    read(tiny_policy(), ANSWERS, batch_size=2, on_batch=lambda rows, tokens: heard.append((rows, tokens)))
    assert heard == [(3, 12), (1, 5), (1, 5)]  # one prompt at once, since one has three answers; the longest first


def test_judge_writes_the_log_probability_of_each_choice(run_folder, tiny_model_folder, tmp_path):
    requests = write_rows(tmp_path / "requests.jsonl", request_rows(5))
    folder = run_folder(
        "judge", {"model": tiny_model_folder, "requests": requests}, {"batch_size": 2, "dtype": "float32"}
    )
    result = judge.run(folder)
    rows = {row["id"]: row for row in verdicts(folder)}
    tokenizer, model = tiny_tokenizer(), tiny_policy().eval()
    for number, request in enumerate(request_rows(5)):
        prompt = encode_prompt(tokenizer, request["prompt"], 2048).ids
        row = rows[f"r{number}"]
        assert row["tokens"] == len(prompt)
        for choice in "AB":
            expected = by_hand(model, prompt, tokenizer.encode(choice))
            assert row["logprobs"][choice] == pytest.approx(expected, abs=1e-4)
    assert result["n"] == 5
    assert sum(result["verdicts"].values()) == 5
    masses = [sum(math.exp(value) for value in row["logprobs"].values()) for row in rows.values()]
    assert result["mass"] == pytest.approx(sum(masses) / 5)


def test_a_choice_of_several_tokens_is_summed(run_folder, tiny_model_folder, tmp_path):
    requests = write_rows(tmp_path / "requests.jsonl", request_rows(3, ("first", "second", "tie")))
    folder = run_folder("judge", {"model": tiny_model_folder, "requests": requests}, {"dtype": "float32"})
    judge.run(folder)
    tokenizer, model = tiny_tokenizer(), tiny_policy().eval()
    for row, request in zip(sorted(verdicts(folder), key=lambda row: row["id"]), request_rows(3), strict=True):
        prompt = encode_prompt(tokenizer, request["prompt"], 2048).ids
        expected = {choice: by_hand(model, prompt, tokenizer.encode(choice)) for choice in ("first", "second", "tie")}
        assert row["logprobs"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("choices", [("A", "A+"), ("A", "")])
def test_choices_that_begin_alike_are_refused(run_folder, tiny_model_folder, tmp_path, choices):
    requests = write_rows(tmp_path / "requests.jsonl", request_rows(1, choices))
    folder = run_folder("judge", {"model": tiny_model_folder, "requests": requests})
    with pytest.raises(StageError, match="“r0”.*begins with"):
        judge.run(folder)


@pytest.mark.parametrize("choices", [None, "AB", ["A"], ["A", "A"], ["A", 2]])
def test_requests_without_two_choices_are_refused_with_their_row(tmp_path, choices):
    rows = [*request_rows(1), {"id": "bad", "prompt": "Which?", "choices": choices}]
    with pytest.raises(StageError, match="row 2: “choices”"):
        judge.read_requests(write_rows(tmp_path / "requests.jsonl", rows))


def test_a_cut_verdicts_file_is_completed_to_the_same_rows(run_folder, tiny_model_folder, tmp_path):
    requests = write_rows(tmp_path / "requests.jsonl", request_rows(9))
    inputs = {"model": tiny_model_folder, "requests": requests}
    straight = run_folder("judge", inputs, {"batch_size": 4}, name="straight")
    judge.run(straight)
    whole = (straight.path / "verdicts.jsonl").read_bytes()
    resumed = run_folder("judge", inputs, {"batch_size": 4}, name="resumed")
    (resumed.path / "verdicts.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:5]) + b'{"id": "r')
    judge.run(resumed)
    assert (resumed.path / "verdicts.jsonl").read_bytes() == whole


def test_a_request_that_is_too_long_loses_its_beginning_and_says_so(run_folder, tiny_model_folder, tmp_path):
    requests = write_rows(tmp_path / "requests.jsonl", request_rows(6))
    folder = run_folder("judge", {"model": tiny_model_folder, "requests": requests}, {"max_length": 50})
    assert judge.run(folder)["shortened"] == 2
    assert {row["id"]: row["shortened"] for row in verdicts(folder)}["r5"] is True
