"""What each judge said of each pair, as columns: votes, order disagreement, margins, reasons, reference answers."""

import re
from dataclasses import dataclass

import numpy as np

from annotate.statistics.votes import Floats
from pipeline.routing.evidence.pool import FIRST, SECOND, SILENT, TIE, Ballots, Pool
from pipeline.routing.evidence.text import cut, rouge

HEDGES = re.compile(
    r"\b(both|however|although|though|while|slightly|similar|equally|somewhat|marginal(?:ly)?|minor|neither)\b", re.I
)


@dataclass(frozen=True)
class Panel:
    """Judges' votes by pair, each of shape (n, judges).

    `vote` is the mean over the orders in which a judge was asked, from −1 (second) to 1 (first); `margin` the same
    weighted by confidence or strength where the judge gave them, else the vote. `asked` is 0 where it was not asked.
    `split` says that it did not name the same response in both orders, `tied` and `silent` are the shares of its
    answers that were a tie or could not be read.
    """

    vote: Floats
    margin: Floats
    asked: Floats
    split: Floats
    tied: Floats
    silent: Floats

    @property
    def judges(self) -> int:
        return self.vote.shape[1]


def panel(pool: Pool) -> Panel:
    """The judges' votes of a pool, judges in its order."""
    ballots, shape = pool.judged, (pool.size, len(pool.judges))
    column = np.full(len(pool.raters), -1)
    column[pool.judges] = np.arange(len(pool.judges))
    places = ballots.item * max(shape[1], 1) + column[ballots.rater]

    def summed(values: Floats) -> Floats:
        return np.bincount(places, values, shape[0] * shape[1]).reshape(shape).astype(float)

    usual = surety(ballots, len(pool.raters)) if pool.usual is None else pool.usual
    asked = summed(np.ones(len(places)))
    count = np.maximum(asked, 1)
    said_first, said_second = summed(ballots.verdict == FIRST), summed(ballots.verdict == SECOND)
    tied = summed(ballots.verdict == TIE) / count
    silent = summed(ballots.verdict == SILENT) / count
    same = (said_first == asked) | (said_second == asked) | (tied == 1)
    return Panel(
        vote=(said_first - said_second) / count,
        margin=summed(ballots.sign * weights(ballots, usual)) / count,
        asked=(asked > 0).astype(float),
        split=((asked > 1) & ~same).astype(float),
        tied=tied,
        silent=silent,
    )


def surety(ballots: Ballots, raters: int) -> Floats:
    """How sure each rater is on average, in its own measure; 1 where nobody said: (raters,)."""
    given = np.where(np.isfinite(ballots.confidence), ballots.confidence, ballots.strength)
    known = np.isfinite(given)
    sums = np.bincount(ballots.rater[known], given[known], raters)
    means = sums / np.maximum(np.bincount(ballots.rater[known], minlength=raters), 1)
    return np.where(means > 0, means, 1.0)


def weights(ballots: Ballots, usual: Floats) -> Floats:
    """How sure each vote is, against its rater's usual (raters,): its confidence, else its strength, else 1."""
    given = np.where(np.isfinite(ballots.confidence), ballots.confidence, ballots.strength)
    known = np.isfinite(given)
    return np.where(known, np.where(known, given, 0.0) / usual[ballots.rater], 1.0)


def reasons(pool: Pool) -> dict[int, Floats]:
    """Of each judge that gives reasons, by its place in the panel: their length and whether they hedge, (n, 2).

    NaN where it gave none.
    """
    found = {}
    for place, judge in enumerate(pool.judges):
        ballots = pool.judged.of(pool.judged.rater == judge)
        if any(ballots.reason):
            given = ballots.of(np.array([bool(text) for text in ballots.reason]))
            length, hedged = np.full(pool.size, np.nan), np.full(pool.size, np.nan)
            np.fmax.at(length, given.item, [np.log1p(cut(text).count) for text in given.reason])
            np.fmax.at(hedged, given.item, [float(bool(HEDGES.search(text))) for text in given.reason])
            found[place] = np.column_stack([length, hedged])
    return found


def references(pool: Pool) -> dict[int, Floats]:
    """Of each judge that writes its own answer, by its place: its ROUGE-1 with both responses, (n, 2); else NaN."""
    found = {}
    for place, judge in enumerate(pool.judges):
        ballots = pool.judged.of(pool.judged.rater == judge)
        if any(ballots.reference):
            overlap = np.full((pool.size, 2), np.nan)
            for item, text in zip(ballots.item, ballots.reference, strict=True):
                if text:
                    own = cut(text)
                    overlap[item] = rouge(own, cut(pool.first[item])), rouge(own, cut(pool.second[item]))
            found[place] = overlap
    return found
