"""How sure a number is: intervals and calibration as pure NumPy functions, each with its source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964  # two-sided 95% quantile of the normal distribution
BOOTSTRAP_SEED = 20_240_117  # fixed, and stored in reports: the same scores always give the same interval

Floats = NDArray[np.float64]


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Interval of a share of independent trials (Wilson, 1927); `successes` may hold halves for ties.

    Unlike the usual p ± z·se it stays inside [0, 1] and is honest at 0% and 100%. Without trials it is (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    centre, scale = share + z**2 / (2 * n), 1 + z**2 / n
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def clustered_bootstrap(
    values: Sequence[float] | Floats,
    clusters: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[float, float]:
    """95% percentile interval of a mean whose values come in groups that are not independent.

    Draws whole clusters (prompts, say) with replacement (Efron 1979; Field & Welsh 2007). Without values (0, 1)
    would be a claim about the scale, so there must be at least one.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(member, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(member)
    draw = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        picked = draw.integers(len(names), size=len(names))
        means[index] = sums[picked].sum() / counts[picked].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def calibration_error(
    probabilities: Sequence[float] | Floats,
    outcomes: Sequence[float] | Floats,
    *,
    bins: int = 10,
    low: float = 0.0,
    high: float = 1.0,
) -> float:
    """Expected calibration error: Σ_b n_b/n · |mean P − mean y| over equal-width bins of [low, high].

    Naeini et al. 2015; Guo et al. 2017, 1706.04599. For confidences, max(P, 1−P), take low = ½.
    """
    predicted, observed = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    place = np.clip(((predicted - low) / (high - low) * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(place, weights=predicted - observed, minlength=bins)
    return float(np.abs(gaps).sum() / len(predicted))


def brier_score(probabilities: Sequence[float] | Floats, outcomes: Sequence[float] | Floats) -> float:
    """Mean squared distance of a probability from what happened (Brier, 1950)."""
    gaps = np.asarray(probabilities, dtype=np.float64) - np.asarray(outcomes, dtype=np.float64)
    return float(np.mean(gaps**2))
