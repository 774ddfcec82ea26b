"""What calibrated judges say about items goes to aggregation as Priors: the writer of those of source `OF_JUDGES`.

An item that judges have answered and no person has gets one Prior: the geometric mean of the judges' calibrated
posteriors. It is a function of the judges' annotations and of the calibrations in force, so thrown away and written
again it is the same. An item about which another part of the pipeline has said something (the router's label model,
which knows the verdicts too) gets none, and neither does one that people have answered since.

A pass goes through the items in order and keeps how far it is, so another worker can go on. A new calibration begins
a new pass over all; otherwise a pass looks only at items that a judge has answered since the last one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import slots
from annotate.aggregation import label_items
from annotate.deciding import OF_JUDGES
from annotate.models import Annotation, Item, Prior, Project, Question, Rater
from pipeline.judging.calls import SETTLED
from pipeline.models import Calibration, PriorWork
from pipeline.quality import audits, calibrating, measuring

BATCH = 500  # items in one transaction
SAME = 1e-9


def write_priors(project: Project, most: int | None = None) -> int:
    """Bring the project's Priors up to its calibrations and verdicts; at most `most` batches. Returns what changed."""
    question = project.questions.filter(kind=Question.PREFERENCE).first()
    if question is None:
        return 0
    calibrations = of_project(project, question)
    begin_pass(project, sorted(each.pk for each in calibrations.values()))
    changed, batches = 0, 0
    while most is None or batches < most:
        found = next_batch(project, question, calibrations)
        if found is None:
            return changed
        changed, batches = changed + found, batches + 1
    return changed


def of_project(project: Project, question: Question) -> dict[int, Calibration]:
    """Judge (as a rater) → its calibration in force."""
    judges = Rater.objects.filter(project=project, kind=Rater.JUDGE, excluded_at=None).select_related("project")
    found = {rater.pk: measuring.in_force(rater, question) for rater in judges if rater.calibrations.exists()}
    return {rater: calibration for rater, calibration in found.items() if calibration is not None}


@transaction.atomic
def begin_pass(project: Project, calibrations: list[int]) -> None:
    """Start over where another calibration is in force; else look at what has come since the last whole pass."""
    PriorWork.objects.get_or_create(project=project)
    work = PriorWork.objects.select_for_update().get(project=project)
    newest = settled_annotation(project)
    if work.calibrations != calibrations:
        work.calibrations, work.item, work.until, work.done = calibrations, 0, newest, 0
    elif work.until <= work.done and newest > work.done:
        work.item, work.until = 0, newest
    work.save()


def settled_annotation(project: Project) -> int:
    """The newest annotation old enough that no transaction can still bring an older number to light."""
    old = Annotation.objects.filter(rater__project=project, submitted_at__lt=timezone.now() - SETTLED)
    return old.order_by("-pk").values_list("pk", flat=True).first() or 0


def answered(project: Project, work: PriorWork) -> QuerySet[Item, int]:
    """The items of this pass that are still to do: answered by anybody since the last whole pass."""
    since = Annotation.objects.filter(rater__project=project, pk__gt=work.done, pk__lte=work.until)
    found = Item.objects.filter(pk__in=since.values("item"), pk__gt=work.item)
    return found.order_by("pk").values_list("pk", flat=True)


@transaction.atomic
def next_batch(project: Project, question: Question, calibrations: Mapping[int, Calibration]) -> int | None:
    """Write the Priors of the next items of the pass; None where it is at its end."""
    work = PriorWork.objects.select_for_update().get(project=project)
    if work.until <= work.done:
        return None
    ids = list(answered(project, work)[:BATCH])
    if not ids:
        work.done = work.until
        work.save(update_fields=["done"])
        return None
    changed = write_batch(ids, question, calibrations)
    work.item = ids[-1]
    work.save(update_fields=["item"])
    return len(changed)


def write_batch(ids: Sequence[int], question: Question, calibrations: Mapping[int, Calibration]) -> list[int]:
    """Write, renew or take away the Priors of these items, and label those anew; returns them."""
    slots.lock(ids)
    wanted = priors_of(ids, question, calibrations)
    there = {prior.item_id: prior for prior in Prior.objects.filter(item__in=ids, question=question, source=OF_JUDGES)}
    gone = [there[item].pk for item in there if item not in wanted]
    differing = {item: prior for item, prior in wanted.items() if item not in there or differs(there[item], *prior)}
    Prior.objects.filter(pk__in=gone).delete()
    Prior.objects.bulk_create(
        (
            Prior(item_id=item, question=question, source=OF_JUDGES, probabilities=probabilities, version=version)
            for item, (probabilities, version) in differing.items()
        ),
        update_conflicts=True,
        unique_fields=["item", "question", "source"],
        update_fields=["probabilities", "version"],
        batch_size=200,
    )
    changed = sorted({*differing, *(item for item in there if item not in wanted)})
    label_items(changed)
    return changed


def differs(prior: Prior, probabilities: Mapping[str, float], version: str) -> bool:
    same = set(prior.probabilities) == set(probabilities) and all(
        abs(prior.probabilities[option] - share) < SAME for option, share in probabilities.items()
    )
    return not same or prior.version != version


def priors_of(
    ids: Sequence[int], question: Question, calibrations: Mapping[int, Calibration]
) -> dict[int, tuple[dict[str, float], str]]:
    """Item → what the calibrated judges say of it, and by which calibrations; only where no person has answered."""
    said: dict[int, dict[int, dict[str, float]]] = defaultdict(dict)
    rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    judged = Annotation.objects.filter(item__in=ids, rater__in=calibrations, counted=True).order_by("pk")
    for rater, *row in judged.values_list("rater_id", *audits.ROW):
        rows[rater].append(tuple(row))
    for rater, of_rater in rows.items():
        verdicts, _, _ = audits.verdicts_of(of_rater, question.name, calibrations[rater].evaluator)
        for item, verdict in verdicts.items():
            said[item][rater] = measuring.posterior_of(calibrations[rater], verdict)
    taken = set(audits.people_on(ids)) | set(
        Prior.objects.filter(item__in=ids, question=question).exclude(source=OF_JUDGES).values_list("item", flat=True)
    )
    return {
        item: (
            calibrating.pooled([of_judges[rater] for rater in sorted(of_judges)]),
            " ".join(str(calibrations[rater].pk) for rater in sorted(of_judges))[:60],
        )
        for item, of_judges in said.items()
        if item not in taken
    }
