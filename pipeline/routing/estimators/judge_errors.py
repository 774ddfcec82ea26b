"""P(the judge is wrong) for each pair, learned from pairs that people labelled too.

Ridge logistic regression on symmetric columns and on how far each antisymmetric column stands against the judge's
vote; weighted by 1/π (propensity), because audited and routed pairs were not picked alike; calibrated by a line
through its own held-out logits (Platt, "Probabilistic outputs for support vector machines", 1999). Before LEAST labels
there is no such model, and the rule score of `policies/judged.py` serves.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.estimators.certifying import LEAST_PROPENSITY

LEAST = 30  # labelled pairs before anything is learned
FOLDS = 5
RIDGE = 30.0


@dataclass(frozen=True)
class JudgeErrors:
    """A fitted model: columns are centred and scaled; P(wrong) = σ(slope · logit + shift)."""

    centre: Floats
    size: Floats
    weights: Floats
    base: float
    slope: float
    shift: float

    def probability(self, columns: Floats) -> Floats:
        """P(wrong) of each row of (n, columns)."""
        return expit(self.slope * self.logit(columns) + self.shift)

    def logit(self, columns: Floats) -> Floats:
        return scaled_by(columns, self.centre, self.size) @ self.weights + self.base


def columns_for(symmetric: Floats, antisymmetric: Floats, vote: Floats) -> Floats:
    """Columns that stay as they are under a swap: S, A times the judge's vote, and whether it has one."""
    return np.column_stack([symmetric, antisymmetric * vote[:, None], vote == 0])


def fit_errors(columns: Floats, wrong: Integers, propensity: Floats) -> JudgeErrors | None:
    """The model, or None where there are fewer than LEAST labels or the judge was always right, or always wrong."""
    if len(wrong) < LEAST or wrong.min() == wrong.max():
        return None
    weight = 1 / np.maximum(propensity, LEAST_PROPENSITY)
    weight = weight * len(weight) / weight.sum()
    known = np.isfinite(columns)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, columns, 0.0).sum(axis=0) / count
    size = np.sqrt((np.where(known, columns - centre, 0.0) ** 2).sum(axis=0) / count)
    size = np.where(size > 1e-9, size, np.inf)
    scaled = scaled_by(columns, centre, size)
    weights, base = regression(scaled, wrong, weight)
    slope, shift = line(held_out_logits(scaled, wrong, weight), wrong, weight)
    return JudgeErrors(centre, size, weights, base, slope, shift)


def scaled_by(columns: Floats, centre: Floats, size: Floats) -> Floats:
    """Columns of unit size; what a pair cannot have (NaN) is taken for the mean."""
    return np.nan_to_num(np.clip((columns - centre) / size, -8, 8))


def regression(scaled: Floats, wrong: Integers, weight: Floats) -> tuple[Floats, float]:
    model = LogisticRegression(C=1 / RIDGE, max_iter=200).fit(scaled, wrong, sample_weight=weight)
    return model.coef_[0], float(model.intercept_[0])


def held_out_logits(scaled: Floats, wrong: Integers, weight: Floats) -> Floats:
    folds = min(FOLDS, int(np.bincount(wrong).min()))
    if folds < 2:
        weights, base = regression(scaled, wrong, weight)
        return scaled @ weights + base
    found = np.zeros(len(wrong))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(scaled, wrong):
        weights, base = regression(scaled[train], wrong[train], weight[train])
        found[test] = scaled[test] @ weights + base
    return found


def line(logits: Floats, wrong: Integers, weight: Floats) -> tuple[float, float]:
    """Slope and shift that calibrate held-out logits; below 0 a slope would turn the model round."""
    model = LogisticRegression(C=1.0, max_iter=200).fit(logits[:, None], wrong, sample_weight=weight)
    return max(0.0, float(model.coef_[0, 0])), float(model.intercept_[0])
