"""Krippendorff's alpha: agreement of any number of raters beyond chance, with values missing as they come.

    α = 1 − D_o / D_e,   D = Σ_kl o_kl δ²(k, l) over the coincidences o of all pairs of values within units

A unit with m values adds its pairs with weight 1 / (m − 1); units with one value are left out. δ² is 0 or 1 for
categories (nominal), the squared difference (interval), that over the squared sum (ratio), or, for ranks, the squared
number of values that lie between two, the ends counted half (ordinal). Krippendorff, "Computing Krippendorff's
Alpha-Reliability" (2011).

Coincidences add up over units, and many units are alike: so the bootstrap draws patterns, not units.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from annotate.statistics.intervals import RESAMPLES, low_of_unanimous, percentile_interval, resampled
from annotate.statistics.votes import Floats, Integers

Units = Sequence[Sequence[float]]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
BLOCK = 5_000_000  # numbers in one product of the bootstrap: bounds its memory


def patterns(units: Units) -> tuple[Floats, Integers, Integers]:
    """The values in order (values,), the distinct units as counts (patterns, values), and how often each occurs."""
    sizes = np.fromiter((len(unit) for unit in units), dtype=np.int64, count=len(units))
    flat = np.fromiter((value for unit in units for value in unit), dtype=np.float64, count=int(sizes.sum()))
    domain, place = np.unique(flat, return_inverse=True)
    row = np.repeat(np.arange(len(units)), sizes)
    flat_counts = np.bincount(row * len(domain) + place, minlength=len(units) * len(domain))
    counts = flat_counts.reshape(len(units), len(domain))
    kinds, repeats = np.unique(counts, axis=0, return_counts=True)
    return domain, kinds, repeats


def coincidences(kinds: Integers) -> Floats:
    """What one unit of each pattern adds to the coincidence matrix: (patterns, values, values)."""
    sizes = kinds.sum(axis=1)
    pairs = kinds[:, :, None] * kinds[:, None, :] - kinds[:, :, None] * np.eye(kinds.shape[1], dtype=np.int64)
    return pairs / np.maximum(sizes - 1, 1)[:, None, None]


def distances(totals: Floats, domain: Floats, level: Level) -> Floats:
    """δ² between values: (…, values, values), from how often each was given, `totals` (…, values)."""
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(len(domain)), (*totals.shape, len(domain)))
    if level in ("interval", "ratio"):
        squared = (domain[:, None] - domain[None, :]) ** 2
        if level == "ratio":
            together = domain[:, None] + domain[None, :]
            squared = squared / np.where(together == 0, 1.0, together) ** 2
        return np.broadcast_to(squared, (*totals.shape, len(domain)))
    middles = np.cumsum(totals, axis=-1) - totals / 2  # values below, and half of those alike
    return (middles[..., :, None] - middles[..., None, :]) ** 2


def alpha_of(matrices: Floats, domain: Floats, level: Level) -> Floats:
    """Alpha of each coincidence matrix (…, values, values) → (…,); NaN where only one value was given."""
    totals = matrices.sum(axis=-1)
    squared = distances(totals, domain, level)
    expected = totals[..., :, None] * totals[..., None, :]
    n = totals.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (matrices * squared).sum(axis=(-2, -1)) / (expected * squared).sum(axis=(-2, -1))
        return 1.0 - (n - 1) * ratio


def alpha(units: Units, level: Level = "ordinal") -> dict[str, Any]:
    """Alpha of what raters gave to each unit, with a 95% interval and the number of units that two rated.

    `units` holds for each unit the values that it was given, in any order; units with one value are left out. Alpha
    is None where only one value was ever given, since chance then explains all.
    """
    twice = [unit for unit in units if len(unit) > 1]
    result = {"alpha": None, "low": None, "high": None, "units": len(twice), "level": level}
    if not twice:
        return result
    domain, kinds, repeats = patterns(twice)
    each = coincidences(kinds)
    value = float(alpha_of(np.tensordot(repeats, each, axes=1), domain, level))
    if np.isclose(value, 1.0):
        return {**result, "alpha": 1.0, "low": low_of_unanimous(len(twice)), "high": 1.0}
    low, high = percentile_interval(alpha_bootstrap(each, repeats, domain, level))
    return {**result, "alpha": value if np.isfinite(value) else None, "low": low, "high": high}


def alpha_bootstrap(each: Floats, repeats: Integers, domain: Floats, level: Level) -> Floats:
    """Alpha over resampled units, in blocks: (resamples,)."""
    drawn = resampled(repeats)
    values = len(domain)
    rows = max(1, BLOCK // max(len(repeats), values * values))
    blocks = [
        alpha_of(
            (drawn[start : start + rows] @ each.reshape(len(repeats), -1)).reshape(-1, values, values), domain, level
        )
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(blocks)
