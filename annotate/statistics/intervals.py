"""How sure a number is: Wilson's interval of a share, and percentiles of a bootstrap over repeated rows."""

from collections.abc import Callable

import numpy as np

from annotate.statistics.votes import Floats, Integers

Z95 = 1.959964  # two-sided 95% quantile of the normal distribution
RESAMPLES = 1000
SEED = 17  # fixed: the same votes always show the same interval


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float]:
    """95% interval of a share (Wilson, 1927); stays inside [0, 1]. `successes` may hold parts; without n (0, 1)."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    centre, scale = share + z**2 / (2 * n), 1 + z**2 / n
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def resampled(repeats: Integers, resamples: int = RESAMPLES, seed: int = SEED) -> Integers:
    """Draws with replacement from rows of which many are alike (Efron, 1979).

    `repeats` (kinds,) says how often each kind of row occurs. Returns how often it was drawn, (resamples, kinds): a
    bootstrap over a million units costs as little as one over their few distinct patterns.
    """
    n = int(repeats.sum())
    return np.random.default_rng(seed).multinomial(n, repeats / n, size=resamples)


def percentile_interval(values: Floats) -> tuple[float | None, float | None]:
    """The 2.5th and 97.5th percentile of the values that are defined; None where none is."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def low_of_unanimous(n: int) -> float:
    """The low end of a chance-corrected agreement where all n units agree: 0.05^(1/n).

    A bootstrap of units that all agree knows no doubt. But if chance alone had answered a share q of the units, the
    agreement would be 1 − q, and n units would all agree by luck of the draw with (1 − q)^n: at q = 1 − 0.05^(1/n)
    that is 5% (the reasoning of Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983).
    """
    return 0.05 ** (1 / n)


def interval_of(
    repeats: Integers, statistic: Callable[[Integers], Floats], resamples: int = RESAMPLES
) -> tuple[float | None, float | None]:
    """95% interval of a statistic of row counts; `statistic` maps (resamples, kinds) to (resamples,)."""
    if repeats.sum() == 0:
        return None, None
    return percentile_interval(statistic(resampled(repeats, resamples)))
