"""What follows for each item: the sole writer of Belief, and of the Priors of source `ROUTER`.

A Prior is the fused posterior without people's answers. Under a policy that ranks, it stands in the place of the
judges' votes where no person answered (`annotate.deciding`). It is written once LEAST pairs have taught the fit, and
renewed where it moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
from pipeline.routing.believing import many_rows
from pipeline.routing.believing.fits import Believed, Fit, believe, probably_wrong
from pipeline.routing.believing.gathering import Gathered, gathered
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
PRIOR = ["probabilities", "version"]
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
    answered = np.flatnonzero(np.logical_or(heard, found.pool.human_votes.sum(axis=1) > 0)).tolist()
    before = done_on([found.items[row] for row in answered])
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
            **before.get(found.items[row], {}),
        )
        for row in answered
    ]


def done_on(items: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Item → what the router did last about it: how many people had answered then, and what of it asked people."""
    found = {}
    for batch in slots.batches(items):
        for item, handled, asked in Belief.objects.filter(item__in=batch).values_list("item", "handled", "asked"):
            found[item] = {"handled": handled, "asked": asked}
    return found


def warned(found: Gathered, data: Features) -> list[dict[str, float]]:
    """The warning signs of each pair in words, with points: of a wrong judge, and of trouble in what was said."""
    of_judges = judged.rule_parts(found.pool, data)
    warnings = []
    for row, talk in enumerate(found.talks):
        own = {name: float(points[row]) for name, points in of_judges.items() if points[row] > 0}
        warnings.append(own | {name: triage.POINTS[name] for name in triage.signs(*talk)})
    return warnings


# --- What follows ---------------------------------------------------------------------------------------------


def standings(items: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Item → who is asked about it, and how many places are open."""
    found = {}
    for batch in slots.batches(items):
        rows = Item.objects.filter(pk__in=batch).values_list("pk", "route", "slots_open")
        found.update({pk: (route, places) for pk, route, places in rows})
    return found


def settle(project: Project, question: Question, beliefs: Sequence[Belief], fit: Fit, plan: Plan) -> list[int]:
    """Bring these beliefs up to the fit, and their items' Priors and labels after them, by the votes that they hold.

    Returns the items whose labels were made anew. `beliefs` may be new; columns of known ones are kept as they are.
    """
    items = [belief.item_id for belief in beliefs]
    if not items:
        return []
    stand = standings(items)
    votes = np.array([belief.votes for belief in beliefs], dtype=float)
    data = unpacked([bytes(belief.columns) for belief in beliefs], [belief.kin for belief in beliefs], fit.layout)
    found = believe(fit, np.array(items), data, votes)
    scores = scored(beliefs, data, found, fit, plan)
    for row, belief in enumerate(beliefs):
        follow(belief, row, found, votes[row], fit)
        stands(belief, *stand[belief.item_id], votes[row], float(scores[row]), plan)
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


def stands(belief: Belief, route: str, places: int, votes: Floats, score: float, plan: Plan) -> None:
    """Set what the router may do next about one pair whose item has this route and so many open places."""
    waits_for_ranking = route in (Item.UNROUTED, Item.JUDGE) and belief.judge_says is not None
    belief.score = score if waits_for_ranking and not belief.people else 0.0
    belief.asked = belief.asked if route == Item.BOTH and not belief.people else ""
    sure = max(belief.tie, belief.first, belief.second) >= plan.sure
    belief.enough = bool(sure and places and (belief.people or belief.asked in CLOSABLE))
    leading, fresh = votes == votes.max(), belief.people > belief.handled
    belief.disagree = bool(fresh and belief.people > 1 and leading.sum() > 1)
    against = belief.judge_says is not None and belief.people > 0 and not leading[belief.judge_says]
    belief.contradicts = bool(fresh and against and leading.sum() == 1)


def keep(beliefs: Sequence[Belief]) -> None:
    """Write beliefs; `handled` is left as it is, and of what stands in the table already the columns too."""
    now = timezone.now()
    for belief in beliefs:
        belief.updated_at = now
    new = [belief for belief in beliefs if belief._state.adding]
    known = [belief for belief in beliefs if not belief._state.adding]
    names = [*FOLLOWS, "updated_at"]
    many_rows.update(Belief, names, [[belief.pk, *(vars(belief)[name] for name in names)] for belief in known])
    Belief.objects.bulk_create(
        new, batch_size=200, update_conflicts=True, unique_fields=["item"], update_fields=[*KNOWN, *names]
    )


def write_priors(question: Question, beliefs: Sequence[Belief], prior: Floats, fit: Fit) -> list[int]:
    """Write or renew the Priors of judged items; returns the items where they moved."""
    wanted = {
        belief.item_id: shares_of(prior[row]) for row, belief in enumerate(beliefs) if belief.judge_says is not None
    }
    there: dict[int, tuple[int, Mapping[str, float]]] = {}
    for batch in slots.batches(list(wanted)):
        kept = Prior.objects.filter(item__in=batch, question=question, source=ROUTER)
        there.update({item: (pk, shares) for item, pk, shares in kept.values_list("item_id", "pk", "probabilities")})
    moved = [item for item in wanted if item in there and differs(there[item][1], wanted[item])]
    version = f"fit {fit.number}"
    many_rows.update(Prior, PRIOR, [(there[item][0], wanted[item], version) for item in moved])
    new = [item for item in wanted if item not in there]
    Prior.objects.bulk_create(
        (Prior(item_id=pk, question=question, source=ROUTER, probabilities=wanted[pk], version=version) for pk in new),
        batch_size=200,
        update_conflicts=True,
        unique_fields=["item", "question", "source"],
        update_fields=PRIOR,
    )
    return [*moved, *new]


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
