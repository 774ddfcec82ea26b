"""Strengths of responses that meet in several comparisons, with raters who pay attention more or less.

Plain: P(i beats j) = σ(s_i − s_j) (Bradley and Terry, 1952), with a ridge on s so that a response that never lost
stays finite.

Noisy: rater w answers from the responses with probability γ_w, else by habit:

    P(w says first) = γ_w σ(s_first − s_second) + (1 − γ_w) σ(q_w)

γ_w is the attentive share and σ(q_w) how often the first place gets an inattentive vote (Chen, Bennett, Collins-
Thompson, Horvitz, "Pairwise ranking aggregation in a crowdsourced setting", 2013, with a place habit as in its
extension). "First" is the presented order.

A tie is half a win each way. The gradients are our own and are checked against finite differences.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from annotate.statistics.votes import Floats, Integers, sums

RIDGE = 0.1
HABIT_RIDGE = 0.1
TINY = 1e-12


@dataclass(frozen=True)
class Comparisons:
    """`first`, `second`: responses shown first and second (n,). `rater` (n,). `won`: 1 first, 0 second, ½ tie."""

    first: Integers
    second: Integers
    rater: Integers
    won: Floats
    responses: int
    raters: int


@dataclass(frozen=True)
class Strengths:
    """`strength` (responses,) in log odds, centred at 0; `attentive` and `habit` (raters,)."""

    strength: Floats
    attentive: Floats
    habit: Floats
    loss: float


def bradley_terry(
    first: Integers, second: Integers, wins: Floats, losses: Floats, responses: int, ridge: float = RIDGE
) -> Floats:
    """Strengths (responses,) that maximise Σ wins log σ(d) + losses log σ(−d) − ridge/2 · |s|²."""

    def objective(strength: Floats) -> tuple[float, Floats]:
        gap = strength[first] - strength[second]
        loss = -(wins * log_expit(gap) + losses * log_expit(-gap)).sum() + 0.5 * ridge * strength @ strength
        slope = (wins + losses) * expit(gap) - wins
        return float(loss), scattered(first, second, slope, responses) + ridge * strength

    return minimize(objective, np.zeros(responses), jac=True, method="L-BFGS-B", options={"gtol": 1e-9}).x


def scattered(first: Integers, second: Integers, slope: Floats, responses: int) -> Floats:
    """Slopes of the gaps as slopes of the strengths."""
    return sums(first, slope, responses) - sums(second, slope, responses)


def vote_probability(gap: Floats | float, attentive: Floats | float, habit: Floats | float) -> Floats:
    """P(says first) of the noisy model."""
    return attentive * expit(gap) + (1 - np.asarray(attentive)) * expit(habit)


def noisy_objective(
    theta: Floats, data: Comparisons, ridge: float = RIDGE, start: float = 0.9
) -> tuple[float, Floats]:
    """Penalised negative log likelihood and its gradient at theta = (s, logit γ, q).

    Ridge on s (as above), on logit γ around logit(start), and on q around 0: a rater with few votes stays usual.
    """
    strength, skill, habit = np.split(theta, [data.responses, data.responses + data.raters])
    gap = strength[data.first] - strength[data.second]
    attentive, drawn, placed = expit(skill)[data.rater], expit(gap), expit(habit)[data.rater]
    says = np.clip(vote_probability(gap, attentive, habit[data.rater]), TINY, 1 - TINY)
    loss = -(data.won * np.log(says) + (1 - data.won) * np.log1p(-says)).sum()
    slope = (says - data.won) / (says * (1 - says))
    centre = skill - logit(start)
    loss += 0.5 * ridge * strength @ strength + 0.5 * HABIT_RIDGE * (centre @ centre + habit @ habit)
    by_gap = slope * attentive * drawn * (1 - drawn)
    by_skill = slope * (drawn - placed) * attentive * (1 - attentive)
    by_habit = slope * (1 - attentive) * placed * (1 - placed)
    gradient = np.concatenate(
        [
            scattered(data.first, data.second, by_gap, data.responses) + ridge * strength,
            sums(data.rater, by_skill, data.raters) + HABIT_RIDGE * centre,
            sums(data.rater, by_habit, data.raters) + HABIT_RIDGE * habit,
        ]
    )
    return float(loss), gradient


def noisy_bradley_terry(data: Comparisons, ridge: float = RIDGE, start: float = 0.9) -> Strengths:
    """Fit strengths, attentive shares and place habits together; raters start attentive (γ = `start`)."""
    theta = np.concatenate([np.zeros(data.responses), np.full(data.raters, logit(start)), np.zeros(data.raters)])
    found = minimize(noisy_objective, theta, (data, ridge, start), jac=True, method="L-BFGS-B")
    strength, skill, habit = np.split(found.x, [data.responses, data.responses + data.raters])
    return Strengths(strength - strength.mean(), expit(skill), habit, float(found.fun))
