"""What follows for each item: the sole writer of Belief, and of the Priors of source `ROUTER`.

A Prior is the fused posterior without people's answers. Under a policy that ranks, it stands in the place of the
judges' votes where no person answered (`annotate.deciding`). It is written once LEAST pairs have taught the fit, and
renewed where it moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import transaction
from django.utils import timezone

from annotate import slots
from annotate.aggregation import label_items
from annotate.deciding import ROUTER
from annotate.models import Item, Prior, Project, Question
from annotate.statistics.votes import Floats
from pipeline.models import Belief
from pipeline.routing import triage
from pipeline.routing.believing.fits import Believed, Fit, believe, probably_wrong
from pipeline.routing.believing.gathering import Gathered, gathered, people_on
from pipeline.routing.believing.layouts import Layout, columns_of, packed, unpacked
from pipeline.routing.choosing import plans
from pipeline.routing.choosing.buying import CLOSABLE
from pipeline.routing.choosing.plans import Plan
from pipeline.routing.estimators.acquiring import bald
from pipeline.routing.estimators.value import NUDGE
from pipeline.routing.evidence.columns import Features
from pipeline.routing.evidence.votes import panel
from pipeline.routing.policies import judged

LEAST = 20  # answered pairs before labels follow the fit
MOVED = 0.005  # a Prior that moves less stays as it is
FOLLOWS = ["fit", "votes", "people", "tie", "first", "second", "wrong", "gain", "score",
           "asked", "enough", "disagree", "contradicts"]  # fmt: skip
KNOWN = ["layout", "columns", "kin", "judge_says", "doubt", "triage", "signs"]


# --- What is known --------------------------------------------------------------------------------------------


def read(project: Project, question: Question, hashes: Sequence[str], layout: Layout) -> list[Belief]:
    """Columns of the pairs of these prompts that somebody has answered, from their texts and votes; nothing kept."""
    found = gathered(project, question, hashes, layout.judges)
    if not found.items:
        return []
    data = columns_of(found, layout)
    rows = packed(data)
    said = panel(found.pool)
    heard = np.any((said.asked > 0) & (said.silent < 1), axis=1)
    says, doubt = judged.labels(found.pool, said), judged.uncertainty(found.pool, said)
    warnings = warned(found, data)
    answered = np.logical_or(heard, found.pool.human_votes.sum(axis=1) > 0)
    return [
        Belief(
            item_id=found.items[row],
            project=project,
            layout=layout.number,
            columns=rows[row],
            kin=int(data.prompt[row]),
            judge_says=int(says[row]) if heard[row] else None,
            doubt=float(doubt[row]),
            triage=sum(warnings[row].values()),
            signs=list(warnings[row]),
            votes=found.pool.human_votes[row].tolist(),
            people=int(found.pool.human_votes[row].sum()),
        )
        for row in np.flatnonzero(answered).tolist()
    ]


def warned(found: Gathered, data: Features) -> list[dict[str, float]]:
    """The warning signs of each pair in words, with points: of a wrong judge, and of trouble in what was said."""
    of_judges = judged.rule_parts(found.pool, data)
    warnings = []
    for row, talk in enumerate(found.talks):
        own = {name: float(points[row]) for name, points in of_judges.items() if points[row] > 0}
        warnings.append(own | {name: triage.POINTS[name] for name in triage.signs(*talk)})
    return warnings


# --- What follows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Who is asked about an item, how many places are open, and what the router did last on what people said.

    `handled` is how many people had answered then; `asked` the part of the policy that asked people, not answered yet.
    """

    route: str
    open: int
    handled: int = 0
    asked: str = ""


def standings(items: Sequence[int]) -> dict[int, Standing]:
    """Item → how it stands."""
    found = {}
    for batch in slots.batches(items):
        kept = {row[0]: row[1:] for row in Belief.objects.filter(item__in=batch).values_list(*DONE)}
        for pk, route, places in Item.objects.filter(pk__in=batch).values_list("pk", "route", "slots_open"):
            found[pk] = Standing(route, places, *kept.get(pk, ()))
    return found


DONE = ("item_id", "handled", "asked")


def settle(project: Project, question: Question, beliefs: Sequence[Belief], fit: Fit, plan: Plan) -> list[int]:
    """Bring these beliefs up to the fit and to what people say, and their items' Priors and labels after them.

    Returns the items whose labels were made anew. `beliefs` may be new; columns of known ones are kept as they are.
    """
    items = [belief.item_id for belief in beliefs]
    if not items:
        return []
    said, stand = people_on(items, question), standings(items)
    votes = np.array([said.get(item, (0.0, 0.0, 0.0)) for item in items])
    data = unpacked([bytes(belief.columns) for belief in beliefs], [belief.kin for belief in beliefs], fit.layout)
    found = believe(fit, np.array(items), data, votes)
    scores = scored(beliefs, data, found, fit, plan)
    for row, belief in enumerate(beliefs):
        follow(belief, row, found, votes[row], fit)
        stands(belief, stand[belief.item_id], votes[row], float(scores[row]), plan)
    with transaction.atomic():
        keep(beliefs)
        changed = write_priors(question, beliefs, found.prior, fit) if plan.ranks and fit.labels >= LEAST else []
    label_items(changed)
    return changed


def scored(beliefs: Sequence[Belief], data: Features, found: Believed, fit: Fit, plan: Plan) -> Floats:
    """What the policy's ranking says of each pair, from 0: (n,)."""
    match plan.ranking:
        case plans.UNCERTAINTY | plans.GAIN:
            return np.maximum(np.array([belief.doubt for belief in beliefs]), 0) + NUDGE
        case plans.ERRORS if fit.errors is not None:
            says = np.array([-1 if belief.judge_says is None else belief.judge_says for belief in beliefs])
            return probably_wrong(fit.errors, data, says)
        case plans.TRIAGE | plans.ERRORS:
            return np.array([belief.triage for belief in beliefs]) + NUDGE
        case plans.INFORMATION:
            return np.maximum(bald(found.moments.direction, found.moments.direction_variance), 0) + NUDGE * NUDGE
    return found.gain + NUDGE * (1 - found.posterior.max(axis=1))


def follow(belief: Belief, row: int, found: Believed, votes: Floats, fit: Fit) -> None:
    """Set what follows for one pair."""
    belief.fit = fit.number
    belief.votes, belief.people = votes.tolist(), int(votes.sum())
    belief.tie, belief.first, belief.second = (float(share) for share in found.posterior[row])
    belief.wrong = None if belief.judge_says is None else float(1 - found.prior[row, belief.judge_says])
    belief.gain = float(found.gain[row])


def stands(belief: Belief, stand: Standing, votes: Floats, score: float, plan: Plan) -> None:
    """Set what the router may do next about one pair."""
    waits_for_ranking = stand.route in (Item.UNROUTED, Item.JUDGE) and belief.judge_says is not None
    belief.score = score if waits_for_ranking and not belief.people else 0.0
    belief.handled = stand.handled
    belief.asked = stand.asked if stand.route == Item.BOTH and not belief.people else ""
    sure = max(belief.tie, belief.first, belief.second) >= plan.sure
    belief.enough = bool(sure and stand.open and (belief.people or belief.asked in CLOSABLE))
    leading, fresh = votes == votes.max(), belief.people > stand.handled
    belief.disagree = bool(fresh and belief.people > 1 and leading.sum() > 1)
    against = belief.judge_says is not None and belief.people > 0 and not leading[belief.judge_says]
    belief.contradicts = bool(fresh and against and leading.sum() == 1)


def keep(beliefs: Sequence[Belief]) -> None:
    """Write beliefs; `handled` is left as it is."""
    now = timezone.now()
    for belief in beliefs:
        belief.updated_at = now
    Belief.objects.bulk_create(
        beliefs,
        batch_size=200,
        update_conflicts=True,
        unique_fields=["item"],
        update_fields=[*KNOWN, *FOLLOWS, "updated_at"],
    )


def write_priors(question: Question, beliefs: Sequence[Belief], prior: Floats, fit: Fit) -> list[int]:
    """Write or renew the Priors of judged items; returns the items where they moved."""
    wanted = {
        belief.item_id: shares_of(prior[row]) for row, belief in enumerate(beliefs) if belief.judge_says is not None
    }
    there: dict[int, Mapping[str, float]] = {}
    for batch in slots.batches(list(wanted)):
        kept = Prior.objects.filter(item__in=batch, question=question, source=ROUTER)
        there.update(kept.values_list("item_id", "probabilities"))
    moved = [item for item, shares in wanted.items() if item not in there or differs(there[item], shares)]
    Prior.objects.bulk_create(
        (
            Prior(
                item_id=item, question=question, source=ROUTER, probabilities=wanted[item], version=f"fit {fit.number}"
            )
            for item in moved
        ),
        batch_size=200,
        update_conflicts=True,
        unique_fields=["item", "question", "source"],
        update_fields=["probabilities", "version"],
    )
    return moved


def withdraw(project: Project, most: int) -> int:
    """Take away up to `most` of the project's Priors, so that its labels stand on votes again; returns how many."""
    kept = Prior.objects.filter(item__project=project, source=ROUTER).values_list("pk", "item_id")[:most]
    rows = list(kept)
    Prior.objects.filter(pk__in=[pk for pk, _ in rows]).delete()
    label_items([item for _, item in rows])
    return len(rows)


def shares_of(probability: Floats) -> dict[str, float]:
    """What the label model says in the words of answers; both bad counts as a tie."""
    tie, first, second = (float(share) for share in probability)
    return {"a": first, "b": second, "tie": tie}


def differs(kept: Mapping[str, float], shares: Mapping[str, float]) -> bool:
    return any(abs(kept.get(option, 0.0) - share) > MOVED for option, share in shares.items())
