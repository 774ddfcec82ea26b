"""The rankings that a project can have, replayed as the live router does them: each delivers what it would deliver.

Under every ranking a judged item that no person has answered gets the label model's label (`believing.beliefs`), so
the rankings differ only in whom they ask about what. `random` is what fixed shares give: drawn by lot, judges' labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing import picking
from pipeline.routing.choosing import plans
from pipeline.routing.estimators import acquiring, counting, judge_errors
from pipeline.routing.evidence.pool import FIRST, SECOND
from pipeline.routing.policies import counted, judged, learned
from pipeline.routing.simulating.replay import START, Learned, Random, Replay
from pipeline.routing.simulating.scenario import Scenario


@dataclass(frozen=True)
class Past(Scenario):
    """A project's past. `signs` are points of the signs of trouble in what was said: (n,)."""

    signs: Floats = field(default_factory=lambda: np.zeros(0))


class Ranked(Learned):
    """The label model's labels, and people where a score says so: once for each pair, one of a prompt at a time."""

    usual_start = START

    def pick(self, count: int) -> Integers:
        free = self.purchases.unbought()
        if self.purchases.spent < self.start:
            return learned.first_picks(free, min(self.start - self.purchases.spent, count), self.rng).items
        return self.ranked(free, count)

    def ranked(self, free: Integers, count: int) -> Integers:
        prompt = self.scenario.pool.prompt
        return learned.next_picks(self.score(), free, count, self.rng, explore=0.0, prompt=prompt).items

    def score(self) -> Floats:
        raise NotImplementedError


class ByValue(Ranked):
    """By the value of an answer, for the pair and for its siblings."""

    def score(self) -> Floats:
        return self.belief().score


class ByDoubt(Ranked):
    """Where judges differ or seem unsure."""

    def score(self) -> Floats:
        return self.scenario.doubt


class BySigns(Ranked):
    """By the warning signs: of a wrong judge, and of trouble in what was said."""

    def prepare(self) -> None:
        super().prepare()
        self.rule = judged.rule_score(self.scenario.pool, self.scenario.data)
        if isinstance(self.scenario, Past):
            self.rule = self.rule + self.scenario.signs

    def score(self) -> Floats:
        return self.rule


class ByErrors(BySigns):
    """By P(the judge is wrong), learned from what was bought; by the warning signs until there is enough."""

    def score(self) -> Floats:
        data, says = self.scenario.data, self.scenario.judge
        known = np.flatnonzero(self.purchases.count > 0)
        votes = self.purchases.votes[known]
        wrong = (votes[np.arange(len(known)), says[known]] < votes.max(axis=1)).astype(int)
        sign = (says == FIRST).astype(float) - (says == SECOND)
        columns = judge_errors.columns_for(data.symmetric, data.antisymmetric, sign)
        # Whatever was picked greedily had its probability, 1, and what was drawn at first counts like it.
        errors = judge_errors.fit_errors(columns[known], wrong, np.ones(len(known)))
        return self.rule if errors is None else errors.probability(columns)


class ByCounts(Ranked):
    """By the gain of a pair's kinds."""

    def prepare(self) -> None:
        super().prepare()
        self.kinds = counted.kinds(np.column_stack([np.nan_to_num(self.scenario.data.symmetric), self.scenario.doubt]))

    def ranked(self, free: Integers, count: int) -> Integers:
        known = np.flatnonzero(self.purchases.count > 0)
        right = self.purchases.votes[known, self.scenario.judge[known]]
        gain = counted.gain_of(self.kinds[known], right, self.rng)
        scale = counted.REFERENCE / len(self.kinds)
        taken = counting.greedy(gain, self.kinds[free] * scale, self.kinds[known].sum(axis=0) * scale, count)
        rest = np.setdiff1d(np.arange(len(free)), taken)
        filled = self.rng.choice(rest, min(count - len(taken), len(rest)), replace=False)
        return free[np.concatenate([np.array(taken, dtype=int), filled])]


class ByInformation(Ranked):
    """By what an answer teaches the model, without redundancy, and a part drawn evenly."""

    def ranked(self, free: Integers, count: int) -> Integers:
        drawn = self.rng.choice(free, int(count * picking.AT_RANDOM + self.rng.random()), replace=False)
        free, count = np.setdiff1d(free, drawn), count - len(drawn)
        if not len(free) or not count:
            return drawn
        model = self.belief().model
        moments = model.posterior(self.scenario.data.rows(free))
        told = acquiring.bald(moments.direction, moments.direction_variance)
        best = np.argsort(-told, kind="stable")[: picking.SPREAD * count]
        points = model.scale.apply(self.scenario.data.rows(free[best]))[1]
        return np.concatenate([free[best[acquiring.spread_out(points, told[best], count)]], drawn])


RANKED: Mapping[str, type[Replay]] = {
    plans.SHARES: Random,
    plans.LEARNED: ByValue,
    plans.UNCERTAINTY: ByDoubt,
    plans.ERRORS: ByErrors,
    plans.TRIAGE: BySigns,
    plans.GAIN: ByCounts,
    plans.INFORMATION: ByInformation,
}
