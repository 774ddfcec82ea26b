"""The gain policy: a model over counts of features says of which kind one more answer adds most."""

import numpy as np

from annotate.statistics.votes import Floats
from pipeline.routing.estimators import counting

REFERENCE = 100  # counts are given as if so many pairs were there


def kinds(values: Floats) -> Floats:
    """Columns (n, c) as indicators of the bins that each pair falls into; columns that are all alike are left out."""
    varied = values[:, values.std(axis=0) > 1e-9]
    return counting.indicators(counting.percentiles(varied).bins(varied))


def gain_of(rows: Floats, right: Floats, rng: np.random.Generator) -> counting.Gain:
    """Fitted to random mixtures of people's and the judge's labels over pairs that people labelled.

    `rows` (n, kinds), `right` (n,) the judge's share of people's votes.
    """
    counts, reached = [], []
    for chosen in counting.mixtures(rows, counting.MIXTURES, rng):
        counts.append(rows[chosen].sum(axis=0) * REFERENCE / len(rows))
        reached.append((right.sum() + (1 - right[chosen]).sum()) / len(rows))
    return counting.fitted(np.array(counts), np.array(reached))
