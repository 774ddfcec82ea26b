"""What pairs of one prompt say about each other: responses are nodes, votes are edges.

    s = (L + λI)⁻¹ D'v,  margin = s_first − s_second

by ridge least squares (λ = 1) over the votes v on *other* pairs of the prompt. Equal responses, once white space at
their ends is gone, are one node. The margin of a pair leaves its own votes out, so that it may stand beside them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence.pool import Pool

RIDGE = 1.0


@dataclass(frozen=True)
class Nodes:
    """The responses of each prompt: `first` and `second` (n,) are the nodes that a pair compares."""

    first: Integers
    second: Integers
    prompt: Integers
    size: int

    def groups(self) -> Iterator[Integers]:
        """The pairs of each prompt that has more than one."""
        order = np.argsort(self.prompt, kind="stable")
        ends = np.flatnonzero(np.diff(self.prompt[order])) + 1
        for group in np.split(order, ends):
            if len(group) > 1:
                yield group


def nodes_of(pool: Pool) -> Nodes:
    """Number the responses of a pool, each once for its prompt."""
    known: dict[tuple[int, str], int] = {}

    def number(texts: list[str]) -> Integers:
        keys = zip(pool.prompt.tolist(), texts, strict=True)
        return np.array([known.setdefault((prompt, text.strip()), len(known)) for prompt, text in keys], dtype=int)

    return Nodes(number(pool.first), number(pool.second), pool.prompt, len(known))


def incidence(nodes: Nodes, group: Integers) -> Floats:
    """D of some pairs: (pairs, their nodes), +1 at the first response and −1 at the second."""
    places, ends = np.unique(np.concatenate([nodes.first[group], nodes.second[group]]), return_inverse=True)
    matrix = np.zeros((len(group), len(places)))
    rows = np.arange(len(group))
    matrix[rows, ends[: len(group)]] += 1
    matrix[rows, ends[len(group) :]] -= 1
    return matrix


def margins(nodes: Nodes, values: Floats, weight: Floats, ridge: float = RIDGE) -> Floats:
    """The margin of each pair by its siblings' votes: (n,), 0 where there are none.

    `values` (n, voters) in [−1, 1] are votes, `weight` (n, voters) their weights; 0 where there is no vote.
    """
    found = np.zeros(len(nodes.first))
    total, pull = weight.sum(axis=1), (weight * values).sum(axis=1)
    for group in nodes.groups():
        found[group] = margins_of(incidence(nodes, group), total[group], pull[group], ridge)
    return found


def margins_of(matrix: Floats, total: Floats, pull: Floats, ridge: float) -> Floats:
    """Margins within one prompt, each without its own votes.

    Leaving a pair out takes w·dd' from L + λI, so its margin follows from the full inverse (Sherman and Morrison).
    """
    inverse = np.linalg.inv(matrix.T @ (total[:, None] * matrix) + ridge * np.eye(matrix.shape[1]))
    spread = matrix @ inverse
    own = np.einsum("ij,ij->i", spread, matrix)
    fitted = spread @ (matrix.T @ pull)
    left = np.maximum(1 - total * own, 1e-9)
    return (fitted - own * pull) / left
