"""How far raters agree beyond chance, for every kind of question. Pure: opinions in, plain data out.

An answer is broken into marks: one for a preference, one for each rated response, one for each pair of a ranking, one
for each step. Krippendorff's alpha runs over the marks of each unit, on the scale that fits the kind: categories for a
choice (nominal), second < tie < first for a preference and a ranked pair, bad < neutral < good for a step (ordinal),
the numbers themselves for a rating (interval), as its label is their mean. `both_bad` has no place on second < tie <
first, and `unsure` and `unparsable` are not votes: alpha leaves all three out, kappa only the last two.

The judges' share is how much of a judge's vote fell on what people decided: a judge that says the same in both orders
has 1 or 0, one that says people's choice in one order only has ½.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from django.utils.translation import gettext as _

from annotate.deciding import (
    HUMAN,
    JUDGE,
    SILENT,
    Asked,
    Opinion,
    aggregate_preference,
    choice_options,
    one_vote,
    said_about,
    winner,
)
from annotate.statistics import spans
from annotate.statistics.alpha import Level, alpha
from annotate.statistics.intervals import interval_of, wilson
from annotate.statistics.kappa import kappa

Opinions = Mapping[int, Sequence[Opinion]]
Category = str | float
PREFERENCE_PLACES: dict[Category, float] = {"b": -1.0, "tie": 0.0, "a": 1.0}
STEP_PLACES: dict[Category, float] = {"bad": -1.0, "neutral": 0.0, "good": 1.0}
LEVELS: dict[str, Level] = {
    "preference": "ordinal",
    "rating": "interval",
    "ranking": "ordinal",
    "step": "ordinal",
    "choice": "nominal",
}
MOST_RATERS = 20  # in a matrix of pairs


class Mark(NamedTuple):
    """What one person said of one unit: a part of an item, as "" for all of it or "1" for its second response."""

    item: int
    part: str
    rater: int
    category: Category
    at: datetime | None


def parts_of(question: Asked, answer: Any) -> dict[str, Category]:
    """One answer as part → category; silence has no parts."""
    match question.kind:
        case "preference":
            return {} if answer["choice"] in SILENT else {"": answer["choice"]}
        case "rating":
            return {str(place): float(rating) for place, rating in enumerate(answer) if rating is not None}
        case "ranking":
            pairs = combinations(range(len(answer)), 2)
            return {f"{i}-{j}": float(np.sign(answer[j] - answer[i])) for i, j in pairs}
        case "step":
            marked = ((f"{n}.{step}", mark) for n, marks in enumerate(answer) for step, mark in enumerate(marks))
            return {part: mark for part, mark in marked if mark is not None}
        case "choice" if question.config.get("multiple"):
            options = choice_options(question.config, answer)
            return {option: float(option in answer) for option in options}
        case "choice":
            return {"": answer[0]} if answer else {}
    return {}


def marks_of(question: Asked, opinions: Opinions) -> list[Mark]:
    """Every mark that people made on one question; of somebody who answered in two orders the first."""
    marks = []
    for item, said in opinions.items():
        done = set()
        for opinion in said:
            answer = opinion.answers.get(question.name)
            if answer is None or opinion.kind != HUMAN or opinion.rater in done:
                continue
            done.add(opinion.rater)
            for part, category in parts_of(question, answer).items():
                marks.append(Mark(item, part, opinion.rater, category, opinion.at))
    return marks


def places_of(question: Asked, marks: Iterable[Mark]) -> dict[Category, float]:
    """Category → where it stands on the question's scale; a category that is not named here has no place."""
    if question.kind == "preference":
        return PREFERENCE_PLACES
    if question.kind == "step":
        return STEP_PLACES
    categories = {mark.category for mark in marks}
    if question.kind == "choice" and not question.config.get("multiple"):
        return {category: float(place) for place, category in enumerate(sorted(categories, key=str))}
    return {category: float(category) for category in categories}


def units_of(marks: Iterable[Mark], places: Mapping[Category, float]) -> list[list[float]]:
    """The marks of each unit as places on the scale."""
    units: dict[tuple[int, str], list[float]] = defaultdict(list)
    for mark in marks:
        if mark.category in places:
            units[mark.item, mark.part].append(places[mark.category])
    return list(units.values())


def alpha_of(question: Asked, marks: Sequence[Mark]) -> dict[str, Any]:
    """Alpha with its interval, units and level; for spans the mean agreement of pairs instead (`spans_agreement`)."""
    return alpha(units_of(marks, places_of(question, marks)), LEVELS.get(question.kind, "nominal"))


def spans_agreement(name: str, opinions: Opinions) -> dict[str, Any]:
    """Mean pairwise F1 on characters over items that two people marked, with its interval."""
    found = []
    for said in opinions.values():
        marked = [orders[0] for orders in said_about(name, said)[HUMAN].values()]
        if (agreed := spans.agreement(marked)) is not None:
            found.append(agreed)
    share = mean_share(found)
    return {"alpha": share["share"], "low": share["low"], "high": share["high"], "units": len(found), "level": "F1"}


def mean_share(shares: Sequence[float]) -> dict[str, Any]:
    """The mean of shares, one for each item, with a 95% interval."""
    if not shares:
        return {"share": None, "low": None, "high": None, "items": 0}
    values, repeats = np.unique(np.asarray(shares, dtype=float), return_counts=True)
    between = interval_of(repeats, lambda drawn: drawn @ values / len(shares))
    if len(values) == 1:  # a bootstrap of what is always the same knows no doubt
        between = wilson(sum(shares), len(shares))
    return {"share": fmean(shares), "low": between[0], "high": between[1], "items": len(shares)}


def in_words(value: float | None, low: float | None) -> str:
    """What an alpha says, by Krippendorff's own thresholds of .8 and .667; the interval's low end decides."""
    if value is None or low is None:
        return _("Nothing can be said yet: alpha needs units that two people answered, with more than one answer.")
    if low >= 0.8:
        return _("Reliable: people read the guidelines alike, and a label hardly depends on who gave it.")
    if low >= 0.667:
        return _("Good enough for tentative conclusions; look at where people differ before training on it.")
    if value >= 0.667:
        return _("Perhaps good enough, but too few units to be sure: the interval reaches below 0.667.")
    if value > 0.2:
        return _("Weak: many labels depend on who gave them. Sharpen the guidelines, or raise the overlap.")
    return _("Hardly better than chance: the question means different things to different people.")


# --- Pairs of raters ------------------------------------------------------------------------------------------


def kappas(question: Asked, marks: Sequence[Mark]) -> dict[str, Any]:
    """Cohen's kappa of each pair among the raters with most marks: {"raters": ids, "cells": {"3 7": {…}}}.

    Quadratic weights for ratings, whose distances mean something; else plain categories.
    """
    most = [rater for rater, _times in Counter(mark.rater for mark in marks).most_common(MOST_RATERS)]
    categories = sorted({mark.category for mark in marks}, key=lambda value: (isinstance(value, str), value))
    place = {category: number for number, category in enumerate(categories)}
    tables = joint_tables((mark for mark in marks if mark.rater in set(most)), place)
    cells = {
        f"{one} {other}": kappa(table, ordered=question.kind == "rating") for (one, other), table in tables.items()
    }
    return {"raters": most, "cells": cells}


def joint_tables(marks: Iterable[Mark], place: Mapping[Category, int]) -> dict[tuple[int, int], np.ndarray]:
    """(rater, rater) with the lower id first → how often they marked a unit as what together."""
    units: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for mark in marks:
        units[mark.item, mark.part].append((mark.rater, place[mark.category]))
    tables: dict[tuple[int, int], np.ndarray] = defaultdict(lambda: np.zeros((len(place), len(place))))
    for said in units.values():
        for (one, first), (other, second) in combinations(sorted(said), 2):
            tables[one, other][first, second] += 1
    return tables


# --- Judges ---------------------------------------------------------------------------------------------------


def decided_by_people(question: Asked, said: Sequence[Opinion]) -> str | None:
    people = [opinion for opinion in said if opinion.kind == HUMAN]
    decided = aggregate_preference(question.name, question.config, people)
    return decided.value if decided else None


def judge_votes(question: Asked, opinions: Opinions) -> dict[int, tuple[str, dict[int, dict[str, float]]]]:
    """Item → what people decided and each judge's vote, of a preference that both spoke about."""
    found = {}
    for item, said in opinions.items():
        given = said_about(question.name, said)[JUDGE]
        votes = {judge: vote for judge, answers in given.items() if (vote := one_vote(answers))}
        decided = decided_by_people(question, said) if votes else None
        if decided is not None:
            found[item] = decided, votes
    return found


def judge_shares(question: Asked, opinions: Opinions) -> tuple[dict[int, float], dict[int, list[float]]]:
    """How much of the judges' votes fell on what people decided: item → mean share, judge → shares."""
    of_items: dict[int, float] = {}
    of_judges: dict[int, list[float]] = defaultdict(list)
    for item, (decided, votes) in judge_votes(question, opinions).items():
        shares = {judge: vote.get(decided, 0.0) for judge, vote in votes.items()}
        of_items[item] = fmean(shares.values())
        for judge, share in shares.items():
            of_judges[judge].append(share)
    return of_items, of_judges


def judge_kappas(question: Asked, opinions: Opinions) -> dict[int, dict[str, Any]]:
    """Judge → Cohen's kappa with what people decided; a judge that differs between orders says tie."""
    pairs: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for decided, votes in judge_votes(question, opinions).values():
        for judge, vote in votes.items():
            pairs[judge].append((decided, winner(vote)))
    found = {}
    for judge, said in pairs.items():
        place = {option: number for number, option in enumerate(sorted({option for pair in said for option in pair}))}
        table = np.zeros((len(place), len(place)))
        for decided, option in said:
            table[place[decided], place[option]] += 1
        found[judge] = kappa(table)
    return found
