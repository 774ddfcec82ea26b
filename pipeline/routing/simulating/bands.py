"""How sure a simulated curve is: a bootstrap over prompts and over seeds."""

import numpy as np

from annotate.statistics.intervals import SEED
from annotate.statistics.votes import Floats, Integers

RESAMPLES = 400


def band(credit: Floats, prompt: Integers) -> tuple[Floats, Floats, Floats]:
    """Mean accuracy at each budget with its 95% interval, from credit (seeds, budgets, pairs) and prompts (pairs,).

    Pairs of one prompt are drawn together and seeds with them, so the interval holds for other prompts of the same
    kind and other luck (Efron, 1979); not for other people or judges.
    """
    _, group = np.unique(prompt, return_inverse=True)
    groups = int(group.max()) + 1
    sizes = np.bincount(group, minlength=groups).astype(float)
    order = np.argsort(group, kind="stable")
    sums = np.add.reduceat(credit[:, :, order], np.searchsorted(group[order], np.arange(groups)), axis=2)
    rng = np.random.default_rng(SEED)
    seeds = rng.multinomial(len(credit), np.full(len(credit), 1 / len(credit)), RESAMPLES) / len(credit)
    found = np.empty((RESAMPLES, credit.shape[1]))
    for place in range(RESAMPLES):
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups)).astype(float)
        found[place] = seeds[place] @ (sums @ drawn) / (sizes @ drawn)
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    return credit.mean(axis=(0, 2)), low, high
