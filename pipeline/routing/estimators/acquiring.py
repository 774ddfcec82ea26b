"""What to label next in order to learn a scoring head: information (BALD) without redundancy (facility location).

    margin posterior N(μ, s²), μ = w·d, s² = d'H⁻¹d, H = D'WD + λI                      (Laplace)
    BALD = h(E σ(z)) − E h(σ(z)), z ~ N(μ, s²)                                           (Houlsby et al., 2011)
    facility location: F(S) = Σ_i BALD_i max_{j ∈ S} |cos(d_i, d_j)|, greedy with a lazy heap, within 1 − 1/e

The posterior stands for an ensemble of heads, of which BALD is what they disagree about. This is not the value of a
label (`value.py`): learning a head and getting labels right are different aims. A pair and its mirror (the responses
swapped) are the same point.
"""

import heapq

import numpy as np
from scipy.special import expit, xlogy

from annotate.statistics.votes import Floats

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def entropy(share: Floats) -> Floats:
    """Of a coin that shows heads with this probability, in nats."""
    return -(xlogy(share, share) + xlogy(1 - share, 1 - share))


def bald(mean: Floats, variance: Floats) -> Floats:
    """Information about the head in the answer to each pair, in nats: (n,)."""
    spread = expit(np.asarray(mean)[:, None] + np.sqrt(variance)[:, None] * POINTS)
    return entropy(spread @ WEIGHTS) - entropy(spread) @ WEIGHTS


def similarity(points: Floats) -> Floats:
    """|cosine| between points (n, d): 1 for a pair and its mirror. (n, n)"""
    unit = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    return np.abs(unit @ unit.T)


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


def spread_out(points: Floats, information: Floats, count: int) -> list[int]:
    """`count` places of points (n, d) that together tell most of all n: each counts by its information (n,)."""
    return facility_location(similarity(points) * information, count)
