"""How sure a posterior may be, and how right people are, from labels that it did not see.

    P' ∝ P^γ,  γ maximises Σ log Σ_y P'_y Π lik(h | y) over labelled pairs with votes h, P not having seen them
    a = (Σ_votes F[h] + s·a₀)/(votes + s),  F ∝ P' Π lik                            (EM; Dawid and Skene, 1979)

Ridge and integration over what is unknown make a model too modest, on PandaLM by a γ of about 2.5. A power leaves the
argmax, and the symmetry of first and second, as they are (Guo et al., 2017, with 1/γ for a temperature). γ is drawn to
1 by a normal prior on its logarithm, `a` to a₀ by s votes. Counting agreement would not do for `a`: second labels are
bought where the first one surprised.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from annotate.statistics.votes import Floats
from pipeline.routing.estimators.value import ACCURACY, LEAST, MOST, updated

SPREAD = 0.7  # standard deviation of log γ beforehand
RANGE = (-1.0, 2.0)  # of log γ
PRIOR_VOTES = 30
ROUNDS = 4


def sharpened(posterior: Floats, power: float) -> Floats:
    """P^γ, normalised: (n, classes)."""
    logs = power * np.log(np.maximum(posterior, 1e-300))
    found = np.exp(logs - logs.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


def sharpness(posterior: Floats, soft: Floats) -> float:
    """γ for posteriors (m, classes) that did not see the labels; these as what they alone say, `soft` (m, classes).

    1 without any.
    """
    if not len(soft):
        return 1.0
    logs = np.log(np.maximum(posterior, 1e-300))
    said = np.log(np.maximum(soft, 1e-300))

    def loss(log_power: float) -> float:
        raised = np.exp(log_power) * logs
        raised = raised - np.logaddexp.reduce(raised, axis=1)[:, None]
        return float(0.5 * (log_power / SPREAD) ** 2 - np.logaddexp.reduce(raised + said, axis=1).sum())

    return float(np.exp(minimize_scalar(loss, bounds=RANGE, method="bounded").x))


def accuracy_given(posterior: Floats, votes: Floats, assumed: float = ACCURACY) -> float:
    """`a` from votes (m, classes) and what was believed without them."""
    found = assumed
    for _ in range(ROUNDS):
        right = float((updated(posterior, votes, found) * votes).sum())
        found = (PRIOR_VOTES * assumed + right) / (PRIOR_VOTES + float(votes.sum()))
    return float(np.clip(found, LEAST, MOST))
