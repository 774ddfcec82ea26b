"""How right delivered labels are, and scores that a biased judge does not bend, from propensities that were kept.

    accuracy = (n_routed · a + Σ_s n_s · acc_s) / N,  SE = √ Σ_s (n_s/N)² acc_s (1 − acc_s)/m_s
    low = accuracy − √ Σ_s (n_s/N)² (acc_s − l_s)²,  high with u_s, where [l_s, u_s] is Wilson's interval of acc_s
    corrected mean = mean_i [ f_i + A_i/π_i (y_i − f_i) ]

acc_s come from random audits of what was *not* routed; routed items were chosen because the judge looked wrong, so
they say nothing about it (Horvitz and Thompson, 1952; Angelopoulos et al., "Prediction-powered inference", 2023). The
interval is put together from those of its parts (Zou and Donner, "Construction of confidence limits about effect
measures", 2008): ten right of ten leave doubt, which the standard error does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from annotate.statistics.intervals import Z95, wilson
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


def certified(
    routed: int, human_accuracy: float, strata: Sequence[Stratum], human_range: tuple[float, float] | None = None
) -> Certificate:
    """`human_range` is the interval of the human accuracy, where it was measured; assumed, it adds no doubt.

    Raises ValueError for a stratum that nobody audited: nothing can be said of it.
    """
    if any(stratum.items and not stratum.audited for stratum in strata):
        raise ValueError("A part of the items has no random audit: audit some of each before quoting an accuracy.")
    judged = [stratum for stratum in strata if stratum.items]
    total = routed + sum(stratum.items for stratum in judged)
    parts = [(s.items / total, s.right / s.audited, *wilson(s.right, s.audited)) for s in judged]
    variance = sum(
        share**2 * right * (1 - right) / s.audited for (share, right, _, _), s in zip(parts, judged, strict=True)
    )
    parts.append((routed / total, human_accuracy, *(human_range or (human_accuracy, human_accuracy))))
    accuracy = sum(share * right for share, right, _, _ in parts)
    below = sum((share * (right - low)) ** 2 for share, right, low, _ in parts) ** 0.5
    above = sum((share * (high - right)) ** 2 for share, right, _, high in parts) ** 0.5
    return Certificate(accuracy, variance**0.5, max(0.0, accuracy - below), min(1.0, accuracy + above))


def audits_wanted(total: int, strata: Sequence[Stratum], within: float) -> int:
    """How many more audits, drawn evenly from these strata, would bring the accuracy to ± `within` (95%).

    A stratum's share of right labels is taken for (right + 1)/(audited + 2), so that few audits promise nothing.
    """
    unaudited = sum(stratum.items for stratum in strata)
    if not unaudited:
        return 0
    shares = [(s.items, (s.right + 1) / (s.audited + 2)) for s in strata]
    spread = sum(items * share * (1 - share) for items, share in shares) * unaudited / total**2
    return max(0, ceil(spread * (Z95 / within) ** 2) - sum(s.audited for s in strata))


def corrected_mean(judge: Floats, human: Floats, bought: Floats, propensity: Floats, least: float = 0.0) -> float:
    """The mean score, corrected by human labels: all (n,); `human` counts only where `bought`.

    `least` truncates propensities: less variance for a little bias. Quote the estimate with and without.
    """
    bought = bought.astype(bool)
    gap = np.where(bought, np.where(bought, human, 0.0) - judge, 0.0)
    return float(np.mean(judge + gap / np.maximum(propensity, max(least, 1e-12))))
