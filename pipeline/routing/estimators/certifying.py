"""How right delivered labels are, and scores that a biased judge does not bend, from propensities that were kept.

    accuracy = (n_routed · a + Σ_s n_s · acc_s) / N,  SE = √ Σ_s (n_s/N)² acc_s (1 − acc_s)/m_s
    corrected mean = mean_i [ f_i + A_i/π_i (y_i − f_i) ]

acc_s come from random audits of what was *not* routed; routed items were chosen because the judge looked wrong, so
they say nothing about it (Horvitz and Thompson, 1952; Angelopoulos et al., "Prediction-powered inference", 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotate.statistics.intervals import Z95
from annotate.statistics.votes import Floats

LEAST_PROPENSITY = 0.05  # below it a single answer would weigh more than twenty


@dataclass(frozen=True)
class Stratum:
    """Items that the judge labelled: how many, how many of them were audited at random, and how many were right."""

    items: int
    audited: int
    right: float


@dataclass(frozen=True)
class Certificate:
    """Accuracy of a delivered set with its standard error and 95% interval."""

    accuracy: float
    error: float
    low: float
    high: float


def certified(routed: int, human_accuracy: float, strata: Sequence[Stratum]) -> Certificate:
    """Raises ValueError for a stratum that nobody audited: nothing can be said of it."""
    if any(stratum.items and not stratum.audited for stratum in strata):
        raise ValueError("A part of the items has no random audit: audit some of each before quoting an accuracy.")
    judged = [stratum for stratum in strata if stratum.items]
    total = routed + sum(stratum.items for stratum in judged)
    shares = [stratum.right / stratum.audited for stratum in judged]
    right = routed * human_accuracy + sum(s.items * share for s, share in zip(judged, shares, strict=True))
    variance = sum(
        (s.items / total) ** 2 * share * (1 - share) / s.audited for s, share in zip(judged, shares, strict=True)
    )
    accuracy, error = right / total, variance**0.5
    return Certificate(accuracy, error, max(0.0, accuracy - Z95 * error), min(1.0, accuracy + Z95 * error))


def corrected_mean(judge: Floats, human: Floats, bought: Floats, propensity: Floats, least: float = 0.0) -> float:
    """The mean score, corrected by human labels: all (n,); `human` counts only where `bought`.

    `least` truncates propensities: less variance for a little bias. Quote the estimate with and without.
    """
    bought = bought.astype(bool)
    gap = np.where(bought, np.where(bought, human, 0.0) - judge, 0.0)
    return float(np.mean(judge + gap / np.maximum(propensity, max(least, 1e-12))))


def together(propensities: Sequence[float]) -> float:
    """The probability of having been picked in one of several batches: 1 − Π (1 − π)."""
    return float(1 - np.prod(1 - np.asarray(propensities, dtype=float)))
