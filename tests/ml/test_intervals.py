"""Intervals and calibration against numbers worked out apart from the code (methods reference, 12.1 and 12.5)."""

import numpy as np
import pytest

from pipeline.ml.evaluation.intervals import brier_score, calibration_error, clustered_bootstrap, wilson

PROBABILITIES = (0.95, 0.91, 0.82, 0.71, 0.66, 0.58, 0.55, 0.45)
OUTCOMES = (1, 1, 1, 0, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(78, 100, 0.689296, 0.849987), (0, 20, 0.0, 0.161125), (20, 20, 0.838875, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-6)


def test_calibration_error_and_brier_score():
    assert calibration_error(PROBABILITIES, OUTCOMES, bins=5) == pytest.approx(0.158750, abs=1e-6)
    assert brier_score(PROBABILITIES, OUTCOMES) == pytest.approx(0.175512, abs=1e-6)


def test_calibration_error_in_the_confidence_form():
    probabilities, outcomes = np.array(PROBABILITIES), np.array(OUTCOMES)
    confidence = np.maximum(probabilities, 1 - probabilities)
    right = np.where(probabilities > 0.5, outcomes, 1 - outcomes)
    assert calibration_error(confidence, right, bins=5, low=0.5) == pytest.approx(0.211250, abs=1e-6)


def test_a_probability_of_one_lies_in_the_last_bin():
    assert calibration_error([1.0, 1.0], [1, 0], bins=10) == pytest.approx(0.5)


def test_the_bootstrap_draws_whole_clusters():
    """Ten answers to one prompt tell no more than one answer: the interval must not narrow with copies."""
    draw = np.random.default_rng(3)
    values = draw.integers(0, 2, 60).astype(float)
    prompts = [str(number) for number in range(60)]
    once = clustered_bootstrap(values, prompts)
    tenfold = clustered_bootstrap(np.tile(values, 10), prompts * 10)
    alone = clustered_bootstrap(np.tile(values, 10), [str(number) for number in range(600)])

    assert tenfold == pytest.approx(once)
    assert alone[1] - alone[0] < 0.5 * (once[1] - once[0])


def test_the_bootstrap_of_independent_values_agrees_with_wilson():
    values = [1.0] * 78 + [0.0] * 22
    assert clustered_bootstrap(values, [str(n) for n in range(100)]) == pytest.approx((0.6893, 0.85), abs=0.02)


def test_the_bootstrap_gives_the_same_interval_each_time():
    values, clusters = [0.03, 0.91, 0.77, 0.2, 0.64], ["a", "a", "b", "c", "d"]
    assert clustered_bootstrap(values, clusters) == clustered_bootstrap(values, clusters)
    assert clustered_bootstrap(values, clusters) != clustered_bootstrap(values, clusters, seed=1, resamples=100)
