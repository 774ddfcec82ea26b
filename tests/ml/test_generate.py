import json
import os
import signal
import time

import pytest
import torch

from pipeline.ml import generate
from pipeline.ml.__main__ import main
from pipeline.ml.records import StageError, read_events
from pipeline.ml.rows import RowFile
from pipeline.ml.sampling import (
    Answer,
    Sampling,
    choose_tokens,
    decode,
    end_tokens,
    row_seed,
    row_uniforms,
    sample_answers,
)
from tests.ml.conftest import stage_process, tiny_policy, tiny_tokenizer, write_rows, write_run

SHARES = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14]]


def sharp_policy():
    """The tiny model with weights so large that it matters where each token stands."""
    model = tiny_policy(seed=3).eval()
    for weight in model.parameters():
        weight.data.mul_(5)
    return model


def chosen(uniform, temperature=1.0, top_p=1.0):
    return choose_tokens(SHARES, torch.tensor([uniform], dtype=torch.float64), temperature, top_p).item()


def sampling(**changes):
    return Sampling(**{"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 12, "ends": (2,), "pad": 0} | changes)


def prompt_rows(count):
    return [
        {"id": f"p{number}", "prompt": [{"role": "user", "content": "word " * (number % 5 + 1)}]}
        for number in range(count)
    ]


def responses(folder):
    return [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]


def by_name(rows):
    return {(row["id"], row["index"]): row for row in rows}


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.9999999, 2)])
def test_a_token_is_chosen_by_inverting_the_cumulated_probabilities(uniform, token):
    assert chosen(uniform) == token


@pytest.mark.parametrize(("uniform", "token"), [(0.62, 0), (0.63, 1), (0.9999999, 1)])
def test_top_p_keeps_the_likeliest_tokens_that_reach_the_share_and_renormalises(uniform, token):
    assert chosen(uniform, top_p=0.7) == token  # 0.5 and 0.3 remain: 0.625 and 0.375


def test_a_low_temperature_sharpens_and_zero_is_greedy():
    assert chosen(0.65, temperature=0.5) == 0  # 0.25/0.38 = 0.658
    assert chosen(0.66, temperature=0.5) == 1
    assert chosen(0.99, temperature=0.0) == 0


def test_top_p_reaches_beyond_the_shortlist_where_the_distribution_is_flat():
    flat = torch.zeros(1, 2000)
    tokens = {choose_tokens(flat, torch.tensor([u]), 1.0, 0.9).item() for u in (0.1, 0.5, 0.999)}
    assert len(tokens) == 3
    ids = choose_tokens(flat.expand(2000, -1), torch.arange(2000) / 2000, 1.0, 0.90025)
    assert len(ids.unique()) == 1801


def test_greedy_answers_are_those_of_transformers_generate():
    model = sharp_policy()
    answers = sample_answers(model, PROMPTS, torch.zeros(3, 12), sampling(temperature=0.0))
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=2, pad_token_id=0
        )
        assert answer.tokens == ids[0, len(prompt) :].tolist()


def test_an_answer_does_not_depend_on_who_shares_its_batch():
    model = sharp_policy()
    uniforms = row_uniforms([row_seed(17, row) for row in range(6)], 12)
    together = sample_answers(model, PROMPTS, uniforms, sampling())
    alone = [
        answer
        for place, prompt in enumerate(PROMPTS)
        for answer in sample_answers(model, [prompt], uniforms[2 * place : 2 * place + 2], sampling())
    ]
    assert together == alone
    assert len({tuple(answer.tokens) for answer in together}) == 6


def test_answers_follow_the_model_s_distribution():
    model = sharp_policy()
    with torch.no_grad():
        share = torch.softmax(model(torch.tensor([PROMPTS[0]])).logits[0, -1], dim=-1)
    uniforms = (torch.arange(4000, dtype=torch.float64) / 4000).unsqueeze(1)
    answers = sample_answers(model, [PROMPTS[0]], uniforms, sampling(max_new_tokens=1))
    counts = torch.bincount(torch.tensor([answer.tokens[0] for answer in answers]), minlength=len(share))
    assert (counts / 4000 - share).abs().max() < 1 / 4000 + 1e-6


def test_an_answer_ends_with_its_end_token_and_leaves_the_batch():
    model = sharp_policy()
    first = sample_answers(model, PROMPTS, torch.zeros(3, 12), sampling(temperature=0.0))
    stop = first[0].tokens[1]
    steps = []
    answers = sample_answers(
        model, PROMPTS, torch.zeros(3, 12), sampling(temperature=0.0, ends=(2, stop)), on_step=steps.append
    )
    assert answers[0] == Answer(first[0].tokens[: first[0].tokens.index(stop) + 1], finished=True)
    assert sum(steps) == sum(len(answer.tokens) for answer in answers)


def test_a_cut_answer_is_not_finished():
    answer = sample_answers(tiny_policy(), [[5]], torch.zeros(1, 3), sampling(max_new_tokens=3, temperature=0.0))[0]
    assert len(answer.tokens) == 3
    assert not answer.finished


def test_texts_lose_their_special_tokens_and_nothing_else():
    tokenizer = tiny_tokenizer()
    tokens = [*tokenizer.encode("  two  spaces , and a line \n"), tokenizer.eos_token_id]
    assert decode(tokenizer, Answer(tokens, True)) == "  two  spaces , and a line \n"


def test_end_tokens_are_the_tokenizer_s_and_the_model_s():
    model = tiny_policy()
    model.generation_config.eos_token_id = [2, 9]
    assert end_tokens(model, tiny_tokenizer()) == (2, 9)


def test_seeds_differ_by_row_and_run_and_stay_the_same():
    assert row_seed(17, "p1", 0) == 95093966437657
    assert len({row_seed(17, "p1", 0), row_seed(17, "p1", 1), row_seed(18, "p1", 0), row_seed(17, "p2", 0)}) == 4


def test_generate_writes_a_row_for_each_response(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(5))
    folder = run_folder("generate", {"model": tiny_model_folder, "prompts": prompts}, {"max_new_tokens": 8})
    result = generate.run(folder)
    rows = responses(folder.path)
    assert sorted(by_name(rows)) == sorted((f"p{n}", index) for n in range(5) for index in range(2))
    assert set(rows[0]) == {"id", "index", "messages", "tokens", "finished", "seed"}
    assert rows[0]["messages"][0]["role"] == "assistant"
    assert result["n"] == 10
    assert result["tokens"] == sum(row["tokens"] for row in rows)
    progress = [event for event in read_events(folder.path / "events.jsonl")[0] if event["event"] == "progress"]
    assert (progress[-1]["step"], progress[-1]["total"]) == (10, 10)
    assert progress[-1]["tokens_per_second"] > 0


def test_a_file_cut_anywhere_is_completed_to_the_same_rows(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(7))
    inputs = {"model": tiny_model_folder, "prompts": prompts}
    config = {"max_new_tokens": 8, "batch_size": 4, "responses_per_prompt": 2, "dtype": "float32"}
    straight = run_folder("generate", inputs, config, name="straight")
    generate.run(straight)
    whole = (straight.path / "responses.jsonl").read_bytes()
    third = len(b"".join(whole.splitlines(keepends=True)[:3]))
    resumed = run_folder("generate", inputs, config, name="resumed")
    (resumed.path / "responses.jsonl").write_bytes(whole[: third + 20])
    generate.run(resumed)
    assert by_name(responses(resumed.path)) == by_name(responses(straight.path))
    assert len(responses(resumed.path)) == 14


def test_another_seed_gives_other_answers(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(3))
    inputs = {"model": tiny_model_folder, "prompts": prompts}
    one, two = (run_folder("generate", inputs, {"max_new_tokens": 8}, seed=seed, name=f"run{seed}") for seed in (1, 2))
    generate.run(one)
    generate.run(two)
    assert [row["messages"] for row in responses(one.path)] != [row["messages"] for row in responses(two.path)]


def test_a_stopped_process_leaves_whole_rows_and_goes_on(tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(160))
    inputs = {"model": tiny_model_folder, "prompts": prompts}
    config = {"max_new_tokens": 60, "batch_size": 8, "dtype": "float32"}
    run = write_run(tmp_path / "run", "generate", inputs, config)
    process = stage_process("generate", run)
    file = tmp_path / "run" / "responses.jsonl"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    there = len(responses(tmp_path / "run"))
    assert 0 < there < 320
    events = read_events(tmp_path / "run" / "events.jsonl")[0]
    assert (events[-1]["event"], events[-1]["step"]) == ("stopped", there)
    assert main(["generate", str(run)]) == 0
    straight = write_run(tmp_path / "straight", "generate", inputs, config)
    assert main(["generate", str(straight)]) == 0
    assert by_name(responses(tmp_path / "run")) == by_name(responses(tmp_path / "straight"))


def test_two_prompts_with_one_id_are_refused(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", [*prompt_rows(2), *prompt_rows(1)])
    folder = run_folder("generate", {"model": tiny_model_folder, "prompts": prompts})
    with pytest.raises(StageError, match="“p0”"):
        generate.run(folder)


def test_a_request_beyond_the_model_s_context_is_refused(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(2))
    folder = run_folder("generate", {"model": tiny_model_folder, "prompts": prompts}, {"max_new_tokens": 500})
    with pytest.raises(StageError, match="512 tokens"):
        generate.run(folder)


def test_a_long_prompt_loses_its_beginning_and_the_log_says_so(run_folder, tiny_model_folder, tmp_path):
    prompts = write_rows(tmp_path / "prompts.jsonl", prompt_rows(5))
    config = {"max_new_tokens": 4, "max_prompt_length": 40}
    folder = run_folder("generate", {"model": tiny_model_folder, "prompts": prompts}, config)
    assert generate.run(folder)["shortened_prompts"] == 1
    events = read_events(folder.path / "events.jsonl")[0]
    assert [event["level"] for event in events if event["event"] == "log"] == ["warning"]


def test_a_row_file_drops_a_torn_line_and_appends(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    rows = RowFile(path)
    assert rows.rows == [{"a": 1}]
    rows.append([{"a": "\ud800"}, {"a": 3}])
    assert [row["a"] for row in RowFile(path).rows] == [1, "\ud800", 3]


def test_only_the_main_process_writes_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    rows = RowFile(tmp_path / "rows.jsonl")
    rows.append([{"a": 1}])
    assert rows.rows == [{"a": 1}]
    assert not (tmp_path / "rows.jsonl").exists()
