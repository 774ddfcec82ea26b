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
    fitted = c.fit(
        method,
        c.Pairs(np.array([2.0, 2, 2, 2, 1, 1, -1, 3]), np.array([1.0, 1, 0, 1, 0, 1, 0, 1]), SAME, list("abcdefgh")),
    )
    looked_at = np.linspace(-4, 4, 41)
    assert fitted(-looked_at) == pytest.approx(1 - fitted(looked_at), abs=1e-12)


def test_a_judge_worse_than_a_coin_becomes_a_coin_and_not_its_opposite():
    assert c.inverse_temperature(MARGINS, 1 - OUTCOMES) == 0.0
    often = np.tile(MARGINS, 500), np.tile(1 - OUTCOMES, 500)
    assert c.fit_temperature(*often)(np.array([4.0])) == pytest.approx([0.5], abs=0.02)


def test_being_right_twenty_times_does_not_make_certain():
    fitted = c.fit(c.TEMPERATURE, c.Pairs(np.ones(20), np.ones(20), np.ones(20), [str(n) for n in range(20)]))
    # one right and one wrong beside them would be 21 of 22; the prior on log T draws it nearer to σ(1) = .73
    assert 0.85 < fitted(np.array([1.0]))[0] < 21 / 22


def test_the_temperature_is_drawn_to_one_and_by_few_audits_more_than_by_many():
    """At the fitted β the loss falls as fast as the prior, (log β)² / 2·SPREAD², rises: slopes by the formula."""
    inverse = c.fit_temperature(MARGINS, OUTCOMES).parameters["inverse"]
    assert 1 / 2.0607 < inverse < 1
    slope = float(((c.expit(inverse * MARGINS) - OUTCOMES) * MARGINS).sum())
    assert slope + np.log(inverse) / (inverse * c.SPREAD**2) == pytest.approx(0, abs=1e-4)
    many = c.fit_temperature(np.tile(MARGINS, 500), np.tile(OUTCOMES, 500)).parameters["inverse"]
    assert 1 / many == pytest.approx(2.0607, abs=0.01)


def test_audits_of_one_prompt_are_one_witness_and_so_are_many_that_weigh_nothing():
    weights = c.worth(np.array([1.0, 1, 1, 1]), ["x", "x", "x", "y"])
    assert weights.sum() == pytest.approx(1.6)  # (3 + 1)² / (9 + 1)
    assert weights == pytest.approx([0.4] * 4)
    assert c.worth(np.array([1e-9, 1e-9, 1.0]), list("abc")).sum() == pytest.approx(1.0)
    data = pairs(300)
    alone = c.Pairs(data.margins, data.outcomes, data.weights, [str(number) for number in range(300)])
    together = c.Pairs(data.margins, data.outcomes, data.weights, [str(number // 30) for number in range(300)])
    least, most = (c.fit(c.TEMPERATURE, each).parameters["inverse"] for each in (alone, together))
    assert least < most < 1


def test_weights_count_like_repeated_pairs():
    weights = np.array([1.0, 2, 1, 1, 3, 1, 1, 1])
    repeated = np.repeat(np.arange(8), weights.astype(int))
    plain = c.inverse_temperature(MARGINS[repeated], OUTCOMES[repeated])
    assert c.inverse_temperature(MARGINS, OUTCOMES, weights) == pytest.approx(plain, abs=1e-6)


def test_calibrating_mends_a_judge_that_is_too_sure_and_is_measured_on_unseen_prompts():
    found, report = c.calibrate(pairs(600))
    assert report["after"]["log_loss"] < report["before"]["log_loss"]
    assert report["after"]["ece"] < report["before"]["ece"]
    rows = {row["method"]: row for row in report["candidates"]}
    assert list(rows) == [c.IDENTITY, c.TEMPERATURE, c.ISOTONIC]
    assert found.method == min(rows, key=lambda method: rows[method]["log_loss"])
    assert [method for method, row in rows.items() if row["chosen"]] == [found.method]
    assert rows[c.TEMPERATURE]["gain"] == pytest.approx(
        report["before"]["log_loss"] - rows[c.TEMPERATURE]["log_loss"], abs=1e-12
    )
    assert 0 < rows[c.TEMPERATURE]["low"] < rows[c.TEMPERATURE]["gain"] < rows[c.TEMPERATURE]["high"]
    assert (report["pairs"], report["prompts"], report["worth"]) == (600, 200, pytest.approx(200))
    few = c.calibrate(pairs(597))[1]["candidates"]
    assert [row["method"] for row in few] == [c.IDENTITY, c.TEMPERATURE]  # fewer than 200 that are independent


@pytest.mark.slow
def test_a_calibration_that_does_worse_on_unseen_prompts_is_not_used():
    """A judge whose numbers are right as they are: over many draws of thirty audits the loss grows by hardly anything,
    and where unseen prompts speak for the judge's own numbers these are kept.
    """
    excess, kept = [], 0
    for seed in range(60):
        data = pairs(30, temperature=1.0, seed=seed)
        found, report = c.calibrate(data)
        kept += found.method == c.IDENTITY
        assert report["after"]["log_loss"] <= report["before"]["log_loss"]
        new = np.random.default_rng(1000 + seed).normal(0, 3, 2000)
        true = c.expit(new)
        excess.append(c.log_loss(found(new), true) - c.log_loss(true, true))
    assert kept > 30
    assert np.mean(excess) < 0.01


def test_one_prompt_says_nothing_about_others_so_the_judge_is_taken_as_it_says():
    data = pairs(60)
    found, report = c.calibrate(c.Pairs(data.margins, data.outcomes, data.weights, ["one"] * 60))
    assert found.method == c.IDENTITY
    assert report["candidates"][1]["gain"] == 0
    assert report["before"]["log_loss"] == pytest.approx(c.log_loss(c.expit(data.margins), data.outcomes))
    assert found(np.array([2.0])) == pytest.approx([c.expit(2.0)])


def test_what_is_quoted_was_not_fitted_on():
    """A pair's own fold is not in the fit that it is judged by: flip its outcomes and its prediction stays."""
    data = pairs(60)
    folds = [c.fold_of(prompt) for prompt in data.prompts]
    before = c.unseen(c.TEMPERATURE, data)
    mine = np.asarray(folds) == folds[0]
    flipped = np.where(mine, 1 - data.outcomes, data.outcomes)
    after = c.unseen(c.TEMPERATURE, c.Pairs(data.margins, flipped, data.weights, data.prompts))
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
