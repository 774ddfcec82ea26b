"""Crowds made up for tests: raters of known accuracy answer items of known truth."""

import numpy as np

from annotate.statistics.votes import Votes, votes_of


def crowd(accuracies, items: int, seed: int, *, options: int = 2, seen: float = 1.0) -> tuple[np.ndarray, Votes]:
    """Truth (items,) and votes. Accuracy below chance is an inverted rater; `seen` is the share of items each did."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, options, items)
    rows = []
    for rater, accuracy in enumerate(accuracies):
        right = draw.random(items) < accuracy
        wrong = (truth + draw.integers(1, options, items)) % options
        said = np.where(right, truth, wrong)
        did = draw.random(items) < seen
        rows.append(np.column_stack([np.arange(items), np.full(items, rater), said])[did])
    return truth, votes_of(np.concatenate(rows), options, items=items, raters=len(accuracies))


def right(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of items whose best option is the true one; a first place shared by m counts 1/m."""
    leading = np.isclose(scores, scores.max(axis=1, keepdims=True))
    return float((leading[np.arange(len(truth)), truth] / leading.sum(axis=1)).mean())
