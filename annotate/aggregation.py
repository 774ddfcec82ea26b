"""Annotations become Labels: the sole writer of Label, and of an item's being open or labelled.

What opinions add up to is decided in `annotate.deciding`, by majority or by the fit of the raters that is in force. A
Label is derived: thrown away and computed again from the same annotations and stored fit, it is the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import changes, compiled, slots, tallies
from annotate.deciding import LEANINGS, STAND_FOR_JUDGES, WORDS, Aggregate, Known, Opinion, aggregate_question
from annotate.models import Annotation, Change, Fit, Item, Label, Prior, Question, Rater, RaterSkill
from annotate.quality import doubt

WEIGHING = frozenset({*WORDS, LEANINGS})  # methods of a fit that change labels
ITEM_FIELDS = ("project", "state", "overlap", "priority", "verdict_id", "review_value")
REVIEWER = "reviewer"
SOME = 8  # labels that are written one by one: those of one item, as a rule
FIELDS = ["value", "probability", "distribution", "strength", "votes", "method", "decided_by", "details"]


def label_items(item_ids: Sequence[int]) -> None:
    """Aggregate these items anew; those whose labels are no longer the same get a Change, relabelled."""
    for batch in slots.batches(item_ids):
        with transaction.atomic():
            slots.lock(batch)
            changed = relabel(batch)
            for project_id, (items, counts) in changed.items():
                changes.record(project_id=project_id, kind=Change.RELABELLED, item_ids=items)
                tallies.add(project_id=project_id, counts=counts)


Changed = dict[int, tuple[list[int], Counter[str]]]
Standing = tuple[str, float]  # an item's state, and what a reviewer's look at it is worth


def relabel(item_ids: Sequence[int]) -> Changed:
    """Aggregate items whose locks the caller holds.

    Returns, by project, the items whose labels or state changed and what to add to its kept counts.
    """
    changed: Changed = {}
    for batch in slots.batches(item_ids):
        by_project: dict[int, list[Item]] = defaultdict(list)
        for item in Item.objects.filter(pk__in=batch).only(*ITEM_FIELDS):
            by_project[item.project_id].append(item)
        for project_id, items in by_project.items():
            ids, counts = relabel_batch(project_id, items)
            all_ids, all_counts = changed.setdefault(project_id, ([], Counter()))
            all_ids.extend(ids)
            all_counts.update(counts)
    return changed


def relabel_batch(project_id: int, items: Sequence[Item]) -> tuple[list[int], Counter[str]]:
    """A batch of one project's items: write the labels that differ, then the items' state."""
    asked = main_first(compiled.run("questions with fits", questions_with_fits, project_id))
    opinions, priors, before = read_batch([item.pk for item in items])
    known = known_of(asked, opinions)
    verdicts = verdicts_on(items)
    counts: Counter[str] = Counter()
    made: list[Label] = []
    gone: list[int] = []
    standings: dict[Standing, list[int]] = defaultdict(list)
    changed = []
    for item in items:
        old = before.get(item.pk, {})
        of_item = ([], {}) if item.state == Item.GOLD else (opinions.get(item.pk, []), priors.get(item.pk, {}))
        new = aggregate_item(asked, *of_item, known)
        if item.pk in verdicts:
            new |= by_reviewer(asked, verdicts[item.pk])
        differing = [as_label(item.pk, key, new[key]) for key in new if key not in old or differs(old[key], new[key])]
        made += differing
        gone += [label.pk for key, label in old.items() if key not in new]
        state = state_of(item, opinions.get(item.pk, []), bool(new))
        open_to_doubt = state == Item.LABELLED and item.pk not in verdicts
        worth = doubt.worth(asked, of_item[0], new, item.priority) if open_to_doubt else 0.0
        if (state, worth) != (item.state, item.review_value):
            standings[state, worth].append(item.pk)
        counts.update(tally_difference(asked, item.state, old, state, new))
        if differing or len(old) > len(new) or state != item.state:
            changed.append(item.pk)
    write(made, gone, standings)
    return changed, counts


def questions_with_fits(project_id: int) -> QuerySet[Question]:
    return Question.objects.filter(project=project_id).select_related("fit")


def verdicts_on(items: Iterable[Item]) -> dict[int, Mapping[str, Any]]:
    """Item → the answers of the reviewer's verdict in force on it; no query where there is none."""
    of_items = {item.verdict_id: item.pk for item in items if item.verdict_id and item.state != Item.GOLD}
    if not of_items:
        return {}
    found = Annotation.objects.filter(pk__in=of_items).values_list("pk", "answers")
    return {of_items[pk]: answers for pk, answers in found}


def by_reviewer(asked: Iterable[Question], answers: Mapping[str, Any]) -> dict[int, Aggregate]:
    """Question → what the verdict makes of it. It wins: the probability is 1, whatever others said."""
    decided = {}
    for question in asked:
        alone = aggregate_question(question, [Opinion(0, Rater.HUMAN, answers)])
        if alone is not None:
            certain = dict.fromkeys(alone.distribution, 0.0)
            if isinstance(alone.value, str):
                certain |= {alone.value: 1.0}
            elif question.kind == Question.CHOICE:
                certain |= dict.fromkeys(alone.value, 1.0)
            else:
                certain = alone.distribution
            probability = None if alone.probability is None else 1.0
            decided[question.pk] = replace(alone, distribution=certain, probability=probability, method=REVIEWER)
    return decided


def set_aside(item: Item, state: str) -> Counter[str]:
    """Take away the labels of an item that is to be gold; returns what the kept counts lose. The caller holds it."""
    asked = main_first(Question.objects.filter(project_id=item.project_id))
    before = {label.question_id: label for label in Label.objects.filter(item=item)}
    current = Item.objects.values_list("state", flat=True).get(pk=item.pk)
    write([], [label.pk for label in before.values()], {(state, 0.0): [item.pk]})
    return tally_difference(asked, current, before, state, {})


Opinions = dict[int, list[Opinion]]
Priors = dict[int, dict[int, list[Prior]]]
Labels = dict[int, dict[int, Label]]


def read_batch(item_ids: list[int]) -> tuple[Opinions, Priors, Labels]:
    """Item → its current counted opinions, its priors by question, its labels by question."""
    opinions = current_opinions(compiled.of_items("said", said_about, item_ids))
    priors: Priors = defaultdict(lambda: defaultdict(list))
    for prior in compiled.of_items("priors", priors_of, item_ids):
        priors[prior.item_id][prior.question_id].append(prior)
    labels: Labels = defaultdict(dict)
    for label in compiled.of_items("labels", labels_of, item_ids):
        labels[label.item_id][label.question_id] = label
    return opinions, priors, labels


SAID = (
    "pk", "replaces_id", "counted", "item_id", "rater_id", "rater__kind", "answers", "submitted_at",
    "rater__excluded_at",
)  # fmt: skip


def said_about(item_ids: Sequence[int]) -> QuerySet[Annotation, tuple[Any, ...]]:
    """The rows that `current_opinions` takes."""
    return Annotation.objects.filter(item_id__in=item_ids).order_by("pk").values_list(*SAID)


def priors_of(item_ids: Sequence[int]) -> QuerySet[Prior]:
    return Prior.objects.filter(item_id__in=item_ids).order_by("source")


def labels_of(item_ids: Sequence[int]) -> QuerySet[Label]:
    return Label.objects.filter(item_id__in=item_ids)


def current_opinions(rows: Iterable[tuple[Any, ...]]) -> Opinions:
    """Item → the opinions that count and that no other of these annotations replaces, in the order given.

    Told apart here, not by a join: after a large import the database may not know yet how to join it well.
    """
    rows = list(rows)
    replaced = {row[1] for row in rows}
    opinions: Opinions = defaultdict(list)
    for pk, _replaces, counted, item, rater, kind, answers, at, excluded in rows:
        if counted and excluded is None and pk not in replaced:
            opinions[item].append(Opinion(rater, kind, answers, at))
    return opinions


def known_of(asked: Iterable[Question], opinions: Opinions) -> dict[int, Known]:
    """Question → the fit in force, with what it knows of the raters who speak here. No query under plain majority."""
    fits = {question.pk: fit for question in asked if (fit := fit_of(question)) and fit.method in WEIGHING}
    if not fits:
        return {}
    raters: dict[int, dict[int, dict]] = defaultdict(dict)
    speaking = {opinion.rater for said in opinions.values() for opinion in said}
    skills = RaterSkill.objects.filter(question__in=fits, rater__in=speaking)
    for question, rater, parameters in skills.values_list("question_id", "rater_id", "parameters"):
        if parameters:
            raters[question][rater] = parameters
    return {key: Known(fit.method, fit.version, fit.parameters, raters[key]) for key, fit in fits.items()}


def fit_of(question: Question) -> Fit | None:
    """The fit of a question that was read with it."""
    try:
        return question.fit
    except Fit.DoesNotExist:
        return None


def main_first(asked: Iterable[Question]) -> list[Question]:
    """The questions in the order in which they stand for an item: preferences, then the rest."""
    return sorted(asked, key=lambda question: question.kind != Question.PREFERENCE)


def aggregate_item(
    asked: Iterable[Question],
    opinions: Sequence[Opinion],
    priors: Mapping[int, Sequence[Prior]],
    known: Mapping[int, Known],
) -> dict[int, Aggregate]:
    """Question → aggregate, in the order of `asked`, for the questions that have one."""
    found = {
        question.pk: aggregate_question(
            question, opinions, known=known.get(question.pk), **apart(priors.get(question.pk, []))
        )
        for question in asked
    }
    return {key: aggregate for key, aggregate in found.items() if aggregate is not None}


def apart(priors: Sequence[Prior]) -> dict[str, Any]:
    """The item's Priors, and apart from them the one that stands for the judges' votes."""
    by_source = {prior.source: prior.probabilities for prior in priors}
    stands = next(((source, by_source[source]) for source in STAND_FOR_JUDGES if source in by_source), None)
    others = [prior.probabilities for prior in priors if prior.source not in STAND_FOR_JUDGES]
    return {"priors": others, "calibrated": stands}


def state_of(item: Item, opinions: Iterable[Opinion], has_label: bool) -> str:
    """Labelled once there is a label and no further person is waited for; archived and gold items stay so."""
    if item.state in (Item.ARCHIVED, Item.GOLD):
        return item.state
    if item.verdict_id and has_label:
        return Item.LABELLED
    people = {opinion.rater for opinion in opinions if opinion.kind == Rater.HUMAN}
    return Item.LABELLED if has_label and len(people) >= item.overlap else Item.OPEN


def tally_difference(
    asked: Iterable[Question],
    state_before: str,
    before: Mapping[int, Label],
    state_after: str,
    after: Mapping[int, Aggregate],
) -> Counter[str]:
    """What the kept counts of labelled items gain and lose: an item counts for who decided its first question."""
    difference: Counter[str] = Counter()
    order = [question.pk for question in asked]
    for state, decided, by in ((state_before, before, -1), (state_after, after, 1)):
        first = next((decided[key] for key in order if key in decided), None)
        if state == Item.LABELLED and first is not None:
            difference[tallies.LABELS[first.decided_by]] += by
    return difference


def differs(label: Label, aggregate: Aggregate) -> bool:
    return any(label.__dict__[field] != aggregate.__dict__[field] for field in FIELDS)


def as_label(item_id: int, question_id: int, aggregate: Aggregate) -> Label:
    return Label(item_id=item_id, question_id=question_id, updated_at=timezone.now(), **aggregate.__dict__)


def write(made: list[Label], gone: list[int], standings: Mapping[Standing, list[int]]) -> None:
    """Write new and differing labels, take away those without a vote, and set what follows for the items."""
    if len(made) < SOME:
        for label in made:
            compiled.insert(label, renew=[*FIELDS, "updated_at"], unique=["item", "question"])
    else:
        Label.objects.bulk_create(
            made,
            batch_size=200,
            update_conflicts=True,
            unique_fields=["item", "question"],
            update_fields=[*FIELDS, "updated_at"],
        )
    if gone:
        Label.objects.filter(pk__in=gone).delete()
    for (state, worth), ids in standings.items():
        Item.objects.filter(pk__in=ids).update(state=state, review_value=worth)
