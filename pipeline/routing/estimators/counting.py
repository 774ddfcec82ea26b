"""The gain of human labels as a model over counts of features, after HyPER (Miranda et al., 2024).

Each pair falls into bins; c counts, bin by bin, how many of the pairs that people labelled fall there, in per cent of
the pool. The model is f(c) = Σ_j w_j κ log(1 + c_j/κ), w_j ≥ 0: more labels of a kind are worth less and less, so it
is submodular and the lazy greedy choice is within 1 − 1/e of the best. Bins are half-open with edges frozen on a
reference set, the last one closed, and one function counts for fitting and for scoring.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from annotate.statistics.votes import Floats, Integers

BINS = 3
MIXTURES = 200
SATURATION = 10.0  # κ: from so many per cent of the pool on, a label more in a bin is worth half


@dataclass(frozen=True)
class Percentiles:
    """Sorted reference values of each column, (columns, reference): frozen, and kept with the model."""

    reference: Floats

    def share(self, values: Floats) -> Floats:
        """Of each value in (n, columns), the share of the reference that is not above it."""
        places = [
            np.searchsorted(known, column, side="right")
            for known, column in zip(self.reference, values.T, strict=True)
        ]
        return np.stack(places, axis=1) / self.reference.shape[1]

    def bins(self, values: Floats, count: int = BINS) -> Integers:
        """The bin of each value, from 0: [0, 1/k), [1/k, 2/k) … [(k−1)/k, 1]."""
        return np.minimum((self.share(values) * count + 1e-9).astype(np.int64), count - 1)


def percentiles(values: Floats) -> Percentiles:
    return Percentiles(np.sort(values, axis=0).T.copy())


def indicators(bins: Integers, count: int = BINS) -> Floats:
    """One column for each bin of each column: (n, columns · count), each row with one 1 per column."""
    found = np.zeros((*bins.shape, count))
    np.put_along_axis(found, bins[:, :, None], 1.0, axis=2)
    return found.reshape(len(bins), -1)


def concave(counts: Floats) -> Floats:
    return SATURATION * np.log1p(counts / SATURATION)


@dataclass(frozen=True)
class Gain:
    """A fitted f(c) = base + w · κ log(1 + c/κ)."""

    base: float
    weights: Floats

    def value(self, counts: Floats) -> Floats:
        return self.base + concave(counts) @ self.weights

    def singly(self, rows: Floats, counts: Floats) -> Floats:
        """The gain of each row added alone to `counts`: (n,)."""
        return (concave(counts + rows) - concave(counts)) @ self.weights


def fitted(counts: Floats, performance: Floats) -> Gain:
    """f from mixtures: counts (mixtures, bins) and what each reached, by least squares with weights that are ≥ 0."""
    table = np.column_stack([np.ones(len(counts)), -np.ones(len(counts)), concave(counts)])
    ridge = 1e-3 * np.eye(table.shape[1])[2:]
    weights, _ = nnls(np.vstack([table, ridge]), np.concatenate([performance, np.zeros(len(ridge))]))
    return Gain(float(weights[0] - weights[1]), weights[2:])


def mixtures(rows: Floats, count: int, rng: np.random.Generator) -> Iterator[Integers]:
    """Random subsets of pairs: a random budget, filled feature after random feature, as HyPER draws them."""
    for _ in range(count):
        budget = int(rng.integers(1, len(rows) + 1))
        chosen: list[int] = []
        taken = np.zeros(len(rows), bool)
        for column in rng.permutation(rows.shape[1]):
            fitting = np.flatnonzero((rows[:, column] > 0) & ~taken)
            picked = rng.permutation(fitting)[: budget - len(chosen)]
            taken[picked] = True
            chosen += picked.tolist()
            if len(chosen) >= budget:
                break
        yield np.array(chosen)


def greedy(gain: Gain, rows: Floats, counts: Floats, budget: int, price: float = 0.0) -> list[int]:
    """The rows to label, one after the other by marginal gain; stops when none is worth its price.

    Lazy: a gain can only have fallen since it was computed, so only the top of the heap is computed again
    (Minoux, 1978).
    """
    counts = counts.copy()
    heap = [(-worth, place) for place, worth in enumerate(gain.singly(rows, counts).tolist())]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < budget:
        _, place = heapq.heappop(heap)
        worth = float(gain.singly(rows[[place]], counts)[0])
        if heap and worth < -heap[0][0] - 1e-12:
            heapq.heappush(heap, (-worth, place))
            continue
        if worth <= price:
            break
        chosen.append(place)
        counts += rows[place]
    return chosen
