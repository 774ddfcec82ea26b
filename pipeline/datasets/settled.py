"""Reads a project's settled preferences, page by page: each with its item and the annotations that made it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotate.aggregation import REVIEWER
from annotate.models import Item, Label, Question, Response
from annotate.questions import SILENT

PAGE = 500  # items in memory at a time


@dataclass(frozen=True)
class Settled:
    """A label with what it stands for.

    `answers` are the messages of each response in stored order; `votes` the (annotation, rater) ids of those that made
    the label.
    """

    item: Item
    answers: list[list[dict[str, Any]]]
    value: str
    distribution: dict[str, float]
    strength: float | None
    decided_by: str
    votes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def probability(self) -> float:
        """P(the value is better | one of the two is): its share of both sides' probability, ½ to 1."""
        a, b = self.distribution.get("a", 0.0), self.distribution.get("b", 0.0)
        mine = {"a": a, "b": b}.get(self.value, 0.0)
        return max(0.5, mine / (a + b)) if a + b > 0 else 0.5


def settled_pages(question: Question) -> Iterator[list[Settled]]:
    """All labelled items of the question's project in the order of their ids; memory does not grow with them."""
    last = 0
    while True:
        page = read_page(question, last)
        if not page:
            return
        yield page
        last = page[-1].item.pk


def read_page(question: Question, after: int) -> list[Settled]:
    labels = Label.objects.filter(question=question, item__state=Item.LABELLED)
    ids = list(labels.filter(item_id__gt=after).order_by("item_id").values_list("item_id", flat=True)[:PAGE])
    facts = read_facts(question, ids)
    answers: dict[int, list[list[dict[str, Any]]]] = defaultdict(list)
    responses = Response.objects.filter(item_id__in=ids).order_by("item_id", "position")
    for item, messages in responses.values_list("item_id", "messages"):
        answers[item].append(messages)
    items = Item.objects.filter(pk__in=facts).only(*ITEM_FIELDS).order_by("pk")
    return [Settled(item=item, answers=answers[item.pk], **facts[item.pk]) for item in items]


ITEM_FIELDS = ("external_id", "prompt", "tags", "metadata", "is_sample")
LABEL_FIELDS = ("item_id", "value", "distribution", "strength", "decided_by", "item__verdict_id", "method")
VOTE_FIELDS = ("pk", "rater_id", "rater__kind", "counted", "replaced_by__pk", "answers", "rater__excluded_at")


def read_facts(question: Question, item_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Item id → its label and the votes behind it, read by one statement, so that the two belong together."""
    joined = Label.objects.filter(question=question, item_id__in=item_ids, item__state=Item.LABELLED)
    votes = (f"item__annotations__{name}" for name in VOTE_FIELDS)
    rows = joined.order_by("item_id", "item__annotations__pk").values_list(*LABEL_FIELDS, *votes)
    facts: dict[int, dict[str, Any]] = {}
    for item, value, distribution, strength, decided_by, verdict, method, *vote in rows:
        found = facts.setdefault(
            item,
            {
                "value": value,
                "distribution": distribution,
                "strength": strength,
                "decided_by": decided_by,
                "votes": [],
            },
        )
        annotation, rater, kind, counted, replaced, answers, excluded = vote
        counted = counted and excluded is None
        if method == REVIEWER:  # the reviewer's answer alone made this label
            counted, replaced, decided_by = annotation == verdict, None, kind
        if counted and replaced is None and kind == decided_by and speaks(answers, question.name):
            found["votes"].append((annotation, rater))
    return facts


def speaks(answers: Any, name: str) -> bool:
    """Do these answers hold a vote on the question?"""
    answer = answers.get(name) if isinstance(answers, dict) else None
    return isinstance(answer, dict) and answer.get("choice") not in SILENT
