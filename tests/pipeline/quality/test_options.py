"""Choices and ratings to probabilities: the formulas, and that nothing fitted is used that does worse."""

import numpy as np
import pytest

from pipeline.quality import options as o

pytestmark = pytest.mark.database_free


def votes(said, decided, *, is_scale=False, points=("x", "y", "z"), per_prompt=1):
    size = len(points)
    judge, people = np.eye(size)[said], np.eye(size)[decided]
    prompts = [f"prompt-{number // per_prompt}" for number in range(len(said))]
    return o.Votes(tuple(points), is_scale, judge, people, np.ones(len(said)), prompts)


def drawn(n, right, seed=5, **more):
    """A judge that says what people say with a probability, and else another option."""
    draw = np.random.default_rng(seed)
    decided = draw.integers(0, 3, n)
    said = np.where(draw.random(n) < right, decided, (decided + draw.integers(1, 3, n)) % 3)
    return votes(said, decided, **more)


def test_as_it_says_is_one_plain_vote():
    found = o.as_it_says(votes([0], [0]))(np.array([[1.0, 0, 0], [0.5, 0.5, 0]]))
    assert found[0] == pytest.approx([2 / 4, 1 / 4, 1 / 4])  # (votes + 1) / (votes + options)
    assert found[1] == pytest.approx([1.5 / 4, 1.5 / 4, 1 / 4])


def test_a_rating_is_half_as_likely_with_each_point():
    scale = votes([1], [1], is_scale=True)
    assert o.as_it_says(scale)(scale.judge)[0] == pytest.approx([1 / 4, 2 / 4, 1 / 4])


def test_a_judge_that_is_right_nine_times_in_ten_becomes_as_sure_as_that():
    data = drawn(400, 0.9)
    found, report = o.calibrate(data)
    assert found(np.array([[1.0, 0, 0]]))[0] == pytest.approx([0.9, 0.05, 0.05], abs=0.05)
    rows = {row["method"]: row for row in report["candidates"]}
    assert list(rows) == ["identity", "temperature", "isotonic"]
    assert rows[found.method]["chosen"]
    assert rows["temperature"]["low"] > 0.3
    assert report["after"]["ece"] < report["before"]["ece"]


def test_a_judge_that_guesses_is_worth_nothing_and_never_its_opposite():
    found = o.fit_temperature(drawn(600, 1 / 3))
    assert found(np.array([[1.0, 0, 0]]))[0] == pytest.approx([1 / 3] * 3, abs=0.06)
    against = votes(np.zeros(600, int), np.ones(600, int))
    assert o.fit_temperature(against)(np.array([[1.0, 0, 0]]))[0].argmax() == 0


def test_steps_learn_that_one_option_is_said_too_often_and_only_of_many_audits():
    """The judge says x wherever people say x or y: its x is worth half, its z is sure."""
    decided = np.tile([0, 1, 2], 100)
    data = votes(np.where(decided == 1, 0, decided), decided)
    found, report = o.calibrate(data)
    assert found.method == "isotonic"
    said_x, said_z = found(np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert said_x == pytest.approx([0.5, 0.35, 0.15], abs=0.16)
    assert said_z[2] > 0.7
    few = o.calibrate(votes(data.judge[:150].argmax(1), decided[:150]))[1]
    assert [row["method"] for row in few["candidates"]] == ["identity", "temperature"]


def test_steps_of_a_scale_learn_how_much_higher_the_judge_rates():
    draw = np.random.default_rng(2)
    decided = draw.integers(0, 4, 500)
    data = votes(decided + 1, decided, is_scale=True, points="12345")
    found, _ = o.calibrate(data)
    assert found.method == "isotonic"
    assert found(np.eye(5)[[3]])[0].argmax() == 2
    assert found(np.eye(5)) == pytest.approx(found(np.eye(5)) / found(np.eye(5)).sum(axis=1, keepdims=True))
    assert o.agreement(data)["higher"]["mean"] == pytest.approx(1.0)
    assert o.agreement(data)["accuracy"]["share"] == 0


@pytest.mark.slow
def test_what_does_worse_on_unseen_prompts_is_not_used():
    """A judge as good as one plain vote says: 2 of 4 right."""
    excess = []
    for seed in range(25):
        found, report = o.calibrate(drawn(40, 0.5, seed=seed))
        assert report["after"]["log_loss"] <= report["before"]["log_loss"]
        worth = found(np.array([[1.0, 0, 0]]))[0]
        excess.append(-np.dot([0.5, 0.25, 0.25], np.log(worth)) + np.dot([0.5, 0.25, 0.25], np.log([0.5, 0.25, 0.25])))
    assert np.mean(excess) < 0.02


def test_kappa_of_a_scale_weighs_by_distance_and_of_a_choice_does_not():
    near, far = [0, 1, 2, 1], [0, 1, 2, 2]
    assert o.agreement(votes(near, far))["kappa"]["kappa"] == pytest.approx(0.636, abs=1e-3)
    assert o.agreement(votes(near, far, is_scale=True))["kappa"]["kappa"] == pytest.approx(0.8, abs=1e-3)
