"""Adjudication: which disagreement a reviewer sees next, the verdict, and what it teaches.

The sole writer of Return. The queue is one range over the index `item_review`, by `review_value`, which aggregation
keeps with the labels (`annotate.quality.doubt`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotate import audit, queue
from annotate.models import Annotation, Item, Label, Project, Question, Rater, Return, User
from annotate.quality import expected
from annotate.quality.answering import in_words
from annotate.submitting import record_verdict, withdraw_verdict

LONGEST = 4000  # characters of a comment


class ReviewError(Exception):
    """A verdict cannot be given or taken back as asked; the message says why."""


# --- The queue ------------------------------------------------------------------------------------------------


def next_item(project: Project, after: tuple[float, int] | None = None) -> Item | None:
    """The item whose review is worth most; with `after` (its value and id), the one that follows that."""
    waiting = Item.objects.filter(project=project, review_value__gt=0)
    if after is not None:
        value, pk = after
        waiting = waiting.filter(Q(review_value__lt=value) | Q(review_value=value, pk__gt=pk))
    return waiting.order_by("-review_value", "pk").select_related("project").first()


def waiting(project: Project, most: int = 1000) -> int:
    """How many items wait for a verdict, counted up to `most`."""
    return len(Item.objects.filter(project=project, review_value__gt=0).values_list("pk")[:most])


@dataclass(frozen=True)
class Said:
    """One rater's answer in force, in words, in stored order."""

    annotation: Annotation
    words: str
    is_verdict: bool


def said_on(item: Item, questions: list[Question]) -> list[Said]:
    """What was said about the item, people first; former revisions are left out."""
    rows = Annotation.objects.filter(item=item, replaced_by=None).select_related("rater")
    stored = list(range(item.responses.count()))
    return [
        Said(row, in_words(row.answers, questions, stored), row.pk == item.verdict_id)
        for row in rows.order_by("rater__kind", "rater__name", "order_key")
    ]


def answers_of(labels: Sequence[Label]) -> dict[str, Any]:
    """The labels as somebody's answers, for a reviewer who lets them stand."""
    answers: dict[str, Any] = {}
    for label in labels:
        question, value = label.question, label.value
        if question.kind == Question.PREFERENCE:
            answers[question.name] = {"choice": value}
        elif question.kind != Question.CHOICE or question.config.get("multiple") or len(value) == 1:
            answers[question.name] = value
    return answers


# --- The verdict ----------------------------------------------------------------------------------------------


@transaction.atomic
def decide(
    *, item: Item, by: User, answers: Mapping[str, Any], comment: str = "", asks_again: bool = False
) -> Annotation:
    """The reviewer's answer decides the labels, and comes back to the people who answered otherwise.

    Raises ReviewError without an answer or on gold, and questions.AnswerError.
    """
    if not answers:
        raise ReviewError("Decide at least one question.")
    if item.state == Item.GOLD:
        raise ReviewError("The item is gold: its expected answer is changed there.")
    rater = queue.rater_for(user=by, project=item.project)
    verdict = record_verdict(item=item, rater=rater, answers=answers, reason=comment[:LONGEST])
    kinds = dict(Question.objects.filter(project=item.project).values_list("name", "kind"))
    others = Annotation.objects.filter(item=item, replaced_by=None, rater__kind=Rater.HUMAN, rater__user__isnull=False)
    Return.objects.filter(item=item).delete()  # of a former verdict: the last one is what teaches
    Return.objects.bulk_create(
        Return(
            item=item,
            rater_id=other.rater_id,
            annotation=other,
            verdict=verdict,
            comment=comment[:LONGEST],
            asks_again=asks_again,
            created_by=by,
        )
        for other in others.exclude(rater=rater)
        if differs(kinds, verdict.answers, other.answers)
    )
    words = str(item)
    audit.record(
        project=item.project, by=by, verb=audit.CHANGED, kind="verdict", object_id=item.pk, words=words,
        after=dict(verdict.answers),
    )  # fmt: skip
    item.verdict = verdict
    return verdict


def restore(*, rows: Iterable[Return]) -> None:
    """What an export says was returned to its raters."""
    Return.objects.bulk_create(rows)


def differs(kinds: Mapping[str, str], verdict: Mapping[str, Any], answers: Mapping[str, Any]) -> bool:
    """Did they answer one of the questions that the verdict decides, and otherwise?"""
    shared = {name: answer for name, answer in verdict.items() if answers.get(name) is not None}
    return bool(expected.missed(kinds, shared, answers, {}))


@transaction.atomic
def withdraw(*, item: Item, by: User) -> None:
    """Take the verdict back: people's answers decide again, and what was returned is no longer. Raises ReviewError."""
    if item.verdict_id is None:
        raise ReviewError("There is no verdict to take back.")
    withdraw_verdict(item=item)
    Return.objects.filter(item=item).delete()
    audit.record(project=item.project, by=by, verb=audit.WITHDRAWN, kind="verdict", object_id=item.pk, words=str(item))


# --- What comes back to people --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Returned:
    """What an annotator sees of a returned item, in the order in which it was presented to them."""

    row: Return
    said: str
    decided: str
    assignment_id: int | None
    revised: bool


def returned_to(rater: Rater | None, project: Project, most: int = 50) -> list[Returned]:
    """The items that came back to a rater, the newest first."""
    if rater is None:
        return []
    questions = list(project.questions.all())
    rows = Return.objects.filter(rater=rater).select_related("item", "annotation", "verdict")
    found = list(rows.defer("item__prompt", "item__metadata").order_by("-created_at")[:most])
    own = dict(rater.assignments.filter(item__in=[row.item_id for row in found]).values_list("item", "pk"))
    revised = set(
        Annotation.objects.filter(replaces__in=[row.annotation_id for row in found]).values_list("replaces", flat=True)
    )
    return [
        Returned(
            row,
            in_words(row.annotation.answers, questions, row.annotation.order),
            in_words(row.verdict.answers, questions, row.annotation.order),
            own.get(row.item_id),
            row.annotation_id in revised,
        )
        for row in found
    ]


def mark_seen(*, returned: Return) -> None:
    Return.objects.filter(pk=returned.pk, seen_at=None).update(seen_at=timezone.now())
