"""What judges alone say: the label that they give, and how unsure they seem. No training, no labels.

The judge's label is what most of the panel's answers say, both orders counted; where the first place is shared, what
the first judge says (the one with the most votes). A judge that names one response in one order and the other in the
other says "tie" where ties are known in the data, and the response shown first in stored order where not.
"""

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence.columns import Features
from pipeline.routing.evidence.pool import CLASSES, FIRST, SECOND, SILENT, TIE, Pool
from pipeline.routing.evidence.votes import Panel, panel

OWN = "closer to reference"


def answers(pool: Pool) -> Floats:
    """How many of the judges' answers say each class: (n, 3)."""
    said = pool.judged.of(pool.judged.verdict != SILENT)
    places = said.item * CLASSES + said.verdict
    return np.bincount(places, minlength=pool.size * CLASSES).reshape(pool.size, CLASSES).astype(float)


def labels(pool: Pool, said: Panel | None = None) -> Integers:
    """The judges' label of each pair: (n,). Where no judge said anything, the first response."""
    said = said or panel(pool)
    counts = answers(pool)
    leading = (counts == counts.max(axis=1, keepdims=True)) & (counts.max(axis=1, keepdims=True) > 0)
    sole = leading.sum(axis=1) == 1
    return np.where(sole, leading.argmax(axis=1), first_judge(pool, said))


def first_judge(pool: Pool, said: Panel) -> Integers:
    """What the first judge that said something says of each pair."""
    found = np.full(pool.size, FIRST)
    undecided = TIE if pool.has_ties else FIRST
    for judge in reversed(range(said.judges)):
        heard = (said.asked[:, judge] > 0) & (said.silent[:, judge] < 1)
        vote = np.where(said.margin[:, judge] == 0, said.vote[:, judge], said.margin[:, judge])
        own = np.where(vote > 0, FIRST, np.where(vote < 0, SECOND, undecided))
        found = np.where(heard, own, found)
    return found


def uncertainty(pool: Pool, said: Panel | None = None) -> Floats:
    """How unsure the panel seems, from 0: (n,). Differing first, then order disagreement, ties, silence and margin."""
    said = said or panel(pool)
    counts = answers(pool)
    total = counts.sum(axis=1)
    differing = np.where(total > 0, 1 - counts.max(axis=1) / np.maximum(total, 1), 1.0)
    asked = np.maximum(said.asked.sum(axis=1), 1)
    unclear = (said.split + said.tied + said.silent).sum(axis=1) / asked
    margin = np.abs(said.margin.sum(axis=1)) / asked
    return differing + 0.5 * unclear - 0.01 * margin


def rule_score(pool: Pool, data: Features) -> Floats:
    """The training-free score: the sum of `rule_parts`. (n,)"""
    return np.sum(list(rule_parts(pool, data).values()), axis=0)


def rule_parts(pool: Pool, data: Features) -> dict[str, Floats]:
    """The warning signs of a wrong judge in words, each with its points (n,): [judges differ] + [tie or unread] + [not
    backed by its own reference] + [against the siblings] + ½ [near copies] + ½ [hedging reason]. What the data do not
    have is left out.
    """
    said = panel(pool)
    label = labels(pool, said)
    sign = (label == FIRST).astype(float) - (label == SECOND)
    counts = answers(pool)
    signed = dict(zip(data.antisymmetric_names, data.antisymmetric.T, strict=True))
    both = dict(zip(data.symmetric_names, data.symmetric.T, strict=True))
    found = {
        "judges differ": ((counts > 0).sum(axis=1) > 1) * 1.0,
        "the judge says tie, or nothing readable": ((label == TIE) | (said.silent.max(axis=1, initial=0) > 0)) * 1.0,
    }
    judge = next((name[len(OWN) :] for name in signed if name.startswith(OWN)), None)
    if judge is not None:
        has_own = np.isfinite(both[f"reference gap{judge}"])  # who wrote no answer of its own contradicts none
        found["not backed by the judge's own answer"] = (has_own & (sign * signed[OWN + judge] < 0.1)) * 1.0
    if "siblings' margin" in signed:
        found["against what is said of its sibling pairs"] = (sign * signed["siblings' margin"] < -0.3) * 1.0
    found["the responses are near copies"] = 0.5 * (both["words shared"] > 0.9)
    hedged = next((column for name, column in both.items() if name.startswith("hedging")), None)
    if hedged is not None:
        found["the judge's reason hedges"] = 0.5 * np.nan_to_num(hedged)
    return found
