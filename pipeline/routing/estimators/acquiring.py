"""What to label next in order to learn a scoring head: information (BALD) and diversity (k-center, facility location).

    margin posterior N(μ, s²), μ = w·d, s² = d'H⁻¹d, H = D'WD + λI                      (Laplace)
    BALD = h(E σ(z)) − E h(σ(z)), z ~ N(μ, s²)                                           (Houlsby et al., 2011)
    k-center: repeatedly argmax_i min_{j ∈ S} min(|d_i − d_j|, |d_i + d_j|)              (Sener and Savarese, 2018)
    facility location: F(S) = Σ_i max_{j ∈ S} sim(i, j), greedy with a lazy heap, within 1 − 1/e of the best

This is not the value of a label (`value.py`): learning a head and getting labels right are different aims. A pair and
its mirror (the responses swapped) are the same point.
"""

import heapq

import numpy as np
from scipy.special import expit, xlogy

from annotate.statistics.votes import Floats, Integers

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def entropy(share: Floats) -> Floats:
    """Of a coin that shows heads with this probability, in nats."""
    return -(xlogy(share, share) + xlogy(1 - share, 1 - share))


def bald(mean: Floats, variance: Floats) -> Floats:
    """Information about the head in the answer to each pair, in nats: (n,)."""
    spread = expit(np.asarray(mean)[:, None] + np.sqrt(variance)[:, None] * POINTS)
    return entropy(spread @ WEIGHTS) - entropy(spread) @ WEIGHTS


def disagreement(margins: Floats) -> Floats:
    """Variance of σ(margin) over the heads of an ensemble: margins (heads, n) → (n,)."""
    return expit(margins).var(axis=0)


def k_center(points: Floats, start: Integers, count: int) -> list[int]:
    """`start`, and then `count` places in points (n, d) that lie farthest from all before them, mirrors included."""
    chosen = [int(place) for place in start]
    nearest = np.full(len(points), np.inf)
    for place in chosen:
        nearest = np.minimum(nearest, mirrored_distance(points, points[place]))
    for _ in range(min(count, len(points) - len(chosen))):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, mirrored_distance(points, points[chosen[-1]]))
    return chosen


def mirrored_distance(points: Floats, other: Floats) -> Floats:
    return np.minimum(np.linalg.norm(points - other, axis=1), np.linalg.norm(points + other, axis=1))


def facility_location(similarity: Floats, count: int) -> list[int]:
    """The places whose rows cover all others best, greedily: similarity (candidates, n), not negative."""
    covered = np.zeros(similarity.shape[1])
    heap = [(-gain, place) for place, gain in enumerate(similarity.sum(axis=1).tolist())]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        _, place = heapq.heappop(heap)
        gain = float(np.maximum(similarity[place] - covered, 0).sum())
        if heap and gain < -heap[0][0]:
            heapq.heappush(heap, (-gain, place))
            continue
        chosen.append(place)
        covered = np.maximum(covered, similarity[place])
    return chosen


def next_for_head(points: Floats, margin: Floats, variance: Floats, batch: int, rng: np.random.Generator) -> list[int]:
    """A batch for training a head: BALD inside the best five batches, spread out by k-center, a fifth at random."""
    best = np.argsort(-bald(margin, variance))[: 5 * batch]
    drawn = batch // 5
    spread = k_center(points[best], np.array([0]), batch - drawn - 1)[: batch - drawn]
    chosen = [int(best[place]) for place in spread]
    rest = np.setdiff1d(np.arange(len(points)), chosen)
    return chosen + rng.choice(rest, min(drawn, len(rest)), replace=False).tolist()
