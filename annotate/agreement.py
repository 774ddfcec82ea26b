"""How far raters agree beyond chance: Krippendorff's alpha among people, and how often judges say what people say.

Alpha is 1 − observed / expected disagreement (Krippendorff, "Content Analysis", chapter 12), on an ordinal scale:
second < tie < first for a preference, the scale's own order for a rating. `both_bad` has no place on that scale, and
`unsure` and `unparsable` are not votes: all three are left out. A unit is an item, for ratings one response of it.
Intervals are percentiles of a bootstrap over units with a fixed seed.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import krippendorff
import numpy as np
from django.utils import timezone

from annotate.aggregation import current_opinions, main_first
from annotate.deciding import Opinion, aggregate_preference, one_vote, said_about
from annotate.models import Annotation, Change, Project, Question, Rater

PLACES = {"b": -1.0, "tie": 0.0, "a": 1.0}
NEWEST = 50_000  # annotations looked at: what raters agree on now, at a bounded cost
REST = 20  # a project's agreement is left alone for so many times as long as it took to compute
WORK = 1_000_000  # units resampled in all

Units = Sequence[Sequence[float]]
Level = Literal["nominal", "ordinal", "interval", "ratio"]

# --- The pure core --------------------------------------------------------------------------------------------


def value_counts(units: Units) -> tuple[np.ndarray, np.ndarray]:
    """The values in order, and how often each was given to each unit: shapes (values,) and (units, values)."""
    domain = np.unique(np.concatenate([np.asarray(unit, dtype=float) for unit in units]))
    counts = np.zeros((len(units), len(domain)), dtype=int)
    for row, unit in enumerate(units):
        np.add.at(counts[row], np.searchsorted(domain, unit), 1)
    return domain, counts


def alpha_of_counts(domain: np.ndarray, counts: np.ndarray, level: Level) -> float | None:
    """Alpha from (units, values) counts; None where only one value was given, since chance then explains all."""
    used = counts[counts.sum(axis=1) > 1].sum(axis=0) > 0
    if used.sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))


def alpha(units: Units, level: Level = "ordinal") -> dict[str, Any]:
    """Alpha of what raters gave to each unit, with a 95% interval and the number of units that two rated.

    `units` holds for each unit the values that it was given, in any order; units with one value are left out.
    """
    rated_twice = [unit for unit in units if len(unit) > 1]
    result = {"alpha": None, "low": None, "high": None, "units": len(rated_twice), "level": level}
    if not rated_twice:
        return result
    domain, counts = value_counts(rated_twice)
    low, high = bootstrap(counts, lambda chosen: alpha_of_counts(domain, chosen, level))
    return {**result, "alpha": alpha_of_counts(domain, counts, level), "low": low, "high": high}


def mean_share(shares: Sequence[float]) -> dict[str, Any]:
    """The mean of shares, one for each item, with a 95% interval."""
    if not shares:
        return {"share": None, "low": None, "high": None, "items": 0}
    values = np.asarray(shares, dtype=float)
    low, high = bootstrap(values, lambda chosen: float(chosen.mean()))
    return {"share": float(values.mean()), "low": low, "high": high, "items": len(values)}


def bootstrap(
    rows: np.ndarray, statistic: Callable[[np.ndarray], float | None], seed: int = 17
) -> tuple[float | None, float | None]:
    """The 2.5th and 97.5th percentile of the statistic over resampled rows; None where it is never defined."""
    generator = np.random.default_rng(seed)
    times = min(1000, max(100, WORK // len(rows)))
    drawn = (statistic(rows[generator.integers(0, len(rows), len(rows))]) for _ in range(times))
    known = [value for value in drawn if value is not None]
    if not known:
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def preference_units(name: str, opinions: Mapping[int, Sequence[Opinion]]) -> list[list[float]]:
    """For each item, where people placed it on second < tie < first."""
    units = []
    for said in opinions.values():
        people = said_about(name, said)[Rater.HUMAN]
        units.append([PLACES[given[0]["choice"]] for given in people.values() if given[0]["choice"] in PLACES])
    return units


def rating_units(name: str, opinions: Mapping[int, Sequence[Opinion]]) -> list[list[float]]:
    """For each response of each item, how people rated it."""
    units: list[list[float]] = []
    for said in opinions.values():
        given = [answers[0] for answers in said_about(name, said)[Rater.HUMAN].values()]
        units += [[rating for rating in column if rating is not None] for column in zip(*given, strict=True)]
    return units


def judge_shares(
    question: Question, opinions: Mapping[int, Sequence[Opinion]]
) -> tuple[list[float], dict[int, list[float]]]:
    """How much of each judge's vote fell on what people decided: per item, and per judge and item.

    A judge that says the same in both orders has 1 or 0; one that says people's choice in one order only has ½.
    """
    of_items: list[float] = []
    of_judges: dict[int, list[float]] = defaultdict(list)
    for said in opinions.values():
        people = [opinion for opinion in said if opinion.kind == Rater.HUMAN]
        decided = aggregate_preference(question.name, question.config, people)
        judges = said_about(question.name, said)[Rater.JUDGE]
        votes = {judge: vote for judge, given in judges.items() if (vote := one_vote(given))}
        if decided is None or not votes:
            continue
        shares = {judge: vote.get(decided.value, 0.0) for judge, vote in votes.items()}
        of_items.append(sum(shares.values()) / len(shares))
        for judge, share in shares.items():
            of_judges[judge].append(share)
    return of_items, of_judges


# --- Kept on the project --------------------------------------------------------------------------------------


def refresh(project: Project) -> bool:
    """Compute the project's agreement anew if anything was said since, and enough time has passed for its cost."""
    kept = project.agreement
    newest = newest_change(project)
    rested = time.time() - kept.get("computed", 0) >= REST * kept.get("seconds", 0)
    if newest == kept.get("change", 0) or not rested:
        return False
    began = time.time()
    result = measure(project)
    result |= {"at": timezone.now().isoformat(), "change": newest, "computed": began, "seconds": time.time() - began}
    Project.objects.filter(pk=project.pk).update(agreement=result)
    project.agreement = result
    return True


MEASURED = (Question.PREFERENCE, Question.RATING)


def newest_change(project: Project) -> int:
    """The id of the newest Change, 0 for none; one index lookup for each kind."""
    newest = 0
    for kind, _words in Change.KINDS:
        of_kind = Change.objects.filter(project=project, kind=kind).order_by("-id")
        newest = max(newest, of_kind.values_list("id", flat=True).first() or 0)
    return newest


def measure(project: Project) -> dict[str, Any]:
    """Alpha for every question, the first one's also at the top, and how often judges say what people say."""
    opinions = read_opinions(project)
    asked = main_first(project.questions.filter(kind__in=MEASURED))
    questions = {}
    for question in asked:
        is_preference = question.kind == Question.PREFERENCE
        units = (preference_units if is_preference else rating_units)(question.name, opinions)
        questions[question.name] = {"title": question.title, **alpha(units)}
    first = next(iter(questions.values()), {})
    summary = {key: first.get(key) for key in ("alpha", "low", "high", "units")}
    return {**summary, "questions": questions, **judges_against_people(asked, opinions)}


def judges_against_people(asked: Iterable[Question], opinions: Mapping[int, Sequence[Opinion]]) -> dict[str, Any]:
    """`judge`: all judges together; `judges`: each by name, the one with most items first."""
    question = next((question for question in asked if question.kind == Question.PREFERENCE), None)
    of_items, of_judges = judge_shares(question, opinions) if question else ([], {})
    names = dict(Rater.objects.filter(pk__in=of_judges).values_list("pk", "name"))
    rows = [{"name": names[judge], **mean_share(shares)} for judge, shares in of_judges.items()]
    return {"judge": mean_share(of_items), "judges": sorted(rows, key=lambda row: (-row["items"], row["name"]))}


def read_opinions(project: Project) -> Mapping[int, list[Opinion]]:
    """Item → the current counted opinions on it, from the project's newest annotations."""
    return current_opinions(Annotation.objects.filter(rater__project=project).order_by("-pk")[:NEWEST])
