"""Pairs of responses as columns in memory: what every policy reads, wherever the pairs came from.

Verdicts are in stored order: 0 tie, 1 the first response, 2 the second, 3 silent (unsure or unparsable, which is never
a tie). Nothing here knows a file or a table; `reading.py` fills it from a file.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.votes import Floats, Integers

TIE, FIRST, SECOND, SILENT = 0, 1, 2, 3
CLASSES = 3  # tie, first, second
HUMAN, JUDGE = "human", "judge"


@dataclass(frozen=True)
class Rater:
    """Somebody who judges: a person, or one judge with one prompt."""

    name: str
    kind: str


@dataclass(frozen=True)
class Ballots:
    """One row for each vote, all of shape (votes,).

    `swapped` says that the second response was shown first. `strength` is in steps from the middle, `confidence`
    from 0 to 1; both are NaN where nobody said. `reason` and `reference` are empty where there is none.
    """

    item: Integers
    rater: Integers
    verdict: Integers
    swapped: Integers
    strength: Floats
    confidence: Floats
    reason: list[str]
    reference: list[str]

    def of(self, wanted: NDArray[np.integer | np.bool_]) -> "Ballots":
        """The votes at these places (indices or a mask)."""
        places = np.flatnonzero(wanted) if wanted.dtype == bool else wanted
        return Ballots(
            item=self.item[places],
            rater=self.rater[places],
            verdict=self.verdict[places],
            swapped=self.swapped[places],
            strength=self.strength[places],
            confidence=self.confidence[places],
            reason=[self.reason[place] for place in places],
            reference=[self.reference[place] for place in places],
        )

    @property
    def sign(self) -> Floats:
        """+1 for the first response, −1 for the second, 0 for a tie or silence."""
        return (self.verdict == FIRST).astype(float) - (self.verdict == SECOND)


@dataclass(frozen=True)
class Pool:
    """Pairs to be routed. `prompt` (n,) numbers the prompts; `models` (n, 2) the source models, −1 for unknown.

    A pool that is a part of a larger one is told what only the whole knows: the `panel`, its judges in order (indices
    of raters), and how sure each rater `usual`ly is.
    """

    keys: list[str]
    prompt: Integers
    prompts: list[str]
    first: list[str]
    second: list[str]
    models: Integers
    model_names: list[str]
    raters: list[Rater]
    ballots: Ballots
    tags: list[tuple[str, ...]] = field(default_factory=list)
    panel: Integers | None = None
    usual: Floats | None = None

    @property
    def size(self) -> int:
        return len(self.keys)

    @cached_property
    def judges(self) -> Integers:
        """The raters that are judges, those with the most votes first; equals stay in the file's order."""
        if self.panel is not None:
            return self.panel
        counts = np.bincount(self.ballots.rater, minlength=len(self.raters))
        found = [n for n, rater in enumerate(self.raters) if rater.kind == JUDGE and counts[n]]
        return np.array(sorted(found, key=lambda n: -counts[n]), dtype=np.int64)

    @cached_property
    def judged(self) -> Ballots:
        """The judges' votes."""
        return self.ballots.of(np.isin(self.ballots.rater, self.judges))

    @cached_property
    def people(self) -> Ballots:
        """People's votes that say something."""
        human = np.array([rater.kind == HUMAN for rater in self.raters], dtype=bool)
        said = human[self.ballots.rater] & (self.ballots.verdict != SILENT)
        return self.ballots.of(said)

    @cached_property
    def has_ties(self) -> bool:
        """Does anybody ever say that two responses are equal?"""
        return bool((self.ballots.verdict == TIE).any())

    @cached_property
    def human_votes(self) -> Floats:
        """How many people said each class: (n, 3)."""
        places = self.people.item * CLASSES + self.people.verdict
        return np.bincount(places, minlength=self.size * CLASSES).reshape(self.size, CLASSES).astype(float)

    def isolated(self) -> "Pool":
        """The same pairs, each as if no other pair had its prompt."""
        prompts = [self.prompts[number] for number in self.prompt]
        return replace(self, prompt=np.arange(self.size), prompts=prompts)
