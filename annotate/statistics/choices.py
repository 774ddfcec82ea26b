"""Chosen options of several people: one of several, or several of several.

One choice is a vote between the options, smoothed by one pseudo-vote each. With several choices allowed each option
is a vote of its own between in and out: (in + 1) / (n + 2), and it is in the consensus where more than half took it.
A shared first place keeps all that share it.
"""

from collections.abc import Mapping, Sequence


def single(votes: Sequence[str], options: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """The options with most votes (one, unless the first place is shared), and every option's smoothed share."""
    shares = {option: (votes.count(option) + 1) / (len(votes) + len(options)) for option in options}
    return leaders(shares), shares


def leaders(shares: Mapping[str, float]) -> list[str]:
    """The most probable options, in the order of the question."""
    best = max(shares.values(), default=0.0)
    return [option for option, share in shares.items() if best - share < 1e-9]


def several(votes: Sequence[Sequence[str]], options: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """The options that more than half of the people took, and for each the probability that it belongs."""
    taken = {option: sum(option in vote for vote in votes) for option in options}
    shares = {option: (count + 1) / (len(votes) + 2) for option, count in taken.items()}
    return [option for option in options if shares[option] > 0.5 + 1e-9], shares
