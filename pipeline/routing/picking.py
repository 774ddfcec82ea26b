"""Which of the best candidates are taken together, which are alike, and what tells most about one: over kept columns.

The label model's ranking adds what an answer would tell of the siblings of a pair, and takes one pair of each prompt
before a second (`policies.learned`). For information, a batch is chosen among the most informative so that it tells
most of all of them (`estimators.acquiring`), and a fifth of it is drawn evenly.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.models import Belief
from pipeline.routing.believing.fits import Fit
from pipeline.routing.believing.layouts import unpacked
from pipeline.routing.choosing import plans
from pipeline.routing.choosing.plans import Plan
from pipeline.routing.estimators import acquiring, counting
from pipeline.routing.evidence.columns import Features
from pipeline.routing.policies import counted, learned

TELLING = 3  # signals that a reason names
REMEMBERED = 500  # answered pairs that the gain by counts looks at
SPREAD = 5  # batches' worth of the most informative that a batch is chosen among
AT_RANDOM = 0.2  # of a batch for information, whatever the policy's exploration: the most informative alone mislead


def columns(beliefs: Sequence[Belief], fit: Fit) -> Features:
    return unpacked([bytes(each.columns) for each in beliefs], [each.kin for each in beliefs], fit.layout)


def picked(plan: Plan, among: Sequence[Belief], count: int, fit: Fit, seed: int) -> list[Belief]:
    """The batch from candidates that stand in the order of their scores."""
    if not among or count <= 0:
        return []
    if plan.ranking == plans.INFORMATION:
        best = among[: SPREAD * count]
        points = fit.model.scale.apply(columns(best, fit))[1]
        told = np.array([each.score for each in best])
        return [best[place] for place in acquiring.spread_out(points, told, count)]
    if plan.ranking == plans.GAIN:
        return by_counts(among, count, fit, np.random.default_rng(seed))
    score = np.array([each.score for each in among])
    data = columns(among, fit)
    if plan.ranking == plans.LEARNED:
        gain = np.array([each.gain for each in among])
        score = score + learned.told_of_siblings(fit.model, data, gain, np.ones(len(among), bool))
    free, rng = np.arange(len(among)), np.random.default_rng(seed)
    found = learned.next_picks(score, free, count, rng, explore=0.0, prompt=prompts(data))
    return [among[place] for place in found.items.tolist()]


def by_counts(among: Sequence[Belief], count: int, fit: Fit, rng: np.random.Generator) -> list[Belief]:
    """Greedily by the gain of their kinds, from what people said of the judges' labels so far."""
    answered = Belief.objects.filter(project=among[0].project_id, people__gt=0, layout=fit.layout.number)
    known = list(answered.exclude(judge_says=None).order_by("-item")[:REMEMBERED])
    if not known:
        return list(among[:count])
    everything = [*known, *among]
    doubt = np.array([each.doubt for each in everything])
    rows = counted.kinds(np.column_stack([columns(everything, fit).symmetric, doubt]))
    right = np.array([each.votes[each.judge_says or 0] / max(sum(each.votes), 1) for each in known])
    gain = counted.gain_of(rows[: len(known)], right, rng)
    scale = counted.REFERENCE / len(everything)
    taken = counting.greedy(gain, rows[len(known) :] * scale, rows[: len(known)].sum(axis=0) * scale, count)
    rest = [place for place in range(len(among)) if place not in set(taken)]
    return [among[place] for place in [*taken, *rest][:count]]


def prompts(data: Features) -> Any:
    """A number for each prompt; pairs that share nothing have prompts of their own."""
    alone = -1 - np.arange(data.size)
    return np.where(data.shared > 0, data.prompt, alone)


def signals(belief: Belief, fit: Fit) -> list[dict[str, Any]]:
    """The columns that move this pair's belief most: name, value, and which side they speak for."""
    data = columns([belief], fit)
    x, z = fit.model.scale.apply(data)
    weights = fit.model.weights
    split = len(weights) - z.shape[1]
    moved = [
        (float(push), name, float(raw), "the first answer" if push > 0 else "the second answer")
        for push, name, raw in zip(
            (z[0] * weights[split:]).tolist(), data.antisymmetric_names, data.antisymmetric[0], strict=True
        )
    ]
    if split:
        moved += [
            (float(push), name, float(raw), "a tie" if push > 0 else "no tie")
            for push, name, raw in zip(
                (x[0, 1:] * weights[1:split]).tolist(), data.symmetric_names, data.symmetric[0], strict=True
            )
        ]
    best = sorted(moved, key=lambda each: -abs(each[0]))[:TELLING]
    best = [each for each in best if abs(each[0]) > 0.01]
    return [{"name": in_words(name, fit), "value": round(raw, 3), "for": side} for _, name, raw, side in best]


def in_words(column: str, fit: Fit) -> str:
    """A column's name with its judge's, where it has only the judge's number."""
    words, _, number = column.rpartition(" ")
    return f"{words} of {fit.layout.judges[int(number)][1]}" if number.isdigit() else column


def nearest(belief: Belief, among: Iterable[Belief], fit: Fit) -> Belief | None:
    """The candidate whose columns lie nearest to this pair's or its mirror's; one of its own prompt before others."""
    found = [each for each in among if each.layout == belief.layout == fit.layout.number]
    if not found:
        return None
    rows = [belief, *found]
    data = columns(rows, fit)
    x, z = fit.model.scale.apply(data)
    apart = np.linalg.norm(x[1:] - x[0], axis=1) + np.minimum(
        np.linalg.norm(z[1:] - z[0], axis=1), np.linalg.norm(z[1:] + z[0], axis=1)
    )
    apart = np.where(data.prompt[1:] == data.prompt[0], -1.0, apart)
    return found[int(np.argmin(apart))]
