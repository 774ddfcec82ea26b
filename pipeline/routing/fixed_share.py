"""Fixed shares: so many per cent to people, to the judge, to both, drawn by a hash.

The draw depends on the policy's version (which holds the shares), the project and the item alone, so any decision can
be replayed. Pure functions, no database.
"""

import hashlib
from dataclasses import dataclass

NAME = "fixed_share"
HUMAN, JUDGE, BOTH = "human", "judge", "both"


@dataclass(frozen=True)
class FixedShare:
    """Shares in per cent; together with people's they are 100."""

    judge: int
    both: int

    @property
    def people(self) -> int:
        return 100 - self.judge - self.both

    @property
    def not_judge(self) -> int:
        """What goes to people, alone or together with the judge."""
        return 100 - self.judge

    @property
    def version(self) -> str:
        return f"1/people-{self.people}/judge-{self.judge}/both-{self.both}"

    def parts(self) -> list[tuple[str, float, str]]:
        """Decision, probability and reason of each part of [0, 1), in order; those of nothing are left out."""
        shares = f"{self.people}% to people, {self.judge}% to the judge, {self.both}% to both"
        found = [
            (BOTH, self.both / 100, f"Drawn to measure the judge against people ({shares})."),
            (JUDGE, self.judge / 100, f"Drawn for the judge ({shares})."),
            (HUMAN, self.people / 100, f"Drawn for people ({shares})."),
        ]
        return [part for part in found if part[1] > 0]


def draw(version: str, project: str, item: str) -> float:
    """A number in [0, 1) from a hash of the policy's version, the project and the item."""
    digest = hashlib.sha256("\0".join((NAME, version, project, item)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
