"""Majority in which a vote weighs what its rater's agreement with the others is worth.

    w_j = log(a_j (K − 1) / (1 − a_j)),   a_j = share of rater j's votes that fall on the majority of the others

With independent raters of accuracy a_j these weights make the most probable option win (Nitzan and Paroush, "Optimal
decision rules in uncertain dichotomous choice situations", 1982; for K options Li and Yu, "Error rate bounds and
iterative weighted majority voting for crowdsourcing", 2014). a_j is kept within [0.35, 0.99]: no rater decides
alone, and with two options one who is mostly wrong counts a little against their word.
"""

from dataclasses import dataclass

import numpy as np

from annotate.statistics.votes import Floats, Votes, normalised, sums

LEAST, MOST = 0.35, 0.99


@dataclass(frozen=True)
class Skills:
    """`accuracy` and `weight` (raters,); `right` of `compared` votes fell on the others' majority (raters,)."""

    accuracy: Floats
    weight: Floats
    right: Floats
    compared: Floats


def leave_one_out(votes: Votes) -> tuple[Floats, Floats]:
    """For each rater: how many of their votes fell on the majority of the others, of how many that had one.

    Where the others are evenly split they say nothing about the rater, and the vote is left out.
    """
    counts = votes.counts[votes.item]
    rows = np.arange(len(votes.item))
    counts[rows, votes.option] -= votes.weight
    best = counts.max(axis=1, initial=0.0)
    leading = np.isclose(counts, best[:, None])
    compared = (best > 0) & (leading.sum(axis=1) == 1)
    right = compared & leading[rows, votes.option]
    return votes.of_raters(right.astype(np.float64)), votes.of_raters(compared.astype(np.float64))


def skills(votes: Votes) -> Skills:
    """Each rater's agreement with the others and the weight that follows; a rater who met nobody gets the mean's."""
    right, compared = leave_one_out(votes)
    usual = right.sum() / compared.sum() if compared.sum() else 0.5
    share = np.where(compared > 0, right / np.where(compared > 0, compared, 1.0), usual)
    accuracy = np.clip(share, LEAST, MOST)
    return Skills(accuracy, weights(accuracy, votes.options), right, compared)


def weights(accuracy: Floats, options: int) -> Floats:
    """log odds against chance of a rater of this accuracy, (raters,)."""
    inside = np.clip(accuracy, LEAST, MOST)
    return np.log(inside * max(options - 1, 1) / (1 - inside))


def weighted_posterior(votes: Votes, weight: Floats) -> Floats:
    """P(option) ∝ exp(Σ weights of those who named it): (items, options)."""
    places = votes.item * votes.options + votes.option
    summed = sums(places, weight[votes.rater] * votes.weight, votes.items * votes.options)
    return normalised(summed.reshape(votes.items, votes.options))
