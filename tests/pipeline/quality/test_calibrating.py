"""From margins to probabilities: golden numbers of routing.md §14, and what a calibration must never do."""

import numpy as np
import pytest

from pipeline.quality import calibrating as c

pytestmark = pytest.mark.database_free

MARGINS = np.array([-4.0, -3, -2, -1, 1, 2, 3, 4])
OUTCOMES = np.array([0.0, 0, 1, 0, 1, 0, 1, 1])
SAME = np.ones(8)


def pairs(n=300, temperature=2.0, seed=3):
    """Margins twice as loud as they should be, over prompts of three pairs each."""
    draw = np.random.default_rng(seed)
    margins = draw.normal(0, 3, n)
    outcomes = (draw.random(n) < c.expit(margins / temperature)).astype(float)
    return c.Pairs(margins, outcomes, np.ones(n), [f"prompt-{number // 3}" for number in range(n)])


def test_temperature_is_the_golden_one():
    inverse = c.inverse_temperature(MARGINS, OUTCOMES)
    assert 1 / inverse == pytest.approx(2.0607, abs=1e-4)
    assert c.log_loss(c.expit(MARGINS), OUTCOMES) == pytest.approx(0.626732, abs=1e-6)
    assert c.log_loss(c.expit(inverse * MARGINS), OUTCOMES) == pytest.approx(0.528808, abs=1e-6)


def test_isotonic_steps_are_the_golden_ones():
    _, values = c.steps_of(np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]), np.array([0, 1, 0, 0, 1, 0, 1, 1.0]))
    assert values == pytest.approx([0, 0.333333, 0.333333, 0.333333, 0.5, 0.5, 1, 1], abs=1e-5)


@pytest.mark.parametrize("method", [c.TEMPERATURE, c.ISOTONIC])
def test_no_calibration_favours_a_place(method):
    """Even where the judge names the first response nearly always: f(−m) = 1 − f(m)."""
    fitted = c.fit(method, np.array([2.0, 2, 2, 2, 1, 1, -1, 3]), np.array([1.0, 1, 0, 1, 0, 1, 0, 1]), SAME)
    looked_at = np.linspace(-4, 4, 41)
    assert fitted(-looked_at) == pytest.approx(1 - fitted(looked_at), abs=1e-12)


def test_a_judge_worse_than_a_coin_becomes_a_coin_and_not_its_opposite():
    assert c.inverse_temperature(MARGINS, 1 - OUTCOMES) == 0.0
    assert c.fit_temperature(MARGINS, 1 - OUTCOMES)(np.array([5.0])) == pytest.approx([0.5])


def test_being_right_twenty_times_does_not_make_certain():
    fitted = c.fit(c.TEMPERATURE, np.ones(20), np.ones(20), np.ones(20))
    # one right and one wrong beside them: 21 of 22
    assert fitted(np.array([1.0])) == pytest.approx([21 / 22], abs=1e-4)


def test_weights_count_like_repeated_pairs():
    weights = np.array([1.0, 2, 1, 1, 3, 1, 1, 1])
    repeated = np.repeat(np.arange(8), weights.astype(int))
    plain = c.inverse_temperature(MARGINS[repeated], OUTCOMES[repeated])
    assert c.inverse_temperature(MARGINS, OUTCOMES, weights) == pytest.approx(plain, abs=1e-6)


def test_calibrating_mends_a_judge_that_is_too_sure_and_is_measured_on_unseen_prompts():
    found, report = c.calibrate(pairs())
    assert report["after"]["log_loss"] < report["before"]["log_loss"]
    assert report["after"]["ece"] < report["before"]["ece"]
    assert set(report["tried"]) == {c.TEMPERATURE, c.ISOTONIC}
    assert found.method == min(report["tried"], key=report["tried"].get)
    assert (report["pairs"], report["prompts"]) == (300, 100)
    assert set(c.calibrate(pairs(150))[1]["tried"]) == {c.TEMPERATURE}  # fewer than 200 audits


def test_what_is_quoted_was_not_fitted_on():
    """A pair's own fold is not in the fit that it is judged by: flip its outcomes and its prediction stays."""
    data = pairs(60)
    folds = [c.fold_of(prompt) for prompt in data.prompts]
    before = c.unseen(c.TEMPERATURE, data.margins, data.outcomes, data.weights, folds)
    mine = np.asarray(folds) == folds[0]
    flipped = np.where(mine, 1 - data.outcomes, data.outcomes)
    after = c.unseen(c.TEMPERATURE, data.margins, flipped, data.weights, folds)
    assert after[mine] == pytest.approx(before[mine])
    assert after[~mine] != pytest.approx(before[~mine])


def test_reliability_and_its_error():
    rows = c.reliability(np.array([0.9, 0.1, 0.9, 0.5]), np.array([1.0, 0, 0, 1]), np.ones(4))
    assert [(row["n"], round(row["confidence"], 3), round(row["accuracy"], 3)) for row in rows] == [
        (1, 0.5, 0.5),
        (3, 0.9, 0.667),
    ]
    # Wilson for 2 of 3
    assert (rows[1]["from"], rows[1]["to"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert c.calibration_error(rows) == pytest.approx(0.75 * (0.9 - 2 / 3))


def test_choosing_no_side_is_learned_by_kind_of_verdict_and_drawn_to_what_is_usual():
    kinds, decided = ["same"] * 8 + ["tie"] * 2, ["a"] * 8 + ["tie"] * 2
    found = c.neither(kinds, decided, np.ones(10), ["tie"])
    usual = (2 + 1) / (10 + 1 + 2)
    assert found[""]["tie"] == pytest.approx(usual)
    assert found["same"]["tie"] == pytest.approx(5 * usual / 13)
    assert found["tie"]["tie"] == pytest.approx((2 + 5 * usual) / 7)


def test_a_posterior_adds_up_and_swapping_the_responses_swaps_it():
    one, other = c.posterior(0.8, {"tie": 0.1}), c.posterior(0.2, {"tie": 0.1})
    assert one == pytest.approx({"a": 0.72, "b": 0.18, "tie": 0.1})
    assert (one["a"], one["tie"]) == pytest.approx((other["b"], other["tie"]))


def test_two_judges_that_agree_are_no_surer_than_one():
    one = {"a": 0.72, "b": 0.18, "tie": 0.1}
    assert c.pooled([one, one]) == pytest.approx(one)
    assert c.pooled([one, {"a": 0.18, "b": 0.72, "tie": 0.1}])["a"] == pytest.approx(0.36 / 0.82)
