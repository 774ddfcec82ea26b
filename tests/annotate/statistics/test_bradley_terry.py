"""Strengths from comparisons: golden numbers, gradients against finite differences, crowds of known skill."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit

from annotate.statistics.bradley_terry import (
    Comparisons,
    bradley_terry,
    noisy_bradley_terry,
    noisy_objective,
    vote_probability,
)


def test_three_responses():
    strength = bradley_terry(np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([7, 6, 8]), np.array([3, 4, 2]), 3)
    assert strength == pytest.approx([0.7273, -0.1464, -0.5809], abs=1e-4)
    assert expit(strength[0] - strength[1]) == pytest.approx(0.7055, abs=1e-4)


def test_the_chance_of_a_vote():
    chances = [float(vote_probability(0.5, attentive, 0.3)) for attentive in (1, 0.8, 0.5, 0)]
    assert chances == pytest.approx([0.622459, 0.612856, 0.598451, 0.574443], abs=1e-6)


def made_up(
    seed: int, raters=(0.95, 0.9, 0.1), habits=(0.0, 0.0, 2.0), n: int = 1500
) -> tuple[np.ndarray, Comparisons]:
    draw = np.random.default_rng(seed)
    strength = draw.normal(0, 1.5, 12)
    first = draw.integers(0, 12, n)
    second = (first + draw.integers(1, 12, n)) % 12
    rater = draw.integers(0, len(raters), n)
    chance = vote_probability(strength[first] - strength[second], np.array(raters)[rater], np.array(habits)[rater])
    won = (draw.random(n) < chance).astype(float)
    won[draw.random(n) < 0.05] = 0.5
    return strength, Comparisons(first, second, rater, won, 12, len(raters))


def test_the_gradient_is_the_slope_of_the_loss():
    _, data = made_up(3)
    for seed in range(3):
        at = np.random.default_rng(seed).normal(0, 1, data.responses + 2 * data.raters)
        slope = np.linalg.norm(noisy_objective(at, data)[1])
        wrong = check_grad(lambda t: noisy_objective(t, data)[0], lambda t: noisy_objective(t, data)[1], at)
        assert wrong / slope < 1e-5


def test_an_inattentive_rater_with_a_habit_is_found_out():
    strength, data = made_up(1)
    found = noisy_bradley_terry(data)
    assert found.attentive[2] < 0.35 < 0.75 < found.attentive[:2].min()
    assert found.habit[2] == pytest.approx(2.0, abs=0.5)
    plain = bradley_terry(data.first, data.second, data.won, 1 - data.won, 12)
    assert np.corrcoef(found.strength, strength)[0, 1] > max(0.97, np.corrcoef(plain, strength)[0, 1])


def test_shown_the_other_way_round_strengths_stay_and_habits_turn():
    _, data = made_up(2)
    turned = Comparisons(data.second, data.first, data.rater, 1 - data.won, 12, 3)
    one, other = noisy_bradley_terry(data), noisy_bradley_terry(turned)
    assert other.strength == pytest.approx(one.strength, abs=2e-3)
    assert other.habit == pytest.approx(-one.habit, abs=2e-2)


def test_a_tie_is_half_a_win_each_way():
    pair = np.array([0]), np.array([1])
    assert bradley_terry(*pair, np.array([0.5]), np.array([0.5]), 2) == pytest.approx([0, 0], abs=1e-6)
