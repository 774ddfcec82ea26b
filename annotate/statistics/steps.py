"""Labels per step of a response: what most say of each step, and where the first error is.

Each step is a vote between good, neutral and bad, smoothed by one pseudo-vote each (Laplace); a shared first place
is None. The first error is counted from whole readings, not from steps taken as independent: a person who marks step
3 as the first bad one says one thing. Process labels as in Lightman et al., "Let's verify step by step" (2023).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

GOOD, NEUTRAL, BAD = "good", "neutral", "bad"
MARKS = (GOOD, NEUTRAL, BAD)
Reading = Sequence[str | None]


@dataclass(frozen=True)
class Steps:
    """`marks` per step, None where split or silent; `probabilities` per step; `first_error` per step, last: none."""

    marks: list[str | None]
    probabilities: list[dict[str, float]]
    first_error: list[float]


def smoothed_marks(votes: Sequence[str]) -> dict[str, float]:
    """Mark → (votes for it + 1) / (votes + 3)."""
    counts = Counter(votes)
    return {mark: (counts[mark] + 1) / (len(votes) + len(MARKS)) for mark in MARKS}


def leading_mark(votes: Sequence[str]) -> str | None:
    """The mark with most votes; None for none, and where the first place is shared."""
    ranked = Counter(votes).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def first_bad(reading: Reading) -> int:
    """The place of the first bad step; the number of steps where there is none."""
    return next((place for place, mark in enumerate(reading) if mark == BAD), len(reading))


def consensus(readings: Sequence[Reading]) -> Steps:
    """What several readings of the same steps add up to. Raises ValueError where they count steps differently."""
    votes = [[mark for mark in column if mark is not None] for column in zip(*readings, strict=True)]
    firsts = Counter(first_bad(reading) for reading in readings if any(mark is not None for mark in reading))
    outcomes = len(votes) + 1
    return Steps(
        [leading_mark(column) for column in votes],
        [smoothed_marks(column) for column in votes],
        [(firsts[place] + 1) / (firsts.total() + outcomes) for place in range(outcomes)],
    )
