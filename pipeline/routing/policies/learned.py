"""The learned policy: fuse all that is known into one posterior, then buy labels by what they are worth.

    P = posterior without a pair's own labels (cavity), calibrated;  F ∝ P · Π likelihood of its labels
    score = VOI(F) + 10⁻³ (1 − max F) + ½ Σ_siblings ρ² VOI(F_sibling)

The last part is what a label tells of unlabelled siblings: ρ is the posterior correlation of both pairs' direction, so
ρ² is the share of a sibling's doubt that goes if this one's goes, and half of it is counted, for one answer never
takes all of it.

Before any label the judges' mean vote stands in. A few labels are drawn evenly (paid like any other), the next batches
go by value, and after each the model is fitted anew. A batch takes one pair of a prompt, since a label tells of its
siblings. Of each batch a share ε is drawn at random from what is left, and every choice keeps the probability that it
had, so that what is delivered can be certified later.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.estimators import calibrating, label_model, value
from pipeline.routing.estimators.label_model import LabelModel, Priors, Scale
from pipeline.routing.evidence.columns import Features

BATCH = 15
MOST_VOTES = 2  # people asked about one pair, until they differ
TOLD = 0.5  # how much of a sibling's doubt one answer takes, where they correlate fully
LOOKED_AT = 500  # prompts whose siblings are looked at
EXPLORE = 0.1  # the share of a live batch that is drawn at random
GREEDY, RANDOM, AUDIT = "greedy", "random", "audit"


@dataclass(frozen=True)
class Belief:
    """What is believed of each pair: `prior` (n, 3) without its own labels, `posterior` with them.

    `accuracy` is that of one person, `told` what a label would tell of siblings, in expected accuracy.
    """

    prior: Floats
    posterior: Floats
    accuracy: float
    told: Floats
    model: LabelModel

    @property
    def score(self) -> Floats:
        """What a router sorts by: (n,)."""
        return value.score(self.posterior, self.accuracy) + self.told

    @property
    def gain(self) -> Floats:
        """Expected gain in accuracy by one more label of each pair: (n,)."""
        return value.value_of_information(self.posterior, self.accuracy)


@dataclass(frozen=True)
class Picks:
    """Pairs to be labelled next, why (`arm`), and with which probability each was picked."""

    items: Integers
    arm: list[str]
    propensity: Floats


def believe(
    data: Features,
    votes: Floats,
    *,
    scale: Scale | None = None,
    ties: bool = True,
    priors: Priors | None = None,
) -> Belief:
    """Fit to people's votes (n, 3) and say what follows for every pair."""
    labelled = np.flatnonzero(votes.sum(axis=1) > 0)
    known, said = data.rows(labelled), votes[labelled]
    soft = soft_labels(said, value.ACCURACY, ties)
    model = label_model.fit(known, soft, scale=scale or label_model.scale_of(data), ties=ties, priors=priors)
    prior = model.posterior(data).probability
    if len(labelled):
        prior[labelled] = model.cavity(known, soft, np.ones(len(labelled))).probability
    accuracy = calibrating.accuracy_given(prior[labelled], said)
    posterior = value.updated(prior, votes, accuracy)
    told = told_of_siblings(model, data, value.value_of_information(posterior, accuracy), votes.sum(axis=1) == 0)
    return Belief(prior, posterior, accuracy, told, model)


def told_of_siblings(model: LabelModel, data: Features, gain: Floats, unlabelled: NDArray[np.bool_]) -> Floats:
    """½ Σ ρ² gain over unlabelled siblings, for unlabelled pairs; only in the prompts with the most to gain: (n,)."""
    found = np.zeros(data.size)
    open_gain = gain * unlabelled
    for group in promising(data, open_gain):
        kin = model.kinship(data.rows(group))
        np.fill_diagonal(kin, 0.0)
        found[group] = TOLD * (kin @ open_gain[group])
    return found * unlabelled


def promising(data: Features, gain: Floats) -> list[Integers]:
    """The pairs of each prompt that has several, for the LOOKED_AT prompts with the largest sum of gains."""
    shared = np.flatnonzero(data.shared > 0)
    prompts, group = np.unique(data.prompt[shared], return_inverse=True)
    if not len(prompts):
        return []
    total = np.bincount(group, gain[shared])
    kept = np.argsort(-total, kind="stable")[:LOOKED_AT]
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(prompts) + 1))
    return [shared[order[ends[place] : ends[place + 1]]] for place in kept.tolist()]


def soft_labels(votes: Floats, accuracy: float, ties: bool) -> Floats:
    """What a pair's votes alone say of it: (m, 3)."""
    even = np.full(votes.shape, 1.0)
    even[:, 0] = 1.0 if ties else 1e-9
    return value.updated(even, votes, accuracy)


def first_picks(free: Integers, count: int, rng: np.random.Generator) -> Picks:
    """The audit seed: drawn evenly from `free`."""
    items = rng.choice(free, min(count, len(free)), replace=False)
    return Picks(items, [AUDIT] * len(items), np.full(len(items), len(items) / max(len(free), 1)))


def next_picks(
    score: Floats,
    free: Integers,
    count: int,
    rng: np.random.Generator,
    explore: float = EXPLORE,
    prompt: Integers | None = None,
) -> Picks:
    """The best `count` of `free` by score, a share of them drawn at random instead. Equal scores in random order.

    With `prompt` (n,) no prompt is taken twice while there are others.
    """
    count = min(count, len(free))
    drawn = int(np.floor(count * explore + rng.random())) if explore else 0
    order = free[np.lexsort((rng.random(len(free)), -score[free]))]
    if prompt is not None:
        order = spread_out(order, prompt)
    greedy, rest = order[: count - drawn], order[count - drawn :]
    random = rng.choice(rest, min(drawn, len(rest)), replace=False)
    share = len(random) / len(rest) if len(rest) else 1.0
    return Picks(
        np.concatenate([greedy, random]),
        [GREEDY] * len(greedy) + [RANDOM] * len(random),
        np.concatenate([np.ones(len(greedy)), np.full(len(random), share)]),
    )


def spread_out(order: Integers, prompt: Integers) -> Integers:
    """The same pairs with the best of each prompt first, else in their order."""
    _, first = np.unique(prompt[order], return_index=True)
    leading = np.zeros(len(order), bool)
    leading[first] = True
    return np.concatenate([order[leading], order[~leading]])
