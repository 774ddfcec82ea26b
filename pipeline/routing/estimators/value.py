"""What one more human label is worth, and how right one person is.

    lik(h | y) = a if h = y else (1 − a)/(K − 1)
    VOI(F) = Σ_h max_y F_y lik(h | y) − max_y F_y

the exact gain in expected accuracy of one more label (Howard, "Information value theory", 1966); 0 where no answer
could change the label. `a` follows from how often two people agree: A = a² + (1 − a)²/2 for three classes.
"""

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence.pool import CLASSES

ACCURACY = 0.95  # of one person, until double labels say better
LEAST, MOST = 0.6, 0.995
PRIOR_PAIRS = 30  # pairs of labels that the assumption counts for
NUDGE = 1e-3  # of doubt, so that items whose label one answer cannot change still have an order


def likelihood(accuracy: float, classes: int = CLASSES) -> Floats:
    """P(h | y): (h, y)."""
    matrix = np.full((classes, classes), (1 - accuracy) / (classes - 1))
    np.fill_diagonal(matrix, accuracy)
    return matrix


def value_of_information(posterior: Floats, accuracy: float = ACCURACY) -> Floats:
    """The gain in expected accuracy by one more label for each row of (n, classes): (n,)."""
    joint = posterior[:, None, :] * likelihood(accuracy, posterior.shape[1])
    return joint.max(axis=2).sum(axis=1) - posterior.max(axis=1)


def score(posterior: Floats, accuracy: float = ACCURACY) -> Floats:
    """What a router sorts by: the value of a label, and a little doubt."""
    return value_of_information(posterior, accuracy) + NUDGE * (1 - posterior.max(axis=1))


def updated(posterior: Floats, votes: Floats, accuracy: float = ACCURACY) -> Floats:
    """The posterior after people's votes (n, classes), which may hold parts of votes."""
    logs = np.log(np.maximum(posterior, 1e-12)) + votes @ np.log(likelihood(accuracy, posterior.shape[1]))
    logs -= logs.max(axis=1, keepdims=True)
    found = np.exp(logs)
    return found / found.sum(axis=1, keepdims=True)


def accuracy_from_agreement(agreement: float, classes: int = CLASSES) -> float:
    """How right one person is, if two agree so often: the larger root of A = a² + (1 − a)²/(K − 1)."""
    spread = max(0.0, classes * agreement - 1) * (classes - 1)
    return (1 + spread**0.5) / classes


def accuracy_of_people(votes: Floats, assumed: float = ACCURACY) -> float:
    """`a` from votes (n, classes): agreement over all pairs of votes on one item, drawn to the assumption if few."""
    total = votes.sum(axis=1)
    pairs = float((total * (total - 1)).sum() / 2)
    same = float((votes * (votes - 1)).sum() / 2)
    expected = assumed**2 + (1 - assumed) ** 2 / (CLASSES - 1)
    agreement = (same + PRIOR_PAIRS * expected) / (pairs + PRIOR_PAIRS)
    return float(np.clip(accuracy_from_agreement(agreement), LEAST, MOST))


def settled(votes: Floats, posterior: Floats) -> Integers:
    """The final label of each item: what most people said; a shared first place, or none, by the posterior."""
    leading = votes == votes.max(axis=1, keepdims=True)
    return np.where(leading, posterior + 1e-9, -1.0).argmax(axis=1)
