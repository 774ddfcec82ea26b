"""How often each model's responses win, by the labels as they are and corrected by audits.

A judge that leans to one model bends its win rate, however few labels are wrong. The corrected mean

    mean_i [ f_i + A_i/π_i (y_i − f_i) ]

takes f from the labels, and y from people where a draw asked them. π is the share of its part that was audited: of
the items that are as sure and that no person was asked about otherwise. (The probability of the draw itself would
count twice what the ranking asked about later.) Below LEAST_PROPENSITY it is truncated too, which bends a little and
steadies much; both are given.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from annotate import slots
from annotate.deciding import HUMAN
from annotate.models import Item, Label, Question, Response
from annotate.statistics.intervals import Z95
from annotate.statistics.votes import Floats
from pipeline.routing.estimators.certifying import LEAST_PROPENSITY, corrected_mean

NEWEST = 50_000  # labels that are counted, at most
MODELS = 12  # those with most labels
LEAST = 10  # audits of a model's pairs before anything is corrected by them
SURE = 0.9  # the labels from here on, and the others, are parts of their own where both have audits
WORTH = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}  # of a label for the first response


class Audited(Protocol):
    """What is needed of an audit."""

    @property
    def item(self) -> int: ...
    @property
    def said(self) -> str: ...
    @property
    def sure(self) -> float: ...
    @property
    def people(self) -> str: ...


@dataclass(frozen=True)
class Row:
    """A label as it stands for one model: its worth, how sure, who decided, and what people said if audited."""

    worth: float
    sure: float
    by_people: bool
    audited: float | None


def corrected(question: Question, audits: Sequence[Audited]) -> dict[str, Any]:
    """{"labels", "of", "rows": [{"model", "n", "delivered", "audits", "corrected", "truncated", "error", …}]}."""
    labels = Label.objects.filter(question=question).exclude(item__state__in=[Item.ARCHIVED, Item.GOLD])
    known = {audit.item: audit for audit in audits}
    kept = list(labels.order_by("-item").values_list("item", "value", "probability", "decided_by")[:NEWEST])
    written = models_of([row[0] for row in kept])
    found: dict[str, list[Row]] = defaultdict(list)
    for item, said, sure, decided_by in kept:
        if item in written and str(said) in WORTH:
            audit = known.get(item)
            for model, row in rows_of(written[item], str(said), sure or 0.0, decided_by == HUMAN, audit):
                found[model].append(row)
    largest = sorted(found, key=lambda model: (-len(found[model]), model))[:MODELS]
    return {"labels": len(kept), "most": NEWEST, "least": LEAST_PROPENSITY, "needed": LEAST,
            "rows": [of_model(model, found[model]) for model in largest]}  # fmt: skip


def models_of(items: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Item → who wrote its two responses; only where two models did."""
    written: dict[int, list[str]] = defaultdict(list)
    for batch in slots.batches(items):
        rows = Response.objects.filter(item__in=batch).order_by("item", "position")
        for item, model in rows.values_list("item", "model"):
            written[item].append(model)
    return {
        item: (models[0], models[1])
        for item, models in written.items()
        if len(models) == 2 and all(models) and models[0] != models[1]
    }


def rows_of(
    models: tuple[str, str], said: str, sure: float, by_people: bool, audit: Audited | None
) -> list[tuple[str, Row]]:
    """The label from the side of either model. An audited item counts as it would be without people's answers."""
    worth, people = WORTH[said], None
    if audit is not None:
        worth, sure, people = WORTH[audit.said], audit.sure, WORTH[audit.people]
    by_people = by_people and audit is None
    first = Row(worth, sure, by_people, people)
    second = Row(1 - worth, sure, by_people, None if people is None else 1 - people)
    return [(models[0], first), (models[1], second)]


def of_model(model: str, rows: Sequence[Row]) -> Mapping[str, Any]:
    """One model's row: win rates as delivered and corrected, with the interval of the correction."""
    worth = np.array([row.worth for row in rows])
    bought = np.array([row.audited is not None for row in rows])
    human = np.array([np.nan if row.audited is None else row.audited for row in rows])
    delivered = float(np.where(bought, human, worth).mean())
    found = {"model": model, "n": len(rows), "audits": int(bought.sum()), "delivered": delivered}
    if bought.sum() < LEAST:
        return {**found, "corrected": None}
    propensity, error = propensities(rows, worth, human, bought)
    whole = corrected_mean(worth, human, bought, propensity)
    return {
        **found,
        "corrected": whole,
        "low": max(0.0, whole - Z95 * error),
        "high": min(1.0, whole + Z95 * error),
        "truncated": corrected_mean(worth, human, bought, propensity, LEAST_PROPENSITY),
        "is_truncated": bool((propensity < LEAST_PROPENSITY).any()),
        "least_propensity": float(propensity.min()),
    }


def propensities(rows: Sequence[Row], worth: Floats, human: Floats, bought: Any) -> tuple[Floats, float]:
    """π of each row, and the standard error of the corrected mean: √ Σ_s (n_s/N)² var_s(y − f)/m_s."""
    open_ = np.array([not row.by_people for row in rows])
    sure = np.array([row.sure >= SURE for row in rows])
    parts = [sure & open_, ~sure & open_]
    if any((part & bought).sum() < LEAST / 2 for part in parts):
        parts = [open_]
    propensity, variance = np.ones(len(rows)), 0.0
    for part in parts:
        audited = part & bought
        propensity[part] = audited.sum() / part.sum()
        gaps = human[audited] - worth[audited]
        # One pseudo-audit that is a whole point off: a few that all agree leave doubt.
        spread = float((((gaps - gaps.mean()) ** 2).sum() + 1) / len(gaps))
        variance += (part.sum() / len(rows)) ** 2 * spread / len(gaps)
    return propensity, float(variance**0.5)
