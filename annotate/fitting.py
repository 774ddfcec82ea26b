"""What the votes on one question say about those who gave them. Pure: gathered answers in, parameters out.

People alone fit a model; judges are then measured against what people's votes say, since judges share errors that
look like agreement. The weighing methods need MIN_ITEMS items with two people's votes and two people with MIN_VOTES
votes; below that the majority stands, and the fit says so. A rater with fewer votes counts as a usual one.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotate.deciding import DAWID_SKENE, LEANINGS, MAJORITY, SKILL_WEIGHTED
from annotate.statistics import ratings
from annotate.statistics.dawid_skene import confusion_against, dawid_skene, expected_right
from annotate.statistics.intervals import Z95, wilson
from annotate.statistics.skill_weights import leave_one_out, skills, weighted_posterior, weights
from annotate.statistics.votes import Floats, Integers, Votes, votes_of

MIN_ITEMS, MIN_VOTES = 200, 20
DECIMALS = 9
RESPONSES = 100  # more than an item ever has: a rated thing is item · RESPONSES + response


@dataclass
class GatheredVotes:
    """Votes on one question as they are read: flat (item, rater, option) triples, and the options by name."""

    options: dict[str, int]
    triples: array = field(default_factory=lambda: array("q"))

    def add(self, item: int, rater: int, option: str) -> None:
        self.triples.extend((item, rater, self.options.setdefault(option, len(self.options))))


@dataclass
class GatheredRatings:
    """Ratings on one question as they are read: (thing, rater) pairs and the ratings beside them."""

    pairs: array = field(default_factory=lambda: array("q"))
    ratings: array = field(default_factory=lambda: array("d"))

    def add(self, item: int, rater: int, response: int, rating: float) -> None:
        self.pairs.extend((item * RESPONSES + response, rater))
        self.ratings.append(rating)


@dataclass(frozen=True)
class Skill:
    """One rater in a fit. Empty `parameters` count as a usual rater."""

    rater: int
    parameters: dict[str, Any]
    n: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Fitted:
    """The outcome for one question; `items` have two people's answers, `raters` at least MIN_VOTES answers."""

    method: str
    parameters: dict[str, Any]
    skills: list[Skill]
    items: int = 0
    raters: int = 0
    votes: int = 0


def kept(numbers: Any) -> Any:
    """Numbers as they are stored, to nine decimals: the same votes give the same fit in whatever order they lie."""
    return np.round(np.asarray(numbers, dtype=np.float64), DECIMALS).tolist()


@dataclass(frozen=True)
class Indexed:
    """Votes with indices in place of ids. `raters` and `items` hold the ids."""

    votes: Votes
    raters: Integers
    items: Integers


def indexed(gathered: GatheredVotes, chosen: Mapping[int, bool], items: Integers | None = None) -> Indexed:
    """The votes of the chosen raters; only on `items` where given. Several of one rater on one item share one vote."""
    table = (
        np.frombuffer(gathered.triples, dtype=np.int64).reshape(-1, 3) if gathered.triples else np.empty((0, 3), int)
    )
    wanted = np.array([rater for rater, yes in chosen.items() if yes], dtype=np.int64)
    table = table[np.isin(table[:, 1], wanted)]
    raters = np.unique(table[:, 1])
    if items is not None:
        table = table[np.isin(table[:, 0], items)]
    names = np.unique(table[:, 0]) if items is None else items
    rows = np.column_stack([np.searchsorted(names, table[:, 0]), np.searchsorted(raters, table[:, 1]), table[:, 2]])
    _, same, count = np.unique(rows[:, 0] * max(len(raters), 1) + rows[:, 1], return_inverse=True, return_counts=True)
    weight = 1.0 / count[same] if len(rows) else np.empty(0)
    votes = votes_of(rows, max(len(gathered.options), 1), items=len(names), raters=len(raters), weight=weight)
    return Indexed(votes, raters, names)


def fit_votes(gathered: GatheredVotes, kinds: Mapping[int, str], wanted: str) -> Fitted:
    """Fit one question of votes. `kinds` is rater id → human or judge, `wanted` the project's method."""
    people = indexed(gathered, {rater: kind == "human" for rater, kind in kinds.items()})
    given = people.votes.of_raters(np.ones(len(people.votes.item)))
    twice = int((people.votes.counts.sum(axis=1) > 1).sum())
    able = int((given >= MIN_VOTES).sum())
    method = wanted if twice >= MIN_ITEMS and able >= 2 else MAJORITY
    fit = {MAJORITY: by_majority, SKILL_WEIGHTED: by_skill, DAWID_SKENE: by_confusion}[method]
    parameters, own, truth = fit(people, list(gathered.options), given)
    of_judges = judges(gathered, kinds, people.items, truth, method)
    return Fitted(method, parameters, own + of_judges, twice, able, int(given.sum()))


Outcome = tuple[dict[str, Any], list[Skill], Floats]


def by_majority(people: Indexed, options: list[str], given: Floats) -> Outcome:
    """Nothing is weighed; how often each agrees with the others is kept for the tables."""
    return {}, skills_of(people, *leave_one_out(people.votes)), people.votes.shares


def by_skill(people: Indexed, options: list[str], given: Floats) -> Outcome:
    """Weights from the agreement with the others; the usual weight is that of the mean agreement."""
    found = skills(people.votes)
    usual = weights(np.array([found.right.sum() / found.compared.sum()]), len(options))[0]
    weight = np.where(given >= MIN_VOTES, found.weight, usual)
    own = [{"weight": kept(value)} if many else {} for value, many in zip(weight, given >= MIN_VOTES, strict=True)]
    parameters = {"options": options, "prior": [1 / len(options)] * len(options), "usual": {"weight": kept(usual)}}
    return parameters, skills_of(people, found.right, found.compared, own), weighted_posterior(people.votes, weight)


def by_confusion(people: Indexed, options: list[str], given: Floats) -> Outcome:
    """Dawid–Skene; the usual rater errs as all together do."""
    fit = dawid_skene(people.votes)
    alike = votes_of(
        np.column_stack([people.votes.item, np.zeros_like(people.votes.rater), people.votes.option]),
        people.votes.options,
        items=people.votes.items,
        raters=1,
    )
    usual = confusion_against(alike, fit.posterior)[0]
    own = [
        {"confusion": kept(matrix)} if many else {}
        for matrix, many in zip(fit.confusion, given >= MIN_VOTES, strict=True)
    ]
    parameters = {"options": options, "prior": kept(fit.prior), "usual": {"confusion": kept(usual)}}
    return parameters, skills_of(people, *expected_right(people.votes, fit.posterior), own), fit.posterior


def skills_of(
    raters: Indexed, right: Floats, compared: Floats, own: list[dict[str, Any]] | None = None
) -> list[Skill]:
    """A row for each rater: how many of how many votes were right, with Wilson's interval."""
    rows = []
    for place, rater in enumerate(raters.raters.tolist()):
        n = float(compared[place])
        low, high = wilson(float(right[place]), n)
        accuracy = float(right[place]) / n if n else None
        parameters = own[place] if own else {}
        rows.append(Skill(rater, parameters, round(n), accuracy, low if n else None, high if n else None))
    return rows


def judges(
    gathered: GatheredVotes, kinds: Mapping[int, str], items: Integers, truth: Floats, method: str
) -> list[Skill]:
    """Judges against what people's votes say, on the items that both voted on."""
    found = indexed(gathered, {rater: kind == "judge" for rater, kind in kinds.items()}, items)
    votes = found.votes
    right = votes.of_raters(truth[votes.item, votes.option])
    given = votes.of_raters(np.ones(len(votes.item)))
    own: list[dict[str, Any]] = [{} for _ in found.raters]
    if method == DAWID_SKENE:
        own = [{"confusion": kept(matrix)} for matrix in confusion_against(votes, truth)]
    elif method == SKILL_WEIGHTED:
        shares = np.divide(right, given, out=np.full_like(right, 0.5), where=given > 0)
        own = [{"weight": kept(weight)} for weight in weights(shares, votes.options)]
    known = [parameters if n >= MIN_VOTES else {} for parameters, n in zip(own, given, strict=True)]
    return [skill for skill in skills_of(found, right, given, known) if skill.n]


def fit_ratings(gathered: GatheredRatings, wanted: str) -> Fitted:
    """Fit one question of ratings: each person's leaning, with a 95% interval, and how far ratings scatter."""
    pairs = np.frombuffer(gathered.pairs, dtype=np.int64).reshape(-1, 2) if gathered.pairs else np.empty((0, 2), int)
    things, thing = np.unique(pairs[:, 0], return_inverse=True)
    raters, rater = np.unique(pairs[:, 1], return_inverse=True)
    if not len(pairs):
        return Fitted(MAJORITY, {}, [])
    found = ratings.leanings(thing, rater, np.frombuffer(gathered.ratings, dtype=np.float64))
    twice = np.bincount(thing) > 1
    items = len(np.unique(things[twice] // RESPONSES))
    method = LEANINGS if wanted != MAJORITY and found.bias.any() else MAJORITY
    rows = [leaning_row(*row, found.deviation) for row in zip(raters.tolist(), found.bias, found.ratings, strict=True)]
    able = int((found.ratings >= ratings.FEW).sum())
    return Fitted(
        method,
        {"deviation": None if found.deviation is None else kept(found.deviation)},
        rows,
        items,
        able,
        len(pairs),
    )


def leaning_row(rater: int, bias: float, n: int, deviation: float | None) -> Skill:
    """A person's leaning in points of the scale; the interval is that of the mean of n residuals."""
    if not bias or deviation is None:
        return Skill(rater, {}, int(n))
    spread = Z95 * deviation / float(np.sqrt(n + ratings.RIDGE))
    return Skill(rater, {"bias": kept(bias), "low": kept(bias - spread), "high": kept(bias + spread)}, int(n))
