"""The label model fitted to the project's own answers, in versions: the sole writer of LabelFit.

Fitted on the newest pairs that people answered, from the numbers kept beside them; without any, the judges' word
stands for something at first (`label_model.Priors`). Pairs that it was fitted on are believed without their own
answers (the cavity), both where the router sorts and where its quality is told.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
from django.db import transaction

from annotate import slots
from annotate.models import Project, Question
from annotate.statistics.votes import Floats, Integers
from pipeline.models import Belief, LabelFit, Route
from pipeline.routing.believing.gathering import people_on
from pipeline.routing.believing.layouts import Layout, layout_from, unpacked
from pipeline.routing.estimators import judge_errors, label_model, value
from pipeline.routing.estimators.judge_errors import JudgeErrors
from pipeline.routing.estimators.label_model import LabelModel, Priors, Scale
from pipeline.routing.evidence.columns import Features
from pipeline.routing.evidence.pool import FIRST, SECOND
from pipeline.routing.policies import learned

MOST = 5000  # pairs that a fit looks at, the newest: 50 to 500 already say most (docs/reference/routing.md)
OTHERS = 2000  # pairs without an answer that say how columns are spread
EVERY, GROWTH = 10, 0.1  # new answered pairs before a fit is made anew: a tenth more, and so many at least


@dataclass(frozen=True)
class Fit:
    """A fit as it is used: `items` are those it was fitted on, sorted; `errors` says where the judge is wrong."""

    number: int
    layout: Layout
    model: LabelModel
    accuracy: float
    labels: int
    items: Integers
    errors: JudgeErrors | None


def newest(question: Question) -> LabelFit | None:
    """The newest fit of a question, without its arrays."""
    return LabelFit.objects.filter(question=question).defer("parameters").first()


def answered(project: Project) -> int:
    """How many judged pairs people have answered."""
    return Belief.objects.filter(project=project, people__gt=0).exclude(judge_says=None).count()


def due(project: Project, kept: LabelFit | None, layout: Layout, seed: int) -> bool:
    """Is there something to fit to and no fit for this layout, or enough new since the last; the `seed` is enough."""
    known = Belief.objects.filter(project=project, layout=layout.number)
    if kept is None or kept.layout["number"] != layout.number:
        return known.exists()
    there = known.filter(people__gt=0).count()
    new, is_seeded = there - kept.labels, kept.labels < seed <= there
    looked_at = kept.fitted_on["looked_at"]
    seen_little = looked_at < OTHERS and known[: 2 * looked_at].count() == 2 * looked_at
    return seen_little or is_seeded or new >= max(EVERY, GROWTH * kept.labels)


@transaction.atomic
def fit(project: Project, question: Question, layout: Layout) -> LabelFit:
    """Fit to what people have said by now, and keep it as the next version."""
    found = Belief.objects.filter(project=project, layout=layout.number)
    answered = list(found.filter(people__gt=0).order_by("-item").values_list(*ROW)[:MOST])
    others = list(found.filter(people=0).order_by("-item").values_list(*ROW)[:OTHERS])
    said = people_on([row[0] for row in answered], question)
    answered = [row for row in answered if row[0] in said]
    data, items = of_rows([*answered, *others], layout), np.array([row[0] for row in answered], dtype=np.int64)
    votes = np.array([said[item] for item in items.tolist()]).reshape(-1, 3)
    ties = bool(votes[:, 0].any()) or bool(found.filter(judge_says=0).exists())
    everybody = np.vstack([votes, np.zeros((len(others), 3))])
    belief = learned.believe(data, everybody, ties=ties)
    says = np.array([-1 if row[3] is None else row[3] for row in answered], dtype=np.int64)
    errors = errors_of(items, data.rows(np.arange(len(items))), votes, says)
    before = newest(question)
    return LabelFit.objects.create(
        project=project,
        question=question,
        number=before.number + 1 if before else 1,
        layout=layout.as_json(),
        parameters=as_bytes(belief.model, items, errors),
        accuracy=belief.accuracy,
        labels=len(items),
        fitted_on={
            "items": len(items),
            "looked_at": data.size,
            "answers": float(votes.sum()),
            "newest_item": int(items.max(initial=0)),
            "sha256": hashlib.sha256(json.dumps([items.tolist(), votes.tolist()]).encode()).hexdigest(),
        },
        report=quality(belief.prior[: len(items)], votes),
    )


ROW = ("item", "columns", "kin", "judge_says")


def of_rows(rows: Sequence[tuple[int, Any, int, int | None]], layout: Layout) -> Any:
    return unpacked([bytes(row[1]) for row in rows], [row[2] for row in rows], layout)


def quality(believed: Floats, votes: Floats) -> Mapping[str, Any]:
    """How often the model says what people say of a pair, without their answers to it, and how sure it is then."""
    if not len(votes):
        return {"n": 0}
    shares = votes / votes.sum(axis=1, keepdims=True)
    chosen = believed.argmax(axis=1)
    right = shares[np.arange(len(votes)), chosen]
    sure = believed.max(axis=1)
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs(float((right - sure)[bins == place].sum())) for place in range(10)]
    return {
        "n": len(votes),
        "agrees": float(right.mean()),
        "sure": float(sure.mean()),
        "ece": sum(gaps) / len(votes),
        "log_loss": float(-(shares * np.log(np.maximum(believed, 1e-12))).sum(axis=1).mean()),
    }


# --- Where the judge is wrong ---------------------------------------------------------------------------------


def errors_of(items: Integers, data: Features, votes: Floats, says: Integers) -> JudgeErrors | None:
    """P(the judge is wrong), learned from answered pairs that it has judged, each by 1/propensity; None while few."""
    heard = np.flatnonzero(says >= 0)
    wrong = (votes[heard, says[heard]] < votes[heard].max(axis=1)).astype(int)
    columns = judge_errors.columns_for(data.symmetric[heard], data.antisymmetric[heard], sign_of(says[heard]))
    return judge_errors.fit_errors(columns, wrong, propensities(items[heard].tolist()))


def probably_wrong(errors: JudgeErrors, data: Features, says: Integers) -> Floats:
    """Of each pair (n,); `says` is what the judge says, −1 where it says nothing."""
    return errors.probability(judge_errors.columns_for(data.symmetric, data.antisymmetric, sign_of(says)))


def sign_of(says: Integers) -> Floats:
    return (says == FIRST).astype(float) - (says == SECOND)


def propensities(items: Sequence[int]) -> Floats:
    """The probability with which each item was first sent to people; 1 for those that nobody routed."""
    found: dict[int, float] = {}
    for batch in slots.batches(items):
        sent = Route.objects.filter(item__in=batch).exclude(decision=Route.JUDGE).order_by("-number")
        found.update(sent.values_list("item_id", "propensity"))
    return np.array([found.get(item, 1.0) for item in items])


# --- Keeping --------------------------------------------------------------------------------------------------
ARRAYS = ("weights", "covariance", "effects", "effect_covariance", "coupling")


def as_bytes(model: LabelModel, items: Integers, errors: JudgeErrors | None) -> bytes:
    """The model, the items that it was fitted on, and where the judge is wrong."""
    file = io.BytesIO()
    wrong: Any = {} if errors is None else {f"errors_{name}": np.asarray(own) for name, own in vars(errors).items()}
    np.savez_compressed(
        file,
        items=items,
        centre=model.scale.centre,
        size=model.scale.size,
        reach=model.scale.reach,
        priors=np.array(json.dumps(asdict(model.priors))),
        ties=np.array(model.ties),
        sharpness=np.array(model.sharpness),
        prompts=np.array(list(model.slot_of), dtype=np.int64),
        slots=np.array(list(model.slot_of.values()), dtype=np.int64),
        **{name: getattr(model, name) for name in ARRAYS},
        **wrong,
    )
    return file.getvalue()


def opened(kept: LabelFit) -> Fit:
    """A kept fit, ready for use; the last few stay in memory."""
    return restored(kept.pk, kept.created_at)


@lru_cache(maxsize=8)
def restored(pk: int, made: datetime) -> Fit:
    """The fit of this id that was made then."""
    kept = LabelFit.objects.get(pk=pk)
    with np.load(io.BytesIO(bytes(kept.parameters)), allow_pickle=False) as file:
        arrays = dict(file)
    model = LabelModel(
        Scale(arrays["centre"], arrays["size"], arrays["reach"]),
        Priors(**json.loads(str(arrays["priors"]))),
        bool(arrays["ties"]),
        arrays["weights"],
        arrays["covariance"],
        dict(zip(arrays["prompts"].tolist(), arrays["slots"].tolist(), strict=True)),
        arrays["effects"],
        arrays["effect_covariance"],
        arrays["coupling"],
        float(arrays.get("sharpness", 1.0)),  # fits from before models were calibrated have none
    )
    layout = layout_from(kept.layout)
    errors = errors_in(arrays)
    return Fit(kept.number, layout, model, kept.accuracy, kept.labels, np.sort(arrays["items"]), errors)


def errors_in(arrays: Mapping[str, Any]) -> JudgeErrors | None:
    """None where there was too little to learn from."""
    if "errors_weights" not in arrays:
        return None
    centre, size, weights = (arrays[f"errors_{name}"] for name in ("centre", "size", "weights"))
    base, slope, shift = (float(arrays[f"errors_{name}"]) for name in ("base", "slope", "shift"))
    return JudgeErrors(centre, size, weights, base, slope, shift)


# --- Using ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Believed:
    """What a fit says of pairs: without people's answers to them, with them, and what one more is worth."""

    prior: Floats
    posterior: Floats
    gain: Floats
    moments: label_model.Posterior


def believe(fit: Fit, items: Integers, data: Any, votes: Floats) -> Believed:
    """`items` (n,), their columns and people's votes (n, 3)."""
    moments = fit.model.posterior(data)
    prior = moments.probability
    own = np.flatnonzero(np.isin(items, fit.items) & (votes.sum(axis=1) > 0))
    if len(own):
        soft = learned.soft_labels(votes[own], value.ACCURACY, fit.model.ties)
        prior[own] = fit.model.cavity(data.rows(own), soft, np.ones(len(own))).probability
    posterior = value.updated(prior, votes, fit.accuracy)
    return Believed(prior, posterior, value.value_of_information(posterior, fit.accuracy), moments)
