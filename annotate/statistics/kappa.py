"""Cohen's kappa: how far two raters agree beyond chance, on categories or on an ordered scale.

    κ = 1 − Σ w_kl o_kl / Σ w_kl e_kl,   e = (row shares) × (column shares)

w is 0 on the diagonal and 1 elsewhere for categories (Cohen, "A coefficient of agreement for nominal scales", 1960),
or the squared distance of the places on a scale (Cohen, "Weighted kappa", 1968).
"""

from typing import Any

import numpy as np

from annotate.statistics.intervals import interval_of, low_of_unanimous, wilson
from annotate.statistics.votes import Floats, Integers


def disagreement(options: int, *, ordered: bool) -> Floats:
    """The weights w: (options, options)."""
    places = np.arange(options, dtype=np.float64)
    return (places[:, None] - places[None, :]) ** 2 if ordered else 1.0 - np.eye(options)


def kappa_of_tables(tables: Floats, weights: Floats) -> Floats:
    """Kappa of each table of joint counts, (…, options, options) → (…,); NaN where chance explains all."""
    totals = tables.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        joint = tables / totals[..., None, None]
        chance = joint.sum(axis=-1)[..., :, None] * joint.sum(axis=-2)[..., None, :]
        return 1.0 - (joint * weights).sum(axis=(-2, -1)) / (chance * weights).sum(axis=(-2, -1))


def table_of(one: Integers, other: Integers, options: int) -> Floats:
    """How often the two said what together: (options, options)."""
    return np.bincount(one * options + other, minlength=options**2).reshape(options, options).astype(np.float64)


def kappa(table: Floats, *, ordered: bool = False) -> dict[str, Any]:
    """Kappa of a table of joint counts with a bootstrap interval, the plain agreement with Wilson's, and n."""
    options = len(table)
    weights = disagreement(options, ordered=ordered)
    n = int(table.sum())
    result = {"kappa": None, "low": None, "high": None, "agreement": None, "n": n}
    if not n:
        return result
    value = float(kappa_of_tables(table, weights))
    flat = table.astype(np.int64).ravel()
    low, high = interval_of(
        flat, lambda drawn: kappa_of_tables(drawn.reshape(-1, options, options).astype(float), weights)
    )
    if np.isclose(value, 1.0):
        low = low_of_unanimous(n)
    same = float(np.trace(table))
    share_low, share_high = wilson(same, n)
    known = np.isfinite(value)
    return {
        "kappa": value if known else None,
        "low": low if known else None,
        "high": high if known else None,
        "agreement": same / n,
        "agreement_low": share_low,
        "agreement_high": share_high,
        "n": n,
    }
