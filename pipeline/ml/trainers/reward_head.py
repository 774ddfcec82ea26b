"""Fit the linear head of a reward model on frozen features: ridge-regularised Bradley–Terry, in NumPy.

The reward is w·h with h the features of an answer, so a pair's margin is w·φ with φ = h_chosen − h_rejected. The
problem is convex and small; what costs time is one forward pass for the features.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

FOLDS = 5
MANY_PAIRS = 5000  # from here on one fold left out says enough about a ridge
RIDGES = tuple(10.0**power for power in np.arange(-3.0, 1.5, 0.5))  # on standardised features, loss as a mean
NEWTON_STEPS = 50
TOLERANCE = 1e-9  # nats


@dataclass(frozen=True)
class FittedHead:
    """Weights (hidden,) for raw features; the cross-validated loss and accuracy are None where ridge was given."""

    weight: Floats
    ridge: float
    held_out_loss: float | None
    held_out_accuracy: float | None


@dataclass(frozen=True)
class Problem:
    """Standardised pairs: h_chosen ∓ h_rejected (pairs, hidden), P(chosen preferred) (pairs,), and the penalties.

    `centring` weighs the mean of (r_c + r_r)², as in training: without it the margins would leave the level of the
    rewards open, and a raw feature's large mean would put them far from zero.
    """

    differences: Floats
    sums: Floats
    probability: Floats
    ridge: float
    centring: float

    def where(self, keep: NDArray[np.bool_]) -> "Problem":
        """The same problem on some of the pairs."""
        rows = {
            "differences": self.differences[keep],
            "sums": self.sums[keep],
            "probability": self.probability[keep],
        }
        return replace(self, **rows)

    def loss(self, weight: Floats) -> float:
        """Mean soft loss of differences·w plus both penalties, in nats."""
        levels = self.sums @ weight
        penalty = self.centring * (levels**2).mean() + 0.5 * self.ridge * weight @ weight
        return float(soft_loss(self.differences @ weight, self.probability).mean() + penalty)

    def solve(self) -> Floats:
        """The w (hidden,) with the least loss, by Newton's method with step halving (the problem is convex)."""
        size, hidden = self.differences.shape
        fixed = 2 * self.centring / size * self.sums.T @ self.sums + self.ridge * np.eye(hidden)
        weight, loss = np.zeros(hidden), self.loss(np.zeros(hidden))
        for _ in range(NEWTON_STEPS):
            predicted = expit(self.differences @ weight)
            slope = self.differences.T @ (predicted - self.probability) / size + fixed @ weight
            spread = (predicted * (1 - predicted) / size)[:, None] * self.differences
            step = -np.linalg.solve(self.differences.T @ spread + fixed, slope)
            while self.loss(weight + step) > loss and np.abs(step).max() > TOLERANCE:
                step = step / 2
            gained, weight = loss - self.loss(weight + step), weight + step
            loss -= gained
            if gained < TOLERANCE:
                break
        return weight


def fit_head(
    chosen: Floats,
    rejected: Floats,
    probability: Floats,
    groups: Sequence[str],
    *,
    ridge: float | None,
    centring: float = 0.0,
) -> FittedHead:
    """The best head for features (pairs, hidden) of both sides and P(chosen preferred) (pairs,).

    Without a ridge it is chosen by cross-validation over folds that keep each group (prompt) whole.
    """
    scale = np.concatenate([chosen, rejected]).std(axis=0)
    scale[scale == 0] = 1.0  # a feature that never varies has no difference to weigh either
    problem = Problem((chosen - rejected) / scale, (chosen + rejected) / scale, probability, ridge or 0.0, centring)
    loss = accuracy = None
    if ridge is None:
        scores = {item: cross_validate(replace(problem, ridge=item), groups) for item in RIDGES}
        best = min(scores, key=lambda item: scores[item][0])
        problem, (loss, accuracy) = replace(problem, ridge=best), scores[best]
    return FittedHead(problem.solve() / scale, problem.ridge, loss, accuracy)


def soft_loss(margins: Floats, probability: Floats) -> Floats:
    """p·softplus(−δ) + (1−p)·softplus(δ), for each pair, in nats."""
    return np.logaddexp(0.0, -margins) + (1 - probability) * margins


def cross_validate(problem: Problem, groups: Sequence[str]) -> tuple[float, float]:
    """(mean loss, accuracy) on pairs left out of the fit."""
    fold = fold_of_groups(groups)
    folds = [0] if len(fold) > MANY_PAIRS else range(fold.max() + 1)
    margins, left_out = np.zeros(len(fold)), np.isin(fold, folds)
    for number in folds:
        out = fold == number
        margins[out] = problem.differences[out] @ problem.where(~out).solve()
    right = (np.sign(margins[left_out]) + 1) / 2
    return float(soft_loss(margins, problem.probability)[left_out].mean()), float(right.mean())


def fold_of_groups(groups: Sequence[str]) -> NDArray[np.int64]:
    """The fold (from 0) of each row; groups are dealt out in the order of their names (hashes: as good as drawn)."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return member % min(FOLDS, len(names))


def head_to_json(head: FittedHead) -> dict[str, object]:
    """The head in JSON's types."""
    return {**asdict(head), "weight": head.weight.tolist()}


def head_from_json(path: Path) -> FittedHead:
    """A head that `head_to_json` described, from its file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return FittedHead(**{**values, "weight": np.array(values["weight"])})
