"""Past data as a scenario: what is true of each pair, what the judges said, and people whose labels can be bought.

True is what most people said; where the first place is shared, each of the leaders is right by its share. A bought
label is that of one person drawn from those who labelled the pair, each at most once. Pairs that nobody labelled can
be neither bought nor scored: they are left to inform their siblings.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence.columns import Features, features
from pipeline.routing.evidence.pool import CLASSES, FIRST, SECOND, TIE, Pool
from pipeline.routing.evidence.reading import PoolError
from pipeline.routing.policies import judged

LEAST = 10  # labelled pairs below which no curve means anything
ASSUMED = 0.94  # how right a person is where a file has one person's labels only, as in LLMBar (Zeng et al., 2024)


@dataclass(frozen=True)
class Scenario:
    """A pool ready to be replayed. `scored` are the pairs that people labelled.

    `error` is a chance of a slip that bought labels get on top, for files whose one label is taken for the truth.
    """

    pool: Pool
    data: Features
    scored: Integers
    error: float = 0.0

    @cached_property
    def credit(self) -> Floats:
        """How right each class is for each pair of the pool: (n, 3)."""
        return leaders(self.pool.human_votes)

    @cached_property
    def judge(self) -> Integers:
        """The judges' own label."""
        return judged.labels(self.pool)

    @cached_property
    def doubt(self) -> Floats:
        return judged.uncertainty(self.pool)

    @cached_property
    def classes(self) -> Integers:
        """What a pair can be: ties only where somebody ever said one."""
        return np.array([TIE, FIRST, SECOND] if self.pool.has_ties else [FIRST, SECOND])

    @cached_property
    def human_right(self) -> Floats:
        """How right one drawn person is, pair by pair: (n,)."""
        votes = self.pool.human_votes
        right = (votes * self.credit).sum(axis=1) / np.maximum(votes.sum(axis=1), 1)
        return right * (1 - self.error) + (1 - right) * self.error / max(len(self.classes) - 1, 1)

    @property
    def people_per_pair(self) -> float:
        return float(self.pool.human_votes[self.scored].sum(axis=1).mean())

    @property
    def one_voice(self) -> bool:
        """Has every pair one person's label at most, so that a person cannot be measured?"""
        return bool(self.pool.human_votes.sum(axis=1).max() <= 1)


def leaders(votes: Floats) -> Floats:
    """Credit of each class by votes (n, 3): 1 for the sole leader, shared among equals, 0 where nobody voted."""
    top = votes.max(axis=1, keepdims=True)
    leading = ((votes == top) & (top > 0)).astype(float)
    return leading / np.maximum(leading.sum(axis=1, keepdims=True), 1)


def scenario_of(pool: Pool, *, isolated: bool = False, models: bool = True, error: float = 0.0) -> Scenario:
    """Raises PoolError where there is too little to replay."""
    scored = np.flatnonzero(pool.human_votes.sum(axis=1) > 0)
    if len(scored) < LEAST:
        raise PoolError(f"People labelled {len(scored)} pairs, too few for a replay: it needs {LEAST} at least.")
    if not len(pool.judges):
        raise PoolError("No judge answered: the file needs annotations of kind “judge” beside those by people.")
    pool = pool.isolated() if isolated else pool
    return Scenario(pool, features(pool, models=models), scored, error)


class Purchases:
    """The labels bought so far in one replay. People are drawn in an order that the seed decides."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        people = scenario.pool.people
        order = np.lexsort((rng.random(len(people.item)), people.item))
        self.scenario, self.rng = scenario, rng
        self.said = people.verdict[order]
        self.start = np.searchsorted(people.item[order], np.arange(scenario.pool.size))
        self.there = scenario.pool.human_votes.sum(axis=1).astype(int)
        self.votes = np.zeros((scenario.pool.size, CLASSES))
        self.spent = 0

    @cached_property
    def others_credit(self) -> Floats:
        """What is true by the people besides the one drawn first: (n, 3), for pairs with three people or more."""
        first = np.zeros_like(self.votes)
        known = np.flatnonzero(self.there)
        first[known, self.said[self.start[known]]] = 1
        return leaders(self.scenario.pool.human_votes - first)

    @property
    def count(self) -> Integers:
        """How many labels of each pair were bought: (n,)."""
        return self.votes.sum(axis=1).astype(int)

    def unbought(self) -> Integers:
        return np.flatnonzero((self.count == 0) & (self.there > 0))

    def askable(self, most: int) -> Integers:
        """Pairs that may be asked about (again): up to `most` people, one more where those differ."""
        split = self.votes.max(axis=1) < self.count
        wanted = most + (split & (self.count == most))
        return np.flatnonzero(self.count < np.minimum(wanted, self.there))

    def buy(self, items: Integers) -> None:
        """One label of each of these different pairs."""
        said = self.said[self.start[items] + self.count[items]]
        slips = self.rng.random(len(items)) < self.scenario.error
        drawn = self.rng.choice(self.scenario.classes, len(items))
        others = np.where(drawn == said, np.where(said == FIRST, SECOND, FIRST), drawn)
        self.votes[items, np.where(slips, others, said)] += 1
        self.spent += len(items)
