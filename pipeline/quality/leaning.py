"""What decides a judge besides the answer: its place, its length, its form, who wrote it. Pure: rows in, data out.

Each lean is compared with people's on the same items: that a judge takes the longer answer more often than not is no
bias if people do so too. The difference is judged by a bootstrap over prompts, whose pairs are not independent (Field
and Welsh 2007). Sources: Zheng et al., "Judging LLM-as-a-judge" (2023), for place, length and own answers; Dubois et
al., "Length-controlled AlpacaEval" (2024).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.statistics.intervals import resampled, wilson
from annotate.statistics.votes import Floats

LIST = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)])\s+\S", re.MULTILINE)
HEADING = re.compile(r"^\s{0,3}#{1,6}\s+\S", re.MULTILINE)
BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
FORMS: dict[str, re.Pattern[str]] = {"lists": LIST, "headings": HEADING, "bold": BOLD}
MOST_SLICES = 10  # of each kind
WEEK = "week"  # the kind of slice that has an order in time


@dataclass(frozen=True)
class Compared:
    """One item that the judge was asked about. `first` is 1 for the first response in stored order, 0 for the second.

    `judge` is the judge's share for the first response (½: undecided), `people` theirs, None where none decided for a
    side. `places` says of each order in which it named a side whether that stood first. `traits` holds by name which
    response has more of something: 1 the first, −1 the second, 0 both alike. `right` is how much of the judge's vote
    fell on what people decided, None without people.
    """

    prompt: str
    judge: float
    people: float | None
    places: tuple[bool, ...]
    orders: int
    same: bool
    traits: Mapping[str, int]
    right: float | None = None
    slices: Mapping[str, Sequence[str]] | None = None


def traits_of(texts: Sequence[str], models: Sequence[str], own: str) -> dict[str, int]:
    """Which of two responses is longer, has more of each form, and is written by the judge's own model."""
    found = {"longer": sign(len(texts[0].split()) - len(texts[1].split()))}
    for name, pattern in FORMS.items():
        found[name] = sign(len(pattern.findall(texts[0])) - len(pattern.findall(texts[1])))
    if own:
        found["own model"] = sign(int(same_model(models[0], own)) - int(same_model(models[1], own)))
    return found


def sign(value: int) -> int:
    return (value > 0) - (value < 0)


def same_model(one: str, other: str) -> bool:
    """Is it the same model, whatever folder or maker is written before its name?"""
    names = [name.strip().lower().rpartition("/")[2] for name in (one, other)]
    return bool(names[0]) and names[0] == names[1]


def share(successes: float, n: float) -> dict[str, Any]:
    """A share with its 95% interval (Wilson); all None without anything to count."""
    if not n:
        return {"share": None, "low": None, "high": None, "n": 0}
    low, high = wilson(successes, n)
    return {"share": successes / n, "low": low, "high": high, "n": round(n)}


def position(rows: Sequence[Compared]) -> dict[str, Any]:
    """`consistent`: the same in both orders. `first`: of items where it named a place instead, how often the first."""
    both = [row for row in rows if row.orders > 1]
    by_place = [row.places for row in both if len(row.places) > 1 and len(set(row.places)) == 1 and not row.same]
    return {
        "consistent": share(sum(row.same for row in both), len(both)),
        "first": share(sum(places[0] for places in by_place), len(by_place)),
    }


def towards(value: float, side: int) -> float:
    """A share for the first response as a share for the response on this side."""
    return value if side > 0 else 1 - value


def lean(rows: Iterable[Compared], trait: str, looked_at: int = 1) -> dict[str, Any]:
    """How often the judge takes the response that has more of the trait, and people on the same items.

    {"judge", "people": shares on items that both decided, "difference", "low", "high", "n"; "all": on every item}.
    `found` says whether it leans, where so many traits are `looked_at`: with a probability of 5% at most any of them
    is found by chance (Bonferroni). The interval is of this trait alone.
    """
    having = [row for row in rows if row.traits.get(trait) and row.judge != 0.5]
    shared = [row for row in having if row.people is not None]
    judge = [towards(row.judge, row.traits[trait]) for row in shared]
    people = [towards(row.people, row.traits[trait]) for row in shared if row.people is not None]
    differences = np.subtract(judge, people) if shared else np.asarray([])
    prompts = [row.prompt for row in shared]
    low, high = clustered(differences, prompts)
    least, most = clustered(differences, prompts, coverage=1 - 0.05 / looked_at)
    return {
        "all": share(sum(towards(row.judge, row.traits[trait]) for row in having), len(having)),
        "judge": float(np.mean(judge)) if shared else None,
        "people": float(np.mean(people)) if shared else None,
        "difference": float(np.mean(differences)) if shared else None,
        "low": low,
        "high": high,
        "n": len(shared),
        "found": least is not None and most is not None and (least > 0 or most < 0),
    }


def clustered(
    values: Floats, groups: Sequence[str], weights: Floats | None = None, coverage: float = 0.95
) -> tuple[float | None, float | None]:
    """An interval of a weighted mean whose values come in groups: whole groups are drawn with replacement.

    None for fewer than two groups, of which a bootstrap knows nothing. Groups that are alike are drawn as one kind of
    group, so it takes no longer for many that are alike.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None, None
    known = np.ones(len(member)) if weights is None else np.asarray(weights, dtype=np.float64)
    each = np.column_stack([np.bincount(member, values * known), np.bincount(member, known)]).round(12)
    kinds, repeats = np.unique(each, axis=0, return_counts=True)
    sums = resampled(repeats) @ kinds
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [50 * (1 - coverage), 50 * (1 + coverage)])
    return float(low), float(high)


def slices(rows: Iterable[Compared]) -> dict[str, list[dict[str, Any]]]:
    """Kind of slice → how often the judge is right there."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.right is None or row.slices is None:
            continue
        for kind, names in row.slices.items():
            for name in names:
                groups[kind][name].append(row.right)
    return {kind: slice_rows(kind, of_kind) for kind, of_kind in groups.items()}


def slice_rows(kind: str, groups: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """The largest slices first; weeks in their order, the last ones."""
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_SLICES]
    if kind == WEEK:
        largest = sorted(groups)[-MOST_SLICES:]
    return [{"name": name, **share(sum(groups[name]), len(groups[name]))} for name in largest]


def report(rows: Sequence[Compared]) -> dict[str, Any]:
    """All leans of a judge."""
    traits = ["longer", *FORMS, *(["own model"] if any("own model" in row.traits for row in rows) else [])]
    counted = sum(any(row.traits.get(trait) and row.people is not None for row in rows) for trait in traits)
    return {
        "items": len(rows),
        "position": position(rows),
        "traits": {trait: lean(rows, trait, max(1, counted)) for trait in traits},
        "slices": slices(rows),
    }
