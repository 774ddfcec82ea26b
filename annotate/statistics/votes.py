"""Votes as arrays: one triplet (item, rater, option) for each vote, so that cost follows the votes, not a grid."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def sums(places: Integers, values: Floats, size: int) -> Floats:
    """The values that fall on each place, added up: (size,)."""
    return np.bincount(places, values, size).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Votes:
    """`item`, `rater`, `option`: indices from 0, all of shape (votes,). `weight` is 1, or ½ for half a vote."""

    item: Integers
    rater: Integers
    option: Integers
    weight: Floats
    items: int
    raters: int
    options: int

    @property
    def counts(self) -> Floats:
        """Votes for each option of each item: (items, options)."""
        places = self.item * self.options + self.option
        return sums(places, self.weight, self.items * self.options).reshape(self.items, self.options)

    @property
    def shares(self) -> Floats:
        """Vote shares (items, options); an item without votes has equal shares."""
        counts = self.counts
        totals = counts.sum(axis=1, keepdims=True)
        return np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), 1.0 / self.options)

    def of_raters(self, values: Floats) -> Floats:
        """Sum per rater of one value per vote, times its weight: (raters,)."""
        return sums(self.rater, values * self.weight, self.raters)


def votes_of(
    triplets: Iterable[tuple[int, int, int]],
    options: int,
    *,
    items: int | None = None,
    raters: int | None = None,
    weight: Floats | None = None,
) -> Votes:
    """Votes from (item, rater, option) rows, or an array of shape (votes, 3). Sizes are the largest index + 1."""
    table = np.asarray(list(triplets) if not isinstance(triplets, np.ndarray) else triplets, dtype=np.int64)
    table = table.reshape(-1, 3)
    item, rater, option = (np.ascontiguousarray(column) for column in table.T)
    if len(table) and int(option.max()) >= options:
        raise ValueError(f"There are {options} options, but a vote names option {int(option.max())}.")
    return Votes(
        item=item,
        rater=rater,
        option=option,
        weight=np.ones(len(table)) if weight is None else np.asarray(weight, dtype=np.float64),
        items=int(item.max(initial=-1)) + 1 if items is None else items,
        raters=int(rater.max(initial=-1)) + 1 if raters is None else raters,
        options=options,
    )


def normalised(logs: Floats) -> Floats:
    """exp of each row, made to add up to 1, without overflow: (rows, options)."""
    shifted = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
