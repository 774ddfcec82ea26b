"""What calibrated judges say about items goes to aggregation as Priors: the writer of those of source `OF_JUDGES`.

An item that judges have answered and no person has gets one Prior for each preference and each choice: the geometric
mean of the judges' calibrated posteriors. (A rating's label is a mean of ratings and takes no Prior.) It is a function
of the judges' annotations and of the calibrations in force, so thrown away and written again it is the same. An item
about which another part of the pipeline has said something (the router's label model, which knows the verdicts too)
gets none, and neither does one that people have answered since.

A pass goes through the items in order and keeps how far it is, so another worker can go on. A new calibration begins
a new pass over all; otherwise a pass looks only at items that a judge has answered since the last one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import slots
from annotate.aggregation import label_items
from annotate.deciding import OF_JUDGES, Opinion
from annotate.models import Annotation, Item, Prior, Project, Question, Rater
from pipeline.judging.calls import SETTLED
from pipeline.models import Calibration, PriorWork
from pipeline.quality import audits, calibrating, grading, measuring

BATCH = 500  # items in one transaction
SAME = 1e-9


Calibrations = Mapping[Question, Mapping[int, Calibration]]  # question → judge (as a rater) → the one in force


def write_priors(project: Project, most: int | None = None) -> int:
    """Bring the project's Priors up to its calibrations and verdicts; at most `most` batches. Returns what changed."""
    asked = [question for question in project.questions.all() if takes_priors(question)]
    if not asked:
        return 0
    calibrations = {question: of_project(project, question) for question in asked}
    begin_pass(project, sorted(each.pk for of_judges in calibrations.values() for each in of_judges.values()))
    changed, batches = 0, 0
    while most is None or batches < most:
        found = next_batch(project, calibrations)
        if found is None:
            return changed
        changed, batches = changed + found, batches + 1
    return changed


def takes_priors(question: Question) -> bool:
    return question.kind in (Question.PREFERENCE, Question.CHOICE) and audits.can_be_calibrated(question)


def of_project(project: Project, question: Question) -> dict[int, Calibration]:
    """Judge (as a rater) → its calibration in force."""
    fitted = Calibration.objects.filter(question=question).values("rater")
    judges = Rater.objects.filter(project=project, kind=Rater.JUDGE, excluded_at=None, pk__in=fitted)
    found = {rater.pk: measuring.in_force(rater, question) for rater in judges.select_related("project")}
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
def next_batch(project: Project, calibrations: Calibrations) -> int | None:
    """Write the Priors of the next items of the pass; None where it is at its end."""
    work = PriorWork.objects.select_for_update().get(project=project)
    if work.until <= work.done:
        return None
    ids = list(answered(project, work)[:BATCH])
    if not ids:
        work.done = work.until
        work.save(update_fields=["done"])
        return None
    changed = write_batch(ids, calibrations)
    work.item = ids[-1]
    work.save(update_fields=["item"])
    return len(changed)


def write_batch(ids: Sequence[int], calibrations: Calibrations) -> list[int]:
    """Write, renew or take away the Priors of these items, and label those anew; returns them."""
    slots.lock(ids)
    people = audits.people_on(ids)
    rows = rows_of(ids, {rater for of_judges in calibrations.values() for rater in of_judges})
    changed: set[int] = set()
    for question, of_judges in calibrations.items():
        changed |= write_question(ids, question, priors_of(ids, question, of_judges, rows, people))
    label_items(sorted(changed))
    return sorted(changed)


Wanted = Mapping[int, tuple[Mapping[str, float], str]]  # item → probabilities, and by which calibrations


def write_question(ids: Sequence[int], question: Question, wanted: Wanted) -> set[int]:
    """Write, renew or take away the Priors of one question; returns the items whose Prior is another now."""
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
    return {*differing, *(item for item in there if item not in wanted)}


def differs(prior: Prior, probabilities: Mapping[str, float], version: str) -> bool:
    same = set(prior.probabilities) == set(probabilities) and all(
        abs(prior.probabilities[option] - share) < SAME for option, share in probabilities.items()
    )
    return not same or prior.version != version


def rows_of(ids: Sequence[int], raters: Iterable[int]) -> dict[int, list[audits.Row]]:
    """Judge → its annotations on these items."""
    rows: dict[int, list[audits.Row]] = defaultdict(list)
    judged = Annotation.objects.filter(item__in=ids, rater__in=raters, counted=True).order_by("pk")
    for rater, *row in judged.values_list("rater_id", *audits.ROW):
        rows[rater].append(tuple(row))
    return rows


def priors_of(
    ids: Sequence[int],
    question: Question,
    calibrations: Mapping[int, Calibration],
    rows: Mapping[int, Sequence[audits.Row]],
    people: Mapping[int, Sequence[Opinion]],
) -> dict[int, tuple[dict[str, float], str]]:
    """Item → what the calibrated judges say of it, and by which calibrations; only where no person has answered."""
    said: dict[int, dict[int, dict[str, float]]] = defaultdict(dict)
    for rater, calibration in calibrations.items():
        present, _ = audits.present_of(rows.get(rater, []), calibration.evaluator)
        for item, posterior in posteriors(question, calibration, present).items():
            said[item][rater] = posterior
    known = Prior.objects.filter(item__in=ids, question=question).exclude(source=OF_JUDGES)
    answered_here = {
        item for item, opinions in people.items() if any(question.name in each.answers for each in opinions)
    }
    taken = answered_here | set(known.values_list("item", flat=True))
    return {
        item: (
            calibrating.pooled([of_judges[rater] for rater in sorted(of_judges)]),
            " ".join(str(calibrations[rater].pk) for rater in sorted(of_judges))[:60],
        )
        for item, of_judges in said.items()
        if item not in taken
    }


def posteriors(
    question: Question, calibration: Calibration, rows: Sequence[audits.Row]
) -> dict[int, dict[str, float]]:
    """Item → what one calibrated judge says. A choice whose options are others now has no calibration."""
    if question.kind == Question.PREFERENCE:
        verdicts, _ = audits.verdicts_of(rows, question)
        return {item: measuring.posterior_of(calibration, verdict) for item, verdict in verdicts.items()}
    offered = grading.options_of(question)
    if list(offered) != calibration.parameters["options"]:
        return {}
    answers = grading.answers_of(rows, question, offered)
    return {item: measuring.choice_posterior(calibration, parts[0]) for item, parts in answers.items()}
