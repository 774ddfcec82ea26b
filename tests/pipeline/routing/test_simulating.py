"""Policies replayed on past data: what is bought, what is true, what is reported, and odd files."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from pipeline.routing.evidence.reading import PoolError, pool_from
from pipeline.routing.simulating import replay, reporting, scenario
from pipeline.routing.simulating.bands import band
from pipeline.routing.simulating.replay import POLICIES, Settings, replayed
from pipeline.routing.simulating.scenario import Purchases, scenario_of
from tests.pipeline.routing.test_evidence import item, said

pytestmark = pytest.mark.database_free

WORDS = ["tea", "leaf", "water", "hot", "cup", "green", "black", "milk", "sugar", "pot", "steep", "pour"]


def rows(count=60, people=3, judges=2, ties=0.1, share=3, right=0.7, seed=0, **more):
    """Items whose better answer is the longer one, mostly; people are right on 95%, judges on `right`."""
    rng = np.random.default_rng(seed)

    def says(true, accuracy):
        return true if rng.random() < accuracy else str(rng.choice([one for one in "ab" if one != true]))

    for number in range(count):
        sides = tuple(" ".join(rng.choice(WORDS, rng.integers(2, 14))) for _ in range(2))
        true = "tie" if rng.random() < ties else ("a" if len(sides[0]) > len(sides[1]) else "b")
        notes = [said(f"ann{n}", says(true, 0.95), "human") for n in range(people)]
        for judge in range(judges):
            notes += [said(f"j{judge}", says(true, right), order=order) for order in ([0, 1], [1, 0])]
        yield item(number, notes, prompt=f"Question {number // share}", responses=sides, **more)


@pytest.fixture
def written(tmp_path):
    def write(*lines):
        path = tmp_path / "items.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in lines))
        return path

    return write


@pytest.fixture
def past(written):
    return scenario_of(pool_from(written(*rows())))


def test_most_people_say_what_is_true_and_equals_share_it():
    votes = np.array([[0, 2, 1], [1, 1, 0], [0, 0, 0.0]])
    assert scenario.leaders(votes).tolist() == [[0, 1, 0], [0.5, 0.5, 0], [0, 0, 0]]


def test_each_person_is_drawn_once_and_the_order_is_the_seeds(past):
    buyer = Purchases(past, np.random.default_rng(1))
    for _ in range(3):
        buyer.buy(past.scored)
    assert buyer.votes.tolist() == past.pool.human_votes.tolist()
    first = [Purchases(past, np.random.default_rng(seed)) for seed in (1, 2, 1)]
    for one in first:
        one.buy(past.scored)
    assert (first[0].votes == first[2].votes).all()
    assert (first[0].votes != first[1].votes).any()


def test_people_are_asked_again_only_while_they_differ(past):
    buyer = Purchases(past, np.random.default_rng(0))
    split, agreed = np.flatnonzero(past.pool.human_votes.max(axis=1) == 2)[0], 0
    assert past.pool.human_votes[agreed].max() == 3
    buyer.votes[split, [1, 2]] = 1
    buyer.votes[agreed, 1] = 2
    assert {split} == set(buyer.askable(2)) & {split, agreed}


def test_what_is_true_by_the_others_leaves_the_drawn_person_out(past):
    buyer = Purchases(past, np.random.default_rng(0))
    buyer.buy(past.scored)
    expected = scenario.leaders(past.pool.human_votes - buyer.votes)
    assert (buyer.others_credit == expected).all()


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_spends_its_budget_and_no_more(past, name):
    budgets = np.array([0, 0.2, 0.5, 1.0])
    trace = replayed(name, past, 3, budgets, Settings(start=8, batch=6))
    assert trace.spent.tolist() == [0, 12, 30, 60]
    judge = past.credit[past.scored, past.judge[past.scored]]
    assert trace.credit[0].tolist() == judge.tolist()


def test_bought_labels_are_what_is_delivered(past):
    trace = replayed("random", past, 0, np.array([1.0]), Settings())
    assert trace.credit[0].mean() == pytest.approx(past.human_right.mean(), abs=0.05)


def test_the_oracle_beats_random_and_so_does_what_is_learned(written):
    past = scenario_of(pool_from(written(*rows(150, right=0.65))))
    reached = {
        name: np.mean([replayed(name, past, seed, np.array([0.4]), Settings()).credit.mean() for seed in range(2)])
        for name in ("random", "learned", "oracle")
    }
    assert reached["random"] + 0.05 < min(reached["learned"], reached["oracle"])


def test_errors_of_people_can_be_drawn_on_top(written):
    past = scenario_of(pool_from(written(*rows(400, people=1, ties=0))), error=0.1)
    buyer = Purchases(past, np.random.default_rng(0))
    buyer.buy(past.scored)
    assert (buyer.votes * past.pool.human_votes).sum() / 400 == pytest.approx(0.9, abs=0.05)
    assert buyer.votes[:, 0].sum() == 0
    assert past.human_right.mean() == pytest.approx(0.9)


def test_an_interval_draws_prompts_and_seeds_together():
    rng = np.random.default_rng(0)
    apart = (rng.random((6, 1, 400)) < 0.8).astype(float)
    mean, low, high = band(apart, np.arange(400))
    # Six seeds of 400 draws: SE about √(.16/2400 + …) ≈ .009.
    assert 0.02 < (high - low)[0] < 0.06
    assert low[0] < mean[0] == apart.mean() < high[0]
    together = np.repeat(apart[:, :, :40], 10, axis=2)
    wide = band(together, np.repeat(np.arange(40), 10))
    assert (wide[2] - wide[1])[0] > 2 * (high - low)[0]


QUICK = ["--seeds", "2", "--json"]


def run(path, folder, *more, capsys):
    call_command("simulate_routing", str(path), "--out", str(folder), *QUICK, *more)
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_command_writes_the_report_and_a_picture(written, tmp_path, capsys):
    folder = tmp_path / "new" / "out"
    printed = run(written(*rows()), folder, "--start", "10", capsys=capsys)
    report = json.loads((folder / "report.json").read_text())
    assert printed == report
    assert report["items"] == 60
    assert list(report["curves"]) == ["random", "judge-uncertainty", "learned", "gain", "oracle"]
    for name, points in report["curves"].items():
        assert [point["budget"] for point in points] == [round(0.05 * step, 2) for step in range(21)]
        assert set(points[0]) == {"budget", "label_accuracy", "low", "high", "human_labels"}
        assert all(point["low"] <= point["label_accuracy"] <= point["high"] for point in points)
        assert [point["human_labels"] for point in points][::10] == [0, 30, 60]
        assert 0 < report["area"][name] < 1
        assert 0 <= report["saved_at_human_accuracy"][name] <= 1
    assert report["raters"]["ann0"]["kind"] == "human"
    assert report["raters"]["j1"] | {"accuracy": 0} == {
        "kind": "judge", "votes": 120, "items": 60, "unread": 0, "accuracy": 0,
    }  # fmt: skip
    assert report["human_accuracy"]["measured"] is True
    assert report["truth_by_others"]["curves"]["random"][0]["label_accuracy"] > 0.3
    assert report["held_out"]["curves"]["learned"]
    assert report["cost"]["random"][20] == 60
    drawn = ElementTree.parse(folder / "curves.svg").getroot()  # noqa: S314
    assert len([line for line in drawn.iter() if line.tag.endswith("polyline")]) == 5


ODD = {
    "one judge, no ties, isolated": {"judges": 1, "ties": 0, "share": 1},
    "one person": {"people": 1},
    "two people": {"people": 2},
    "a large panel": {"judges": 12, "ties": 0, "share": 1, "people": 1},
    "hardly anything": {"count": 11},
    "only ties": {"ties": 1.0},
}


@pytest.mark.parametrize("shape", list(ODD))
def test_sets_of_every_shape_can_be_replayed(written, shape):
    past = scenario_of(pool_from(written(*rows(**{"count": 36, **ODD[shape]}))))
    for name in ("learned", "gain", "judge-uncertainty"):
        trace = replayed(name, past, 0, np.array([0, 0.6, 1.0]), Settings(start=6, batch=9))
        assert np.isfinite(trace.credit).all()


def test_pairs_that_nobody_labelled_or_judged_are_no_trouble(written):
    lines = list(rows(70, people=1))
    for line in lines[:10]:
        line["annotations"] = [note for note in line["annotations"] if note["kind"] == "judge"]
    for line in lines[10:15]:
        line["annotations"] = [note for note in line["annotations"] if note["kind"] == "human"]
    past = scenario_of(pool_from(written(*lines)))
    assert len(past.scored) == 60
    for name in POLICIES:
        trace = replayed(name, past, 0, np.array([0, 1.0]), Settings(start=6))
        assert trace.spent.tolist() == [0, 60]
        assert trace.credit.shape == (2, 60)


def test_with_one_voice_a_persons_accuracy_is_assumed_and_says_so(written):
    past = scenario_of(pool_from(written(*rows(30, people=1))))
    found = reporting.human_accuracy(past)
    assert (found["value"], found["measured"]) == (0.94, False)
    assert "Assumed" in found["source"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (list(rows(5)), "People labelled 5 pairs"),
        (list(rows(20, people=0)), "People labelled 0 pairs"),
        (list(rows(20, judges=0)), "No judge answered"),
    ],
)
def test_too_little_to_replay_is_said(written, lines, sentence):
    with pytest.raises(PoolError, match=sentence):
        scenario_of(pool_from(written(*lines)))


def test_a_bad_file_ends_the_command_with_one_sentence_and_writes_nothing(written, tmp_path):
    path, folder = tmp_path / "bad.jsonl", tmp_path / "out"
    path.write_text('{"prompt": "x"')
    with pytest.raises(CommandError, match="bad.jsonl, row 1: this is not valid JSON") as caught:
        call_command("simulate_routing", str(path), "--out", str(folder))
    assert caught.value.returncode == 1
    assert not folder.exists()
    with pytest.raises(CommandError, match="There is no file") as caught:
        call_command("simulate_routing", str(tmp_path / "none"), "--out", str(folder))
    assert caught.value.returncode == 2


def test_a_replay_is_the_same_every_time(past):
    one, other = (replayed("learned", past, 5, np.array([0.5]), Settings()) for _ in range(2))
    assert (one.labels == other.labels).all()
    assert replay.POLICIES["learned"] is replay.Learned
