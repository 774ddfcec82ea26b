"""The policy of fixed shares: so many per cent to people, to the judge, to both, drawn by a hash.

The draw depends on the policy's version (which holds the shares), the project and the item alone, so any decision can
be replayed. Pure functions, no database.
"""

import hashlib
from dataclasses import dataclass

NAME = "fixed_share"
HUMAN, JUDGE, BOTH = "human", "judge", "both"


@dataclass(frozen=True)
class Decision:
    """Who is asked about an item; `propensity` is the probability that this was decided."""

    decision: str
    reason: str
    propensity: float


@dataclass(frozen=True)
class FixedShare:
    """Shares in per cent; together with people's they are 100. Without a judge all goes to people."""

    judge: int
    both: int
    has_judge: bool

    @property
    def people(self) -> int:
        return 100 - self.judge - self.both

    @property
    def not_judge(self) -> int:
        """What goes to people, alone or together with the judge."""
        return 100 - self.judge

    @property
    def version(self) -> str:
        return f"1/people-{self.people}/judge-{self.judge}/both-{self.both}" if self.has_judge else "1/no-judge"

    def decide(self, project: str, item: str) -> Decision:
        """The decision for one item, by the project's slug and the item's external id."""
        if not self.has_judge:
            return Decision(HUMAN, "This project has no enabled judge, so everything goes to people.", 1.0)
        place = 100 * draw(self.version, project, item)
        shares = f"{self.people}% to people, {self.judge}% to the judge, {self.both}% to both"
        if place < self.both:
            return Decision(BOTH, f"Drawn to measure the judge against people ({shares}).", self.both / 100)
        if place < self.both + self.judge:
            return Decision(JUDGE, f"Drawn for the judge ({shares}).", self.judge / 100)
        return Decision(HUMAN, f"Drawn for people ({shares}).", self.people / 100)


def draw(version: str, project: str, item: str) -> float:
    """A number in [0, 1) from a hash of the policy's version, the project and the item."""
    digest = hashlib.sha256("\0".join((NAME, version, project, item)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
