"""Ratings without the raters' leanings: what the thing rated adds, and what the rater adds.

    r_ij = θ_i + b_j + ε_ij,   minimise Σ (r_ij − θ_i − b_j)² + λ Σ b_j²,   Σ_j n_j b_j = 0

The additive two-way model with shrunken rater effects (Scheffé, "The Analysis of Variance", 1959, chapter 4; ridge
after Hoerl and Kennard, 1970). λ counts in ratings: a rater with n ratings keeps about n / (n + λ) of their leaning.
The effects are centred by use, so that the mean of all ratings stays what it was.

Leanings can be told from what was rated only where raters share what they rate: outside the largest connected part,
and for raters with fewer than FEW ratings, b is 0 and the raw mean stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from annotate.statistics.votes import Floats, Integers

FEW = 5
RIDGE = 2.0


@dataclass(frozen=True)
class Leanings:
    """`bias` (raters,) in points of the scale, `deviation` of a single rating once leanings are gone, `ratings`."""

    bias: Floats
    deviation: float | None
    ratings: Integers


def leanings(thing: Integers, rater: Integers, rating: Floats, *, ridge: float = RIDGE) -> Leanings:
    """Fit the rater effects. `thing` (n,) is what was rated, one response on one criterion; all indices from 0."""
    raters = int(rater.max(initial=-1)) + 1
    given = np.bincount(rater, minlength=raters)
    bias = np.zeros(raters)
    known = np.isin(rater, np.flatnonzero(in_largest_part(thing, rater, raters) & (given >= FEW)))
    # a thing that only one of the known raters saw says nothing about their leaning
    seen = np.bincount(thing[known], minlength=int(thing.max(initial=-1)) + 1)
    used = known & (seen[thing] > 1)
    if used.any():
        bias = solved(thing[used], rater[used], rating[used], raters, ridge)
    deviation = residual_deviation(thing, rating - bias[rater])
    return Leanings(bias, deviation, given)


def in_largest_part(thing: Integers, rater: Integers, raters: int) -> np.ndarray:
    """Which raters are linked, through things that two rated, to the part that holds most ratings: (raters,)."""
    if not len(thing):
        return np.zeros(raters, dtype=bool)
    size = raters + int(thing.max()) + 1
    graph = coo_array((np.ones(len(thing)), (rater, raters + thing)), shape=(size, size))
    _, part = connected_components(graph, directed=False)
    largest = np.bincount(part[rater]).argmax()
    return part[:raters] == largest


def solved(thing: Integers, rater: Integers, rating: Floats, raters: int, ridge: float) -> Floats:
    """b from the normal equations with θ eliminated: (D_r + λ − NᵀD_t⁻¹N) b = Σ_j r − NᵀD_t⁻¹ Σ_t r."""
    _, row = np.unique(thing, return_inverse=True)
    met = coo_array((np.ones(len(row)), (row, rater)), shape=(int(row.max()) + 1, raters)).tocsr()
    per_thing, per_rater = np.bincount(row), np.bincount(rater, minlength=raters)
    scaled = met.multiply(1.0 / per_thing[:, None]).tocsr()
    system = np.diag(per_rater + ridge) - (met.T @ scaled).toarray()
    right = np.bincount(rater, rating, raters) - scaled.T @ np.bincount(row, rating)
    bias = np.linalg.solve(system, right)
    bias -= (bias * per_rater).sum() / per_rater.sum()
    return np.where(per_rater > 0, bias, 0.0)


def residual_deviation(thing: Integers, rating: Floats) -> float | None:
    """Standard deviation of a rating around the mean of its thing; None where nothing was rated twice."""
    counts = np.bincount(thing)
    means = np.bincount(thing, rating) / np.maximum(counts, 1)
    free = int((counts - 1)[counts > 0].sum())
    return float(np.sqrt(((rating - means[thing]) ** 2).sum() / free)) if free > 0 else None


def standard_error(ratings: Sequence[float], deviation: float | None = None) -> float | None:
    """Of a mean: from a known deviation of single ratings, else from these (two at least)."""
    if deviation is not None:
        return deviation / float(np.sqrt(len(ratings)))
    if len(ratings) < 2:
        return None
    return float(np.std(ratings, ddof=1) / np.sqrt(len(ratings)))
