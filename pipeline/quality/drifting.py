"""Is the judge still what it was? A test that may be looked at after every audit, with its false alarms bounded.

Audits in the order in which they came are, while nothing changes, as good as shuffled. Each gets a conformal p-value:
the share of the audits so far on which the judge was worse than on this one, ties cut by a fixed draw. While nothing
changes these are independent and uniform on (0, 1), whatever the judge's error rate is. A bettor stakes on bad audits,

    M ← M · f(p),   f(p) = h/c for p < c, (1 − h)/(1 − c) for the rest,

where c is the share of bad audits so far; f integrates to 1, so M grows by luck only, and by Ville's inequality
reaches 1/α with probability at most α, ever: however often it is looked at. (Vovk, Nouretdinov and Gammerman,
"Testing exchangeability on-line", 2003; Vovk, "Testing randomness online", 2021.) Several bets h are mixed, and a
small part moves between them at each step so that a change which comes late is still found. Pure: no database.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import xlogy

from annotate.statistics.votes import Floats

ALPHA = 0.05  # at most one evaluator in twenty is ever called changed when it is not
BETS = (0.0, 0.1, 0.25, 0.5)  # how much more of the stake than the fair share c goes on a bad audit; 0: no bet
MOVE = 0.01  # share of the money that moves between bets at each step
WARM_UP = 20  # audits that only tell what is usual


def draw_of(key: str) -> float:
    """A fixed number in [0, 1) for an audit, so that the test says the same when it is run again."""
    return int.from_bytes(hashlib.sha256(f"drift\0{key}".encode()).digest()[:8], "big") / 2**64


def watch(errors: Sequence[float], draws: Sequence[float], alpha: float = ALPHA) -> dict[str, Any]:
    """What the test says of errors (0 right, ½ half, 1 wrong) in order: {"wealth", "limit", "alarm", "before", …}.

    `alarm` is the place of the first audit at which the limit was reached, None if it never was; `change` is where it
    most likely became worse then, `before` and `since` are the mean errors up to there and from there on.
    """
    said = np.asarray(errors, dtype=np.float64)
    wealth, highest, alarm = 1.0, 1.0, None
    money = [1 / len(BETS)] * len(BETS)
    for place, factors in enumerate(factors_of(said, np.asarray(draws))[WARM_UP:].tolist(), start=WARM_UP):
        won = [part * factor for part, factor in zip(money, factors, strict=True)]
        wealth = sum(won)
        money = [(1 - MOVE) * part + MOVE * wealth / len(BETS) for part in won]
        highest = max(highest, wealth)
        if alarm is None and wealth >= 1 / alpha:
            alarm = place
    change = change_point(errors) if alarm is not None else None
    return {
        "n": len(errors),
        "wealth": wealth,
        "highest": highest,
        "limit": 1 / alpha,
        "alpha": alpha,
        "alarm": alarm,
        "change": change,
        "before": mean(errors[:change]),
        "since": mean(errors[change:]) if change is not None else None,
    }


def factors_of(errors: Floats, draws: Floats) -> Floats:
    """What each audit multiplies each bet's money by: (audits, bets)."""
    p, seen = p_values(errors, draws), np.arange(len(errors))
    usual = np.clip((np.cumsum(errors) - errors) / np.maximum(seen, 1), 0.02, 0.5)[:, None]
    stakes = usual + np.asarray(BETS) * (1 - usual)
    return np.where(p[:, None] < usual, stakes / usual, (1 - stakes) / (1 - usual))


def p_values(errors: Floats, draws: Floats) -> Floats:
    """The share of the audits up to each on which the judge was worse than on it, ties cut by the draws: (audits,)."""
    levels, place = np.unique(errors, return_inverse=True)
    counts = np.cumsum(place[:, None] == np.arange(len(levels)), axis=0)
    here = np.arange(len(errors))
    same = counts[here, place]
    worse = counts.sum(axis=1) - np.cumsum(counts, axis=1)[here, place]
    return (worse + draws * same) / (here + 1)


def change_point(errors: Sequence[float]) -> int:
    """Where errors most likely became more frequent: the place at which two rates are likeliest (Page 1955)."""
    wrong = np.concatenate([[0.0], np.cumsum(errors)])
    places = np.arange(1.0, len(errors))
    before, after = wrong[1:-1], wrong[-1] - wrong[1:-1]
    likelihood = log_likelihood(before, places) + log_likelihood(after, len(errors) - places)
    worse = after / (len(errors) - places) > before / places
    return int(places[np.argmax(np.where(worse, likelihood, -np.inf))])


def log_likelihood(wrong: Floats, n: Floats) -> Floats:
    """Of so many errors in n, at their own rate."""
    return xlogy(wrong, wrong / n) + xlogy(n - wrong, 1 - wrong / n)


def mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
