"""When the work will be done, if people go on as they did: a bootstrap over days."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotate.statistics.intervals import RESAMPLES, SEED

FARTHEST = 3650.0  # days: beyond, nobody can say
FEWEST_DAYS = 3


@dataclass(frozen=True)
class Forecast:
    """Days from now until the last answer, with a 95% interval; `high` None is “nobody can say”."""

    days: float
    low: float
    high: float | None


def forecast(daily: Sequence[int], remaining: int, resamples: int = RESAMPLES, seed: int = SEED) -> Forecast | None:
    """How many days `remaining` answers take at the pace of `daily`, the answers of each past day.

    Days are drawn with replacement (Efron, 1979), as many as there were; each draw's mean is a pace. Assumes that
    the days to come are like those, days off included, and independent of one another. None with fewer than
    FEWEST_DAYS days, or where nothing was done on them.
    """
    counts = np.asarray(daily, dtype=float)
    if len(counts) < FEWEST_DAYS or counts.sum() == 0:
        return None
    draws = np.random.default_rng(seed).integers(0, len(counts), size=(resamples, len(counts)))
    paces = counts[draws].mean(axis=1)
    needed = np.divide(remaining, paces, out=np.full(resamples, np.inf), where=paces > 0)
    low, high = np.percentile(needed, [2.5, 97.5], method="nearest")
    return Forecast(float(remaining / counts.mean()), float(low), float(high) if high <= FARTHEST else None)
