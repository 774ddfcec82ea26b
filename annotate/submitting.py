"""What a person, a judge or a file says about an item is kept: the sole writer of Annotation.

An annotation never changes: an edit is a new revision that names the one it replaces. Each function is one
transaction: the annotation, the item's open places, the assignment, the kept counts, the Change and the Label.
All lock the item first, so that votes which arrive together are all seen by the label.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import aggregation, changes, compiled, queries, rubrics, slots, tallies
from annotate.models import Annotation, Assignment, Change, Item, Project, Question, Rater
from annotate.quality import gold
from annotate.questions import AnswerError, asked_now, can_ask, check_answers, reads_texts, text_of

IN_FORCE, WITHDRAWN = "in force", "withdrawn"  # what a file says of a verdict
VERDICT = "verdict"  # in the place of a presented order: a reviewer sees all answers, in stored order


def key_of(order: Sequence[int]) -> str:
    """A presented order as text: [1, 0] → "1-0"."""
    return "-".join(str(position) for position in order)


def asked_about(questions: Iterable[Question], responses: int) -> list[Question]:
    """The questions that an item with so many responses can be asked: a preference compares two."""
    all_questions = list(questions)
    names = can_ask(all_questions, responses)
    return [question for question in all_questions if question.name in names]


def texts_of(item: Item, asked: Iterable[Question]) -> tuple[str, ...] | None:
    """The responses' texts in stored order; None, and nothing read, where none of the questions points into them."""
    if not reads_texts(asked):
        return None
    return tuple(text_of(response.messages) for response in queries.responses_of(item))


def locked_item(item_id: int) -> Item:
    """The item with its project, held until the transaction ends."""
    return Item.objects.select_for_update(of=("self",), no_key=True).select_related("project").get(pk=item_id)


def held_item(assignment: Assignment) -> Item:
    """What a submit needs of an assignment's item, held until the transaction ends; the project as it was read."""

    def build(pk: int) -> QuerySet[Item]:
        return Item.objects.select_for_update(no_key=True).only(*aggregation.ITEM_FIELDS).filter(pk=pk)

    [item] = compiled.run("held item", build, assignment.item_id)
    item.project = assignment.rater.project
    return item


def current(item_id: int, rater_id: int, order: Sequence[int]) -> Annotation | None:
    """The rater's annotation of the item in this order that no revision has replaced."""
    chain = Annotation.objects.filter(item_id=item_id, rater_id=rater_id, order_key=key_of(order))
    return chain.order_by("-revision").first()


def held_assignment(pk: int) -> QuerySet[Assignment]:
    return Assignment.objects.select_for_update().filter(pk=pk)


def own_annotations(item_id: int, rater_id: int) -> QuerySet[Annotation]:
    """What the rater said about the item, in whatever order, the oldest revision first."""
    return Annotation.objects.filter(item=item_id, rater=rater_id).order_by("revision")


@transaction.atomic
def submit_annotation(
    *,
    assignment: Assignment,
    answers: Mapping[str, Any],
    reason: str = "",
    seconds: float | None = None,
    idempotency_key: str | None = None,
    guideline_version: int | None = None,
    rubric_version: int | None = None,
) -> Annotation:
    """Keep what a person answered in the browser, in stored order. Raises questions.AnswerError.

    The same `idempotency_key` again returns the annotation that is there. A second submit is a revision. A late one
    is kept, and counts if a place is still open. The versions are those that the person saw; the project's if None.
    """
    item = held_item(assignment)
    [held] = compiled.run("held assignment", held_assignment, assignment.pk)
    held.rater = assignment.rater
    own = compiled.run("own annotations", own_annotations, item.pk, held.rater_id)
    sent = next((made for made in own if idempotency_key and made.idempotency_key == idempotency_key), None)
    if sent is not None:
        return sent
    asked = asked_about(rubrics.questions_of(item.project), len(held.order))
    checked = check_answers(asked, answers, len(held.order), texts_of(item, asked))
    previous = next((made for made in reversed(own) if made.order_key == key_of(held.order)), None)
    made = next_in_chain(
        previous,
        item=item,
        rater=held.rater,
        order=held.order,
        answers=checked,
        reason=reason,
        seconds=seconds,
        counted=item.state != Item.GOLD and has_place(held, previous),
        guideline_version=guideline_version or item.project.guideline_version,
        rubric_version=rubric_version or item.project.rubric_version,
        idempotency_key=idempotency_key,
    )
    compiled.insert(made)
    finish(held, seconds)
    settle_labels(item, made, is_new=previous is None)
    if item.state == Item.GOLD:
        gold.score(made)
    return made


def next_in_chain(
    previous: Annotation | None,
    *,
    item: Item,
    rater: Rater,
    order: Sequence[int],
    answers: dict[str, Any],
    order_key: str | None = None,
    **said: Any,
) -> Annotation:
    """The annotation that replaces `previous`, or is the first of its chain; not yet kept.

    It is of the project's versions as they stand unless others are named.
    """
    project = item.project
    versions = {"guideline_version": project.guideline_version, "rubric_version": project.rubric_version}
    return Annotation(
        item=item,
        rater=rater,
        order=list(order),
        order_key=order_key or key_of(order),
        answers=answers,
        revision=previous.revision + 1 if previous else 0,
        replaces=previous,
        **{**versions, **said},
    )


def has_place(held: Assignment, previous: Annotation | None) -> bool:
    """Does this submit count: it has its lease's place, its former revision's, or takes one that is open."""
    if previous is not None and previous.counted:
        return True
    return held.state == Assignment.LEASED or slots.take(held.item_id)


def finish(held: Assignment, seconds: float | None) -> None:
    """The assignment is submitted now. Without `seconds` the active time stays what it was."""
    measured = [] if seconds is None else [float(seconds)]
    compiled.update(("finished", len(measured)), finished, held.pk, timezone.now(), *measured)


def finished(pk: int, at: datetime, *seconds: float) -> compiled.Change:
    changes = {"state": Assignment.SUBMITTED, "finished_at": at, "draft": {}, "skip_reason": ""}
    if seconds:
        changes["active_seconds"] = seconds[0]
    return Assignment.objects.filter(pk=pk), changes


def settle_labels(item: Item, made: Annotation, *, is_new: bool) -> None:
    """What follows from an annotation: its Change, the item's label, and the kept counts, in one go."""
    changes.submitted(made, item.project_id)
    counts = Counter({tallies.ANNOTATIONS[made.rater.kind]: int(is_new)})
    _items, difference = aggregation.relabel_batch(item.project_id, [item])
    counts.update(difference)
    tallies.add(project_id=item.project_id, counts=counts)


@dataclass(frozen=True)
class Judgment:
    """What a judge said about one item in one presented order, in stored order."""

    item_id: int
    rater: Rater
    order: Sequence[int]
    answers: Mapping[str, Any]
    reason: str = ""
    reference: str = ""
    confidence: float | None = None
    seconds: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chain(self) -> tuple[int, int, str]:
        return self.item_id, self.rater.pk, key_of(self.order)


def record_judgment(*, item: Item, **said: Any) -> Annotation | None:
    """Keep one judge's verdict (the fields of Judgment); None if the same is there already. Raises AnswerError."""
    (kept,) = record_judgments(rows=[Judgment(item_id=item.pk, **said)])
    if isinstance(kept, AnswerError):
        raise kept
    return kept


@transaction.atomic
def record_judgments(*, rows: Sequence[Judgment]) -> list[Annotation | AnswerError | None]:
    """Keep judges' verdicts; for each the annotation, None if the same is there already, or why it does not fit.

    A judge may leave questions out, but what it answers must fit. It answers all at once, so what it says to a
    question that its other answers make pointless is left out. No two rows are of one item, rater and order.
    """
    slots.lock([row.item_id for row in rows])
    found = Item.objects.select_related("project").only(*ITEM_AND_PROJECT)
    items = {item.pk: item for item in found.filter(pk__in={row.item_id for row in rows})}
    there = newest_revisions(rows)
    kept = [judged(row, items[row.item_id], there.get(row.chain)) for row in rows]
    made = [one for one in kept if isinstance(one, Annotation)]
    Annotation.objects.bulk_create(made, batch_size=200)
    by_project: dict[int, list[Annotation]] = {}
    for one in made:
        by_project.setdefault(items[one.item_id].project_id, []).append(one)
    for project_id, annotations in by_project.items():
        changes.all_submitted(annotations, project_id)
        counts = Counter({tallies.ANNOTATIONS[Rater.JUDGE]: sum(one.replaces_id is None for one in annotations)})
        touched = {one.item_id: items[one.item_id] for one in annotations}
        _items, difference = aggregation.relabel_batch(project_id, [touched[pk] for pk in sorted(touched)])
        counts.update(difference)
        tallies.add(project_id=project_id, counts=counts)
    return kept


ITEM_AND_PROJECT = [
    *aggregation.ITEM_FIELDS,
    *(f"project__{name}" for name in ("guideline_version", "rubric_version", "created_at")),
]


def newest_revisions(rows: Sequence[Judgment]) -> dict[tuple[int, int, str], Annotation]:
    """Chain → its newest annotation, of those that the rows would continue."""
    of_these = Annotation.objects.filter(
        item_id__in={row.item_id for row in rows}, rater_id__in={row.rater.pk for row in rows}
    )
    needed = of_these.only("item_id", "rater_id", "order_key", "revision", "answers").order_by("revision")
    return {(one.item_id, one.rater_id, one.order_key): one for one in needed}


def judged(row: Judgment, item: Item, previous: Annotation | None) -> Annotation | AnswerError | None:
    """The annotation that a judgment makes, not yet kept."""
    asked = [question for question in rubrics.questions_of(item.project) if question.name in row.answers]
    wanted = {name: row.answers[name] for name in asked_now(asked, row.answers)}
    try:
        checked = check_answers(asked, wanted, len(row.order), texts_of(item, asked))
    except AnswerError as error:
        return error
    if previous is not None and previous.answers == checked:
        return None
    return next_in_chain(
        previous,
        item=item,
        rater=row.rater,
        order=row.order,
        answers=checked,
        reason=row.reason,
        reference=row.reference,
        confidence=row.confidence,
        seconds=row.seconds,
        metadata=dict(row.metadata),
    )


@transaction.atomic
def record_verdict(
    *, item: Item, rater: Rater, answers: Mapping[str, Any], reason: str = "", seconds: float | None = None
) -> Annotation:
    """Keep a reviewer's answer, in stored order, and let it decide the item's labels from now on.

    It takes no place and is no vote: what people agree on is measured among those who did not see each other's
    answers. A reviewer may leave questions out; those stay as people decided them. Raises questions.AnswerError.
    """
    locked = locked_item(item.pk)
    asked = [question for question in locked.project.questions.all() if question.name in answers]
    responses = list(locked.responses.all())
    checked = check_answers(asked, answers, len(responses), texts_of(locked, asked))
    chain = Annotation.objects.filter(item=locked, rater=rater, order_key=VERDICT).order_by("-revision")
    previous = chain.first()
    made = next_in_chain(
        previous,
        item=locked,
        rater=rater,
        order=[response.position for response in responses],
        order_key=VERDICT,
        answers=checked,
        reason=reason,
        seconds=seconds,
        counted=False,
    )
    made.save()
    locked.verdict = made
    locked.save(update_fields=["verdict"])
    slots.settle([locked.pk])
    settle_labels(locked, made, is_new=previous is None)
    return made


@transaction.atomic
def withdraw_verdict(*, item: Item) -> None:
    """Let people's answers decide the item again; the reviewer's answer stays in its history."""
    slots.lock([item.pk])
    Item.objects.filter(pk=item.pk).update(verdict=None)
    slots.settle([item.pk])
    aggregation.label_items([item.pk])


@dataclass(frozen=True)
class ImportedAnnotation:
    """One annotation of a file, already checked by the importer. `revision` counts edits of one chain from 0."""

    item_id: int
    rater: Rater
    order: Sequence[int]
    answers: Mapping[str, Any]
    reason: str = ""
    reference: str = ""
    confidence: float | None = None
    seconds: float | None = None
    submitted_at: datetime | None = None
    guideline_version: int = 1
    rubric_version: int = 1
    counted: bool = True
    revision: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""  # "in force" or "withdrawn" for a reviewer's

    @property
    def order_key(self) -> str:
        return VERDICT if self.verdict else key_of(self.order)

    @property
    def chain(self) -> tuple[int, int, str]:
        """Item, rater and order: within one chain, each revision replaces the one before."""
        return self.item_id, self.rater.pk, self.order_key


@transaction.atomic
def record_imported(*, project: Project, rows: Sequence[ImportedAnnotation]) -> int:
    """Keep the annotations of a file and aggregate their items; returns how many are new.

    A row that is there already (same item, rater, order and revision) adds nothing.
    """
    items = {row.item_id for row in rows}
    slots.lock(list(items))
    known = known_revisions(items)
    made: list[Annotation] = []
    for row in sorted(rows, key=lambda row: row.revision):  # a revision needs the row that it replaces
        if row.revision not in known.setdefault(row.chain, {}):
            made.append(from_file(row, known[row.chain].get(row.revision - 1)))
            known[row.chain][row.revision] = made[-1]
    keep(made)
    let_decide([known[row.chain][row.revision] for row in rows if row.verdict == IN_FORCE])
    touched = sorted({annotation.item_id for annotation in made})
    slots.settle(touched)
    changes.record(project_id=project.pk, kind=Change.IMPORTED, item_ids=touched)
    counts = Counter(tallies.ANNOTATIONS[made_by.rater.kind] for made_by in made if not made_by.revision)
    for _items, difference in aggregation.relabel(touched).values():
        counts.update(difference)
    tallies.add(project_id=project.pk, counts=counts)
    return len(made)


def let_decide(verdicts: Sequence[Annotation]) -> None:
    """Verdicts of a file that are in force there decide their items here, unless a reviewer has decided already."""
    for verdict in verdicts:
        Item.objects.filter(pk=verdict.item_id, verdict=None).update(verdict=verdict)


def known_revisions(items: Iterable[int]) -> dict[tuple[int, int, str], dict[int, Annotation]]:
    """Chain → revision → annotation, of what these items have already."""
    known: dict[tuple[int, int, str], dict[int, Annotation]] = {}
    for batch in slots.batches(list(items)):
        there = Annotation.objects.filter(item_id__in=batch).only("item", "rater", "order_key", "revision")
        for annotation in there:
            chain = (annotation.item_id, annotation.rater_id, annotation.order_key)
            known.setdefault(chain, {})[annotation.revision] = annotation
    return known


def from_file(row: ImportedAnnotation, previous: Annotation | None) -> Annotation:
    return Annotation(
        item_id=row.item_id,
        rater=row.rater,
        order=list(row.order),
        order_key=row.order_key,
        answers=dict(row.answers),
        reason=row.reason,
        reference=row.reference,
        confidence=row.confidence,
        seconds=row.seconds,
        counted=row.counted,
        guideline_version=row.guideline_version,
        rubric_version=row.rubric_version,
        revision=row.revision,
        replaces=previous,
        metadata=dict(row.metadata),
        submitted_at=row.submitted_at or timezone.now(),
    )


def keep(made: Sequence[Annotation]) -> None:
    """Write first the first revisions, then those that replace them: a row must be there before it is named."""
    for revision in sorted({annotation.revision for annotation in made}):
        wave = (annotation for annotation in made if annotation.revision == revision)
        Annotation.objects.bulk_create(wave, batch_size=500)
