"""From several people's rankings to one, with ties and doubt kept.

The consensus is Kemeny's: the order that contradicts the fewest pairwise statements (Kemeny, "Mathematics without
numbers", 1959; with Young and Levenglick, 1978, the only rule that is neutral, consistent and Condorcet). Up to
EXACT responses it is found over all orders, by dynamic programming over the sets that may come first. Where several
orders are equally good, a response's place is its mean place over all of them, and equal means are a tie: nothing is
ever decided by position or id. Beyond EXACT it is Borda's: the order of the mean ranks.

A ranking is one rank for each response, 1 is best, ties share a rank (dense: 1, 2, 2, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from annotate.statistics.votes import Floats

EXACT = 8
NEAR = 1e-9  # two costs nearer than this are the same


@dataclass(frozen=True)
class Consensus:
    """`ranks` dense from 1; `mean_ranks` (responses,); `above[i, j]` = P(i stands above j); `orders`: equally good."""

    ranks: list[int]
    mean_ranks: Floats
    above: Floats
    orders: int
    method: str


def middle_ranks(ranks: Sequence[int]) -> Floats:
    """Ranks whose ties share the middle of the places they take: (1, 2, 2, 3) → (1, 2.5, 2.5, 4)."""
    given = np.asarray(ranks)
    below = (given[:, None] > given[None, :]).sum(axis=1)
    alike = (given[:, None] == given[None, :]).sum(axis=1)
    return below + (alike + 1) / 2


def wins_of(rankings: Sequence[Sequence[int]]) -> Floats:
    """How many put i above j, ties half: (responses, responses), nought on the diagonal."""
    given = np.asarray(rankings)
    above = (given[:, :, None] < given[:, None, :]) + 0.5 * (given[:, :, None] == given[:, None, :])
    wins = above.sum(axis=0)
    np.fill_diagonal(wins, 0.0)
    return wins


def dense(scores: Sequence[float] | Sequence[Fraction]) -> list[int]:
    """Scores as dense ranks, the lowest is 1, equal scores share one."""
    values = [float(score) for score in scores]
    ordered: list[float] = []
    for value in sorted(values):
        if not ordered or value - ordered[-1] > NEAR:
            ordered.append(value)
    return [next(n for n, step in enumerate(ordered, 1) if abs(value - step) <= NEAR) for value in values]


def kemeny(wins: Floats) -> tuple[list[Fraction], int]:
    """Each response's mean place (from 1) over all orders of least contradiction, and how many such orders there are.

    cost(order) = Σ over i before j of wins[j, i]. `first(S)`: least cost of an order of S, and how many reach it.
    """
    n = len(wins)
    full = (1 << n) - 1
    members = [[i for i in range(n) if chosen >> i & 1] for chosen in range(1 << n)]

    def cost_of_next(chosen: int, response: int) -> float:
        return float(sum(wins[response, before] for before in members[chosen]))

    best, ways = [0.0] * (1 << n), [0] * (1 << n)
    last: list[list[int]] = [[] for _ in range(1 << n)]
    ways[0] = 1
    for chosen in range(1, 1 << n):
        costs = {i: best[chosen ^ 1 << i] + cost_of_next(chosen ^ 1 << i, i) for i in members[chosen]}
        best[chosen] = min(costs.values())
        last[chosen] = [i for i, cost in costs.items() if cost - best[chosen] < NEAR]
        ways[chosen] = sum(ways[chosen ^ 1 << i] for i in last[chosen])
    onward = [0] * (1 << n)
    onward[full] = 1
    places = [0] * n
    for chosen in range(full, 0, -1):
        for i in last[chosen]:
            before = chosen ^ 1 << i
            onward[before] += onward[chosen]
            places[i] += len(members[chosen]) * ways[before] * onward[chosen]
    return [Fraction(place, ways[full]) for place in places], ways[full]


def pair_probabilities(wins: Floats) -> Floats:
    """P(i above j) = (wins_ij + 1) / (wins_ij + wins_ji + 2), one pseudo-vote each way; ½ on the diagonal."""
    return (wins + 1) / (wins + wins.T + 2)


def consensus(rankings: Sequence[Sequence[int]]) -> Consensus:
    """What several rankings of the same responses add up to; at least one ranking."""
    wins = wins_of(rankings)
    means = np.mean([middle_ranks(ranks) for ranks in rankings], axis=0)
    above = pair_probabilities(wins)
    if len(wins) > EXACT:
        return Consensus(dense(list(means)), means, above, 1, "Borda")
    places, orders = kemeny(wins)
    return Consensus(dense(places), means, above, orders, "Kemeny")


def weakest(result: Consensus) -> float | None:
    """The probability of the least sure order that the consensus states; None where all share one rank."""
    stated = [
        float(result.above[i, j])
        for i, one in enumerate(result.ranks)
        for j, other in enumerate(result.ranks)
        if one < other
    ]
    return min(stated) if stated else None
