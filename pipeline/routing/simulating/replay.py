"""One policy on one scenario with one seed: labels are bought in steps, and what would be delivered is noted.

Every label costs one: the audit seed, routed labels and second labels alike. A budget of 1 is one label for each pair.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.estimators import counting, judge_errors, label_model, value
from pipeline.routing.estimators.label_model import Priors
from pipeline.routing.evidence.pool import FIRST, SECOND
from pipeline.routing.policies import counted, judged, learned
from pipeline.routing.simulating.scenario import Purchases, Scenario

START, LEAST_START = 20, 5  # of a small set no more than a twelfth is drawn evenly, but so many at least
LEARNED_START = 10  # labels near the boundary alone would leave open how much a vote means
LEAST_FITS, LEAST_BATCH = 24, 3  # a small set is bought in smaller batches
STEPS = 40  # batches up to a budget of 1, for sets so large that batches of 15 would be more


@dataclass(frozen=True)
class Settings:
    """How the policies that learn go about it.

    `start` labels are drawn evenly at first. None is what each policy needs: LEARNED_START for `learned`, which has
    the judges' word to begin with; START for those that only learn from labels.
    """

    start: int | None = None
    batch: int = learned.BATCH
    explore: float = 0.0
    most_votes: int = learned.MOST_VOTES
    priors: Priors = Priors()


class Replay:
    """A policy at work. `pick(count)` says what to buy next, `labels()` what would be delivered now."""

    usual_start = START

    def __init__(self, scenario: Scenario, purchases: Purchases, rng: np.random.Generator, settings: Settings) -> None:
        self.scenario, self.purchases, self.rng, self.settings = scenario, purchases, rng, settings
        size = len(scenario.scored)
        self.batch = max(min(settings.batch, max(LEAST_BATCH, size // LEAST_FITS)), size // STEPS)
        wanted = self.usual_start if settings.start is None else settings.start
        self.start = min(wanted, max(LEAST_START, size // 12))
        self.prepare()

    def prepare(self) -> None:
        """What is computed once."""

    def pick(self, count: int) -> Integers:
        raise NotImplementedError

    def labels(self) -> Integers:
        """A person's label where one was bought, the judge's elsewhere."""
        bought = self.purchases.votes.sum(axis=1) > 0
        return np.where(bought, self.purchases.votes.argmax(axis=1), self.scenario.judge)

    def best(self, score: Floats, count: int) -> Integers:
        return learned.next_picks(score, self.purchases.unbought(), count, self.rng, self.settings.explore).items


class Random(Replay):
    """Any pair, by luck."""

    def pick(self, count: int) -> Integers:
        return self.best(np.zeros(self.scenario.pool.size), count)


class JudgeUncertainty(Replay):
    """Where judges differ, or one seems unsure, first."""

    def pick(self, count: int) -> Integers:
        return self.best(self.scenario.doubt, count)


class Oracle(Replay):
    """By the true gain of a person's label over the judge's: what no router can know."""

    def pick(self, count: int) -> Integers:
        rows = np.arange(self.scenario.pool.size)
        return self.best(self.scenario.human_right - self.scenario.credit[rows, self.scenario.judge], count)


class Learned(Replay):
    """The label model, and labels by their value."""

    usual_start = LEARNED_START

    def prepare(self) -> None:
        self.scale = label_model.scale_of(self.scenario.data)
        self.spent = -1
        self.known: learned.Belief | None = None

    def belief(self) -> learned.Belief:
        """Fitted anew only after something was bought."""
        if self.known is None or self.spent != self.purchases.spent:
            self.known = learned.believe(
                self.scenario.data,
                self.purchases.votes,
                scale=self.scale,
                ties=self.scenario.pool.has_ties,
                priors=self.settings.priors,
            )
            self.spent = self.purchases.spent
        return self.known

    def pick(self, count: int) -> Integers:
        if self.purchases.spent < self.start:
            left = self.start - self.purchases.spent
            return learned.first_picks(self.purchases.unbought(), min(left, count), self.rng).items
        free = self.purchases.askable(self.settings.most_votes)
        score, prompt = self.belief().score, self.scenario.pool.prompt
        return learned.next_picks(score, free, count, self.rng, self.settings.explore, prompt).items

    def labels(self) -> Integers:
        if not self.purchases.spent:
            return self.scenario.judge
        return value.settled(self.purchases.votes, self.belief().posterior)


class Gain(Replay):
    """HyPER at small scale: a model over counts of features says which labels add most to the judge's.

    Trained on what is labelled so far as it stands: given its features, whether the judge is wrong does not depend on
    how a pair was picked.
    """

    def prepare(self) -> None:
        values = np.column_stack([np.nan_to_num(self.scenario.data.symmetric), self.scenario.doubt])
        self.rows = counted.kinds(values)

    def pick(self, count: int) -> Integers:
        free = self.purchases.unbought()
        if self.purchases.spent < self.start:
            return learned.first_picks(free, min(self.start - self.purchases.spent, count), self.rng).items
        gain = self.fitted()
        scale = 100 / self.scenario.pool.size
        counts = self.rows[self.purchases.count > 0].sum(axis=0) * scale
        chosen = free[counting.greedy(gain, self.rows[free] * scale, counts, count)]
        rest = np.setdiff1d(free, chosen)
        return np.concatenate([chosen, self.rng.choice(rest, min(count - len(chosen), len(rest)), replace=False)])

    def fitted(self) -> counting.Gain:
        """Random mixtures of people's and the judge's labels over what is labelled, and how right each would be."""
        known = np.flatnonzero(self.purchases.count > 0)
        right = self.purchases.votes[known, self.scenario.judge[known]]
        return counted.gain_of(self.rows[known], right, self.rng)


class JudgeErrors(Replay):
    """By P(the judge is wrong), learned from what was bought; by the rule score until there is enough."""

    def prepare(self) -> None:
        data, label = self.scenario.data, self.scenario.judge
        vote = (label == FIRST).astype(float) - (label == SECOND)
        self.columns = judge_errors.columns_for(data.symmetric, data.antisymmetric, vote)
        self.rule = judged.rule_score(self.scenario.pool, data)
        self.propensity = np.ones(self.scenario.pool.size)

    def pick(self, count: int) -> Integers:
        free = self.purchases.unbought()
        if self.purchases.spent < self.start:
            picks = learned.first_picks(free, min(self.start - self.purchases.spent, count), self.rng)
        else:
            picks = learned.next_picks(self.score(), free, count, self.rng, self.settings.explore)
        self.propensity[picks.items] = picks.propensity
        return picks.items

    def score(self) -> Floats:
        known = np.flatnonzero(self.purchases.count > 0)
        wrong = (self.purchases.votes[known, self.scenario.judge[known]] == 0).astype(int)
        model = judge_errors.fit_errors(self.columns[known], wrong, self.propensity[known])
        return self.rule if model is None else model.probability(self.columns)


POLICIES: Mapping[str, type[Replay]] = {
    "random": Random,
    "judge-uncertainty": JudgeUncertainty,
    "learned": Learned,
    "gain": Gain,
    "oracle": Oracle,
    "judge-errors": JudgeErrors,
}
USUAL = ("random", "judge-uncertainty", "learned", "gain", "oracle")


@dataclass(frozen=True)
class Trace:
    """One replay: credit (budgets, scored pairs) by all people and by the others, labels bought, delivered labels."""

    credit: Floats
    others: Floats
    spent: Integers
    labels: Integers


def replayed(
    name: str,
    scenario: Scenario,
    seed: int,
    budgets: Floats,
    settings: Settings,
    stopped: Callable[[], None] = lambda: None,
    policies: Mapping[str, type[Replay]] | None = None,
) -> Trace:
    """Replay one of the policies (these by default) up to each budget (shares of the scored pairs)."""
    rng = np.random.default_rng(seed)
    purchases = Purchases(scenario, rng)
    policy = (policies or POLICIES)[name](scenario, purchases, rng, settings)
    scored = scenario.scored
    credit, others, spent, labels = [], [], [], []
    for target in np.round(np.asarray(budgets) * len(scored)).astype(int):
        while purchases.spent < target:
            left = int(target) - purchases.spent
            items = policy.pick(-(-left // -(-left // policy.batch)))  # in equal batches, none of them left over
            if not len(items):
                break
            purchases.buy(items)
            stopped()
        delivered = policy.labels()
        credit.append(scenario.credit[scored, delivered[scored]])
        others.append(purchases.others_credit[scored, delivered[scored]])
        spent.append(purchases.spent)
        labels.append(delivered)
    return Trace(np.array(credit), np.array(others), np.array(spent), np.array(labels))
