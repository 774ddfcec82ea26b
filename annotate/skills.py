"""Fits raters' parameters and keeps them: the sole writer of Fit, RaterSkill and the fitting half of Measurement.

The worker fits a project anew when its method was changed or its annotations have grown by a tenth. In between each
submit computes its one item's label from the stored parameters. After a fit that weighs votes, or stops weighing
them, all labels follow in batches by `aggregation.label_items`; `relabel_after` remembers how far that got, so a
worker that dies leaves nothing undone.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import aggregation, tallies
from annotate.deciding import WORDS, choice_options, preference_options
from annotate.fitting import MIN_ITEMS, MIN_VOTES, Fitted, GatheredRatings, GatheredVotes, fit_ratings, fit_votes
from annotate.models import Annotation, Fit, Item, Measurement, Project, Question, Rater, RaterSkill
from annotate.questions import SILENT

NEWEST = 1_000_000  # annotations that a fit looks at
GROWTH, SOONEST = 0.1, 20  # a tenth more annotations, and this many at least, before a fit is made anew
CLAIM = timedelta(minutes=10)  # a worker that has not been heard of for so long is gone
BATCH = 500  # items relabelled in one transaction
STINT = 30.0  # seconds of relabelling before other work gets its turn

Gathered = GatheredVotes | GatheredRatings


def refresh(project: Project) -> bool:
    """Fit anew if that is due, and take relabelling on by one stint. False where there was nothing to do."""
    measurement, _created = Measurement.objects.defer("report").get_or_create(project=project)
    counts = tallies.read(project.pk)
    annotations = sum(counts.get(name, 0) for name in tallies.ANNOTATIONS.values())
    must_fit = due(project, measurement, annotations)
    if not must_fit and measurement.relabel_after is None:
        return False
    if not claim(measurement):
        return False
    try:
        if must_fit:
            fit(project, measurement, annotations)
        relabel(project, measurement)
    finally:
        Measurement.objects.filter(pk=measurement.pk).update(claimed_at=None)
    return True


def due(project: Project, measurement: Measurement, annotations: int) -> bool:
    """Was the method changed, or enough said since the last fit?"""
    if not annotations:
        return False
    grown = annotations - measurement.annotations
    return measurement.method != project.aggregation_method or grown >= max(SOONEST, GROWTH * measurement.annotations)


def claim(measurement: Measurement) -> bool:
    """Take the project for this worker, unless another has it."""
    free = Q(claimed_at=None) | Q(claimed_at__lt=timezone.now() - CLAIM)
    return bool(Measurement.objects.filter(free, pk=measurement.pk).update(claimed_at=timezone.now()))


def fit(project: Project, measurement: Measurement, annotations: int) -> None:
    """Fit every question that is voted on or rated, and keep the outcome in one transaction."""
    questions = list(project.questions.select_related("fit"))
    kinds = dict(Rater.objects.filter(project=project).values_list("pk", "kind"))
    gathered = gather(questions, kinds, answers_of(kinds))
    outcomes = {
        question: fitted(gathered[question.pk], kinds, project.aggregation_method)
        for question in questions
        if question.pk in gathered
    }
    with transaction.atomic():
        before = {question.pk: aggregation.fit_of(question) for question in outcomes}
        for question, outcome in outcomes.items():
            keep(question, before[question.pk], outcome)
        if any(moves_labels(before[question.pk], outcome) for question, outcome in outcomes.items()):
            measurement.relabel_after = 0
        measurement.method, measurement.annotations = project.aggregation_method, annotations
        measurement.save(update_fields=["method", "annotations", "relabel_after"])


def fitted(gathered: Gathered, kinds: Mapping[int, str], wanted: str) -> Fitted:
    if isinstance(gathered, GatheredVotes):
        return fit_votes(gathered, kinds, wanted)
    return fit_ratings(gathered, wanted)


def moves_labels(before: Fit | None, outcome: Fitted) -> bool:
    """Do labels depend on the new fit, or did they on the one before?"""
    return outcome.method in aggregation.WEIGHING or (before is not None and before.method in aggregation.WEIGHING)


def keep(question: Question, before: Fit | None, outcome: Fitted) -> None:
    """Put a fit in force under the next version, with its raters."""
    now, version = timezone.now(), before.version + 1 if before else 1
    values = {
        "method": outcome.method,
        "version": version,
        "parameters": outcome.parameters,
        "items": outcome.items,
        "raters": outcome.raters,
        "votes": outcome.votes,
        "fitted_at": now,
    }
    Fit.objects.update_or_create(question=question, defaults=values)
    RaterSkill.objects.filter(question=question).delete()
    rows = (
        RaterSkill(
            rater_id=skill.rater,
            question=question,
            method=outcome.method,
            version=version,
            parameters=skill.parameters,
            accuracy=skill.accuracy,
            low=skill.low,
            high=skill.high,
            n=skill.n,
            fitted_at=now,
        )
        for skill in outcome.skills
    )
    RaterSkill.objects.bulk_create(rows, batch_size=500)


Answer = tuple[int, int, dict[str, Any]]


def answers_of(kinds: Mapping[int, str]) -> Iterator[Answer]:
    """(item, rater, answers) of the newest current counted annotations of these raters, one row at a time."""
    said = Annotation.objects.filter(rater__in=list(kinds))
    replaced = set(said.filter(replaces__isnull=False).values_list("replaces_id", flat=True))
    newest = (
        said.filter(counted=True, rater__excluded_at=None)
        .order_by("-pk")
        .values_list("pk", "item_id", "rater_id", "answers")[:NEWEST]
    )
    for pk, item, rater, answers in newest.iterator(chunk_size=5000):
        if pk not in replaced:
            yield item, rater, answers


def gather(questions: Sequence[Question], kinds: Mapping[int, str], answers: Iterable[Answer]) -> dict[int, Gathered]:
    """Question → what was answered, for questions whose raters can be fitted."""
    found: dict[int, Gathered] = {}
    named: list[tuple[str, str, Gathered]] = []
    for question in questions:
        gathered = empty(question)
        if gathered is not None:
            found[question.pk] = gathered
            named.append((question.name, question.kind, gathered))
    for item, rater, given in answers:
        for name, kind, gathered in named:
            answer = given.get(name)
            if answer is not None:
                take_in(gathered, kind, item, rater, answer, is_person=kinds[rater] == Rater.HUMAN)
    return found


def empty(question: Question) -> Gathered | None:
    """Where a question's answers are gathered; None for kinds whose raters are not fitted."""
    if question.kind == "preference":
        return GatheredVotes({option: place for place, option in enumerate(preference_options(question.config))})
    if question.kind == "choice" and not question.config.get("multiple"):
        return GatheredVotes({option: place for place, option in enumerate(choice_options(question.config, []))})
    return GatheredRatings() if question.kind == "rating" else None


def take_in(gathered: Gathered, kind: str, item: int, rater: int, answer: Any, *, is_person: bool) -> None:
    """Add one answer. Silence is no vote; judges' ratings have no leanings taken away, so they are left out."""
    if isinstance(gathered, GatheredRatings):
        if is_person:
            for response, rating in enumerate(answer):
                if rating is not None:
                    gathered.add(item, rater, response, rating)
        return
    spoken = answer["choice"] if kind == "preference" else next(iter(answer), None)
    if spoken is not None and spoken not in SILENT:
        gathered.add(item, rater, spoken)


def relabel(project: Project, measurement: Measurement) -> None:
    """Bring labels up to the fit in force, batch by batch, until all are or the stint is over."""
    began = time.monotonic()
    while measurement.relabel_after is not None and time.monotonic() - began < STINT:
        beyond = Item.objects.filter(project=project, pk__gt=measurement.relabel_after).order_by("pk")
        batch = list(beyond.values_list("pk", flat=True)[:BATCH])
        aggregation.label_items(batch)
        measurement.relabel_after = batch[-1] if batch else None
        Measurement.objects.filter(pk=measurement.pk).update(
            relabel_after=measurement.relabel_after, claimed_at=timezone.now()
        )


def advice(project: Project, question: Question) -> str:
    """In words, what weighs the answers to a question now, and why it is not what the project asks for."""
    fit, wanted = aggregation.fit_of(question), WORDS.get(project.aggregation_method)
    if wanted is None or empty(question) is None:
        return _("Every vote counts the same.")
    if fit is None:
        return _("%(method)s is chosen; until the worker has fitted it, the majority stands.") % {"method": wanted}
    if fit.method in aggregation.WEIGHING:
        if question.kind == "rating":
            return _("People's leanings are taken away by fit %(version)d, of %(votes)s ratings.") % {
                "version": fit.version,
                "votes": f"{fit.votes:,}",
            }
        return _("Weighed by fit %(version)d, of %(votes)s votes.") % {
            "version": fit.version,
            "votes": f"{fit.votes:,}",
        }
    if question.kind == "rating":
        return _("Means stand as they are: no leaning of a person could be told from what they rated.")
    return _(
        "%(method)s needs %(items)d items with two people's votes and two people with %(votes)d votes each. There are "
        "%(have)d such items and %(raters)d such people, so the majority stands."
    ) % {"method": wanted, "items": MIN_ITEMS, "votes": MIN_VOTES, "have": fit.items, "raters": fit.raters}


def weighing(project: Project) -> list[tuple[str, str]]:
    """Each question that is voted on or rated, with what weighs its answers now."""
    asked = project.questions.select_related("fit")
    return [(question.title, advice(project, question)) for question in asked if empty(question) is not None]
