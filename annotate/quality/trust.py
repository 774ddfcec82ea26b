"""What makes one look twice at somebody's answers. Pure functions: each takes what was said, returns a Signal or None.

A signal is a share with its 95% interval, and is suspicious only where the whole interval lies beyond the threshold.
None of them is a proof: a person decides.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any

from annotate.statistics.intervals import wilson

LEAST_SECONDS = 3.0
WORDS_A_SECOND = 15.0  # nobody reads faster: three to four times the usual silent reading of 238 words a minute
FAST_SHARE = 0.10
COPIED_SHARE, ALIKE, SHINGLE = 0.30, 0.8, 3  # Jaccard of three-word shingles (Broder, 1997)
REASONS = 300  # compared with one another at most
SIDE_SHARE, SIDE_P = 0.15, 0.001  # away from a half, and the exact two-sided binomial probability
FLAT_SHARE = 0.5
GOLD_SHARE, ATTENTION_SHARE = 0.7, 0.9
RECENT = 30  # answers in the recent window of the drift alarm
DROP = 0.1

FAST, COPIED, SIDE, FLAT, DRIFT, GOLD, ATTENTION = (
    "too_fast", "copied_reasons", "side_bias", "straight_lining", "drift", "gold", "attention",
)  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """`value` with its 95% interval over `n` answers, and what it is held against."""

    name: str
    value: float
    low: float
    high: float
    n: int
    threshold: float
    is_suspicious: bool


def share(name: str, hits: int, n: int, threshold: float, least: int, *, above: bool = True) -> Signal | None:
    """A share that is suspicious above (or below) its threshold; None for fewer than `least` answers."""
    if n < least:
        return None
    low, high = wilson(hits, n)
    return Signal(name, hits / n, low, high, n, threshold, low > threshold if above else high < threshold)


def fastest_fair(words: int, percentile: float) -> float:
    """Seconds below which an answer to so many words is too fast; `percentile` is the project's second."""
    return max(LEAST_SECONDS, words / WORDS_A_SECOND, percentile)


def second_percentile(seconds: Sequence[float]) -> float:
    """The project's second percentile; 0 from fewer than 50 answers."""
    ordered = sorted(seconds)
    return ordered[int(len(ordered) * 0.02)] if len(ordered) >= 50 else 0.0


def too_fast(answers: Iterable[tuple[float | None, int]], percentile: float) -> Signal | None:
    """`answers` are (active seconds, words to read); those without a time are left out."""
    timed = [(seconds, words) for seconds, words in answers if seconds is not None]
    hits = sum(seconds < fastest_fair(words, percentile) for seconds, words in timed)
    return share(FAST, hits, len(timed), FAST_SHARE, 20)


def normalised(reason: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", reason.casefold()))


def shingles(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))


def is_like(one: frozenset[Any], other: frozenset[Any]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)


def copied_reasons(reasons: Iterable[str]) -> Signal | None:
    """How many reasons of four words or more say nearly what an earlier one said."""
    long = [words for words in map(normalised, reasons) if len(words) >= 4][:REASONS]
    seen: list[frozenset[Any]] = []
    hits = 0
    for words in long:
        mine = shingles(words)
        if any(is_like(mine, other) for other in seen):
            hits += 1
        else:
            seen.append(mine)
    return share(COPIED, hits, len(long), COPIED_SHARE, 10)


def two_sided(hits: int, n: int) -> float:
    """The exact binomial probability of a split at least so uneven, if both sides were as likely."""
    tail = sum(comb(n, k) for k in range(max(hits, n - hits), n + 1)) / 2**n
    return min(1.0, 2 * tail)


def side_bias(lefts: Sequence[bool]) -> Signal | None:
    """`lefts` says of each choice of a side whether it fell on the left one, whose contents are drawn."""
    n, hits = len(lefts), sum(lefts)
    if n < 30:
        return None
    low, high = wilson(hits, n)
    far = abs(hits / n - 0.5) >= SIDE_SHARE
    return Signal(SIDE, hits / n, low, high, n, SIDE_SHARE, far and two_sided(hits, n) < SIDE_P)


def straight_lining(ratings: Iterable[Sequence[float]]) -> Signal | None:
    """How many items, of those with four ratings or more, got one and the same number throughout."""
    rated = [given for given in ratings if len(given) >= 4]
    return share(FLAT, sum(len(set(given)) == 1 for given in rated), len(rated), FLAT_SHARE, 20)


def gold(right: Sequence[bool]) -> Signal | None:
    return share(GOLD, sum(right), len(right), GOLD_SHARE, 5, above=False)


def attention(right: Sequence[bool]) -> Signal | None:
    return share(ATTENTION, sum(right), len(right), ATTENTION_SHARE, 3, above=False)


def difference(hits: int, n: int, before: int, total: int) -> tuple[float, float]:
    """95% interval of hits/n − before/total from the two Wilson intervals (Newcombe, 1998, method 10)."""
    now, then = hits / n, before / total
    (low, high), (low_then, high_then) = wilson(hits, n), wilson(before, total)
    gap = now - then
    return (
        gap - sqrt((now - low) ** 2 + (high_then - then) ** 2),
        gap + sqrt((high - now) ** 2 + (then - low_then) ** 2),
    )


def drift(right: Sequence[bool]) -> Signal | None:
    """Recent answers against all before, in order of time: a drop in how many are right or agreed with."""
    recent, before = right[-RECENT:], right[:-RECENT]
    if len(recent) < RECENT or len(before) < RECENT:
        return None
    low, high = difference(sum(recent), len(recent), sum(before), len(before))
    value = sum(recent) / len(recent) - sum(before) / len(before)
    return Signal(DRIFT, value, low, high, len(right), -DROP, high < -DROP)


def chose_left(answer: Mapping[str, Any] | None, order: Sequence[int]) -> bool | None:
    """Did a preference fall on the left answer? None where it fell on no side."""
    if answer is None or answer.get("choice") not in ("a", "b"):
        return None
    return "ab"[order[0]] == answer["choice"]
