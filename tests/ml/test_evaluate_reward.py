"""The report on a reward model: ties, baselines, like length, slices, intervals; and the command that writes it."""

import gzip
import json

import numpy as np
import pytest
import torch

from pipeline.ml.__main__ import main
from pipeline.ml.data import pair_of
from pipeline.ml.evaluation.reward import reward_report
from pipeline.ml.models import load_reward_model, load_tokenizer, new_reward_model, save_model, score_sequences
from pipeline.ml.records import read_events
from tests.ml.conftest import preference_rows, write_rows, write_run


def pair(prompt, chosen, rejected, **more):
    return pair_of({"prompt": prompt, "chosen": chosen, "rejected": rejected, **more})


def share(part):
    return part["n"], part["accuracy"]


@pytest.fixture(scope="module")
def reward_model_folder(tiny_model_folder, tmp_path_factory):
    """A tiny reward model with a random head."""
    folder = tmp_path_factory.mktemp("tiny-reward")
    tokenizer = load_tokenizer(tiny_model_folder)
    model = new_reward_model(tiny_model_folder, tokenizer, dtype=torch.float32, seed=3)
    save_model(model, tokenizer, folder)
    return folder


def test_accuracy_counts_an_exact_tie_as_half():
    pairs = [pair(f"{n}", "aaaa", "bbbb") for n in range(4)]
    report = reward_report(pairs, [1.0, 0.5, 2.0, 0.0], [0.0, 0.5, 3.0, -1.0])

    assert (report["n"], report["accuracy"], report["ties"], report["interval"]) == (4, 0.625, 1, "wilson")
    assert report["mean_margin"] == pytest.approx(0.25)


def test_the_baseline_of_the_longer_answer():
    pairs = [pair("1", "long answer", "no"), pair("2", "no", "long answer"), pair("3", "same", "size")]
    report = reward_report(pairs, [0, 0, 0], [0, 0, 0])
    assert share(report["baselines"]["longer"]) == (3, 0.5)

    report = reward_report(pairs[:1], [0], [0])
    assert share(report["baselines"]["longer"]) == (1, 1.0)


def test_the_baseline_of_the_first_answer_is_null_where_order_was_lost():
    lost = [pair("1", "a", "b"), pair("2", "a", "b")]
    assert reward_report(lost, [0, 0], [1, 1])["baselines"]["first"] is None

    known = [pair(str(n), "a", "b", chosen_first=first) for n, first in enumerate([True, True, False, None])]
    assert share(reward_report(known, [0] * 4, [1] * 4)["baselines"]["first"]) == (3, pytest.approx(2 / 3))


def test_pairs_of_like_length_are_reported_apart():
    """Of 21 and 20 characters: log ratio 0.049; of 30 and 20: 0.405."""
    pairs = [pair("1", "x" * 21, "x" * 20), pair("2", "x" * 30, "x" * 20), pair("3", "x" * 20, "x" * 21)]
    like = reward_report(pairs, [1, 0, 1], [0, 1, 0])["like_length"]

    assert share(like) == (2, 1.0)
    assert share(like["baselines"]["longer"]) == (2, 0.5)
    assert like["rule"] == "|log(characters of one answer / characters of the other)| at most 0.1"


def test_nothing_of_like_length_has_no_accuracy():
    like = reward_report([pair("1", "x" * 30, "x")], [1], [0])["like_length"]
    assert share(like) == (0, None)
    assert share(like["baselines"]["longer"]) == (0, None)


def test_several_pairs_of_one_prompt_get_an_interval_over_prompts():
    pairs = [pair(str(n // 3), f"a{n}", f"b{n}") for n in range(30)]
    wins = [float(n // 3 % 2) for n in range(30)]
    report = reward_report(pairs, wins, [0.5] * 30)

    assert (report["interval"], report["accuracy"]) == ("bootstrap", 0.5)
    assert report["high"] - report["low"] > 0.4  # 30 independent pairs would give 0.34
    assert report["bootstrap_seed"] == 20240117


def test_slices_by_tag_and_source():
    pairs = [
        pair("1", "a", "b", tags=["math", "short"], source="human"),
        pair("2", "a", "b", tags=["math"], source="judge"),
        pair("3", "a", "b"),
    ]
    slices = reward_report(pairs, [1, 0, 1], [0, 1, 0])["slices"]
    assert {name: share(part) for name, part in slices.items()} == {
        "source:human": (1, 1.0),
        "source:judge": (1, 0.0),
        "tag:math": (2, 0.5),
        "tag:short": (1, 1.0),
    }


def test_calibration_is_against_the_labels_probability():
    """A margin of logit(0.8) on labels that are 80% sure is perfectly calibrated; on sure labels it is 0.2 off."""
    margin = float(np.log(4))
    soft = [pair(str(n), "a", "b", probability=0.8) for n in range(5)]
    sure = [pair(str(n), "a", "b") for n in range(5)]

    assert reward_report(soft, [margin] * 5, [0.0] * 5)["ece"] == pytest.approx(0.0, abs=1e-9)
    assert reward_report(sure, [margin] * 5, [0.0] * 5)["ece"] == pytest.approx(0.2)
    assert reward_report(sure, [0.0] * 5, [margin] * 5)["brier"] == pytest.approx(0.64)


def test_confidences_are_binned_between_a_half_and_one():
    """0.52 (right) and 0.58 (wrong) lie in two bins of ten: (0.48 + 0.58) / 2. In one bin they would cancel out."""
    pairs = [pair("1", "a", "b"), pair("2", "a", "b")]
    report = reward_report(pairs, [float(np.log(52 / 48)), 0.0], [0.0, float(np.log(58 / 42))])
    assert report["ece"] == pytest.approx(0.53)


def test_the_correlation_with_length_does_not_depend_on_which_side_is_chosen():
    longer = reward_report([pair("1", "x" * 20, "x"), pair("2", "x" * 9, "x")], [2.0, 1.0], [0.0, 0.0])
    flipped = reward_report([pair("1", "x", "x" * 20), pair("2", "x" * 9, "x")], [0.0, 1.0], [2.0, 0.0])
    flat = reward_report([pair("1", "x", "y")], [2.0], [0.0])

    assert longer["length_correlation"] == pytest.approx(flipped["length_correlation"])
    assert longer["length_correlation"] > 0.9
    assert flat["length_correlation"] is None


def test_batches_and_padding_do_not_change_a_reward(reward_model_folder):
    model = load_reward_model(reward_model_folder, dtype=torch.float32)
    texts = [list(range(3, 3 + size)) for size in (40, 5, 17, 1, 40)]
    alone = [score_sequences(model, [ids], batch_size=1)[0] for ids in texts]

    assert score_sequences(model, texts, batch_size=5) == pytest.approx(alone, abs=1e-5)
    assert score_sequences(model, texts, batch_size=2) == pytest.approx(alone, abs=1e-5)


def test_the_head_is_read_in_float32_even_when_the_body_is_bfloat16(reward_model_folder):
    exact = load_reward_model(reward_model_folder, dtype=torch.float32).score.weight
    loaded = load_reward_model(reward_model_folder, dtype=torch.bfloat16)

    assert loaded.score.weight.dtype == torch.float32
    assert torch.equal(loaded.score.weight, exact)
    assert next(loaded.model.parameters()).dtype == torch.bfloat16
    assert len(set(score_sequences(loaded, [[5, 6], [7, 8], [9, 10]], batch_size=3))) == 3


def test_the_stage_writes_its_report(run_folder, reward_model_folder, tmp_path):
    pairs = write_rows(tmp_path / "pairs.jsonl", preference_rows(12))
    folder = run_folder("evaluate_reward", {"model": reward_model_folder, "pairs": pairs})

    assert main(["evaluate_reward", str(folder.path / "run.json")]) == 0
    report = json.loads((folder.path / "result.json").read_text())
    assert report["n"] == 12
    assert set(report["slices"]) == {"source:human", "tag:even", "tag:odd"}
    events, _ = read_events(folder.path / "events.jsonl")
    assert events[-1]["event"] == "done"
    assert [event["step"] for event in events if event.get("stage") == "scoring answers"][-1] == 24


@pytest.mark.parametrize("form", ["conversational", "plain", "transcripts"])
def test_the_command_takes_any_preference_file(form, reward_model_folder, tmp_path, capsys):
    rows = {
        "conversational": preference_rows(6),
        "plain": [{"prompt": f"Question {n}?", "chosen": "yes", "rejected": "no"} for n in range(6)],
        "transcripts": [
            {side: f"\n\nHuman: Question {n}?\n\nAssistant: {answer}" for side, answer in ANSWERS} for n in range(6)
        ],
    }[form]
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    out = tmp_path / "reports" / "report.json"
    code = main(["evaluate_reward", "--model", str(reward_model_folder), "--pairs", str(path), "--out", str(out)])

    assert code == 0
    report = json.loads(out.read_text())
    assert report["n"] == 6
    assert 0 <= report["low"] <= report["accuracy"] <= report["high"] <= 1
    assert "on 6 pairs; the longer answer wins" in capsys.readouterr().out


ANSWERS = (("chosen", "yes"), ("rejected", "no"))


def test_all_forms_of_one_file_get_the_same_report(reward_model_folder, tmp_path):
    def report(rows):
        path, out = write_rows(tmp_path / "pairs.jsonl", rows), tmp_path / "report.json"
        main(["evaluate_reward", "--model", str(reward_model_folder), "--pairs", str(path), "--out", str(out)])
        return json.loads(out.read_text())

    plain = [{"prompt": f"Question {n}?", "chosen": "yes", "rejected": "no"} for n in range(4)]
    transcripts = [
        {side: f"\n\nHuman: Question {n}?\n\nAssistant: {answer}" for side, answer in ANSWERS} for n in range(4)
    ]
    assert report(plain) == report(transcripts)


def test_a_policy_is_no_reward_model(tiny_model_folder, tmp_path, capsys):
    pairs = write_rows(tmp_path / "pairs.jsonl", preference_rows(2))
    out = tmp_path / "report.json"
    code = main(["evaluate_reward", "--model", str(tiny_model_folder), "--pairs", str(pairs), "--out", str(out)])

    assert code == 1
    assert "is no reward model" in capsys.readouterr().err
    assert not out.exists()


def test_shortened_answers_are_counted_and_no_pair_is_lost(run_folder, reward_model_folder, tmp_path):
    rows = preference_rows(4)
    rows[0]["prompt"][0]["content"] = "x" * 200
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    run_file = write_run(
        tmp_path / "run", "evaluate_reward", {"model": reward_model_folder, "pairs": pairs}, {"max_length": 100}
    )
    assert main(["evaluate_reward", str(run_file)]) == 0

    report = json.loads((run_file.parent / "result.json").read_text())
    assert (report["n"], report["shortened"]) == (4, 2)
