"""Items whose answer is known: the sole writer of Gold and GoldAnswer, and of an item's being gold.

In the queue a gold item is like any other: leased, answered, undone by the same pages. Whether one comes next is
drawn from the rater, the item that would come otherwise, and how many gold items they were given: no query is asked
as long as none does, and nobody can tell from the order of things.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from annotate import aggregation, audit, changes, slots, tallies
from annotate.models import (
    Annotation,
    Assignment,
    Change,
    Gold,
    GoldAnswer,
    Item,
    Membership,
    Project,
    Question,
    Rater,
    User,
)
from annotate.quality import expected
from annotate.questions import check_answers, reads_texts, text_of
from annotate.statistics.intervals import wilson

MIXED_IN = frozenset({Gold.MIXED, Gold.ATTENTION})


class GoldError(Exception):
    """An item cannot be made gold as asked; the message says why."""


# --- The pure core --------------------------------------------------------------------------------------------


def drawn(rater_id: int, item_id: int, given: int) -> float:
    """A number from 0 to 1 that is fixed by its seed: who, instead of which item, after how many gold items."""
    digest = hashlib.sha256(f"gold:{rater_id}:{item_id}:{given}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_due(rater: Rater, item_id: int, rate: int) -> bool:
    """Is a gold item to come before this one? `rate` is per cent of what an annotator gets."""
    return rate > 0 and drawn(rater.pk, item_id, rater.gold_given) < rate / 100


def accuracy(right: int, seen: int) -> dict[str, Any]:
    """The share of right answers with its 95% interval (Wilson); the share is None before the first."""
    low, high = wilson(right, seen)
    return {"share": right / seen if seen else None, "low": low, "high": high, "right": right, "n": seen}


# --- The queue ------------------------------------------------------------------------------------------------


def unseen(rater: Rater, uses: Iterable[str]) -> QuerySet[Gold]:
    """The project's gold items of these uses that the rater was never given, or gave back."""
    met = Assignment.objects.filter(item=OuterRef("item"), rater=rater).exclude(state=Assignment.EXPIRED)
    return Gold.objects.filter(item__project=rater.project_id, use__in=uses).filter(~Exists(met))


def instead_of(rater: Rater, item_id: int, rate: int, open_pools: Sequence[int | None]) -> int | None:
    """The gold item that comes before this one, if one is due and left for the rater; counted as given."""
    if not is_due(rater, item_id, rate):
        return None
    named = [pool for pool in open_pools if pool is not None]
    theirs = Q(item__pool__in=named) | Q(item__pool=None)
    left = list(unseen(rater, MIXED_IN).filter(theirs).order_by("pk").values_list("item", flat=True))
    if not left:
        return None
    place = int(drawn(rater.pk, -item_id, rater.gold_given) * len(left))
    Rater.objects.filter(pk=rater.pk).update(gold_given=F("gold_given") + 1)
    rater.gold_given += 1
    return left[place]


# --- Scores ---------------------------------------------------------------------------------------------------


def score(annotation: Annotation) -> GoldAnswer | None:
    """Keep how the rater did, inside the caller's transaction.

    None where the item is gold no longer, or the quiz it belongs to has ended.
    """
    gold = Gold.objects.filter(item=annotation.item_id).first()
    attempt = attempt_of(annotation, gold) if gold else None
    if gold is None or attempt is None:
        return None
    kinds = dict(Question.objects.filter(project=annotation.item.project_id).values_list("name", "kind"))
    wrong = expected.missed(kinds, gold.answers, annotation.answers, gold.tolerance)
    before = GoldAnswer.objects.filter(gold=gold, rater=annotation.rater_id, attempt=attempt).first()
    made, _ = GoldAnswer.objects.update_or_create(
        gold=gold,
        rater_id=annotation.rater_id,
        attempt=attempt,
        defaults={"annotation": annotation, "is_right": not wrong, "missed": wrong},
    )
    if gold.use in MIXED_IN:
        gained = int(made.is_right) - int(before.is_right if before else False)
        Rater.objects.filter(pk=annotation.rater_id).update(
            gold_seen=F("gold_seen") + int(before is None), gold_right=F("gold_right") + gained
        )
        tallies.add(project_id=annotation.item.project_id, counts={tallies.GOLD_ANSWERS: int(before is None)})
    return made


def attempt_of(annotation: Annotation, gold: Gold) -> int | None:
    """Which attempt an answer belongs to; the first, but for training and quiz. None once the quiz has its result."""
    if gold.use in MIXED_IN:
        return 1
    of_rater = Membership.objects.filter(user__raters=annotation.rater_id, project=annotation.item.project_id)
    member = of_rater.first()
    if member is None:
        return 1
    return None if gold.use == Gold.QUIZ and member.quiz_state else member.quiz_attempt


def rows(project: Project) -> list[dict[str, Any]]:
    """The project's gold items with how often each was met and answered as expected."""
    found = Gold.objects.filter(item__project=project).select_related("item").defer("item__prompt", "item__metadata")
    counted = GoldAnswer.objects.filter(gold__item__project=project).order_by().values("gold")
    given = {
        row["gold"]: (row["right"], row["met"])
        for row in counted.annotate(met=Count("pk"), right=Count("pk", filter=Q(is_right=True)))
    }
    return [{"gold": row, **accuracy(*given.get(row.pk, (0, 0)))} for row in found.order_by("use", "position", "pk")]


# --- Marking --------------------------------------------------------------------------------------------------


def checked(item: Item, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Expected answers, of which some may be left out, checked like any others. Raises AnswerError."""
    asked = [question for question in item.project.questions.all() if question.name in answers]
    responses = list(item.responses.all())
    texts = tuple(text_of(response.messages) for response in responses) if reads_texts(asked) else None
    return check_answers(asked, answers, len(responses), texts)


@transaction.atomic
def mark(
    *,
    item: Item,
    answers: Mapping[str, Any],
    by: User | None,
    use: str = Gold.MIXED,
    tolerance: Mapping[str, float] | None = None,
    explanation: str = "",
) -> Gold:
    """Say what is expected of an item: it leaves the queue and the labels, and tells how well people answer.

    Raises GoldError where nothing is expected, and AnswerError where an answer does not fit its question.
    """
    slots.lock([item.pk])
    kept = checked(item, answers)
    if not kept:
        raise GoldError("Nothing is expected: answer at least one question.")
    values = {"answers": kept, "use": use, "tolerance": dict(tolerance or {}), "explanation": explanation}
    last = Gold.objects.filter(item__project=item.project_id).count()
    gold, _ = Gold.objects.update_or_create(
        item=item, defaults=values, create_defaults={**values, "created_by": by, "position": last}
    )
    change_state(item, Item.GOLD)
    after = {"use": use, "expected": kept}
    record(item, audit.CHANGED, by, after=after)
    return gold


@transaction.atomic
def unmark(*, item: Item, by: User | None) -> None:
    """Make it an ordinary item again. What was answered meanwhile stays uncounted; what was before counts again."""
    slots.lock([item.pk])
    Gold.objects.filter(item=item).delete()
    change_state(item, Item.OPEN)
    record(item, audit.REMOVED, by)


def record(item: Item, verb: str, by: User | None, **values: Any) -> None:
    audit.record(project=item.project, by=by, verb=verb, kind="gold", object_id=item.pk, words=str(item), **values)


def kept_counts(routes: Sequence[str], by: int) -> Counter[str]:
    """What the kept counts gain (1) or lose (-1) where items of these routes become gold: they ask for no label."""
    counts = Counter({tallies.GOLD: by * len(routes), tallies.ITEMS: -by * len(routes)})
    for route in routes:
        if route:
            counts[tallies.ROUTED[route]] -= by
    return counts


def change_state(item: Item, state: str) -> None:
    """Into gold or out of it, with all that follows: places, labels, the kept counts. The caller holds the item."""
    if state == item.state:
        return
    counts: Counter[str] = Counter()
    if state == Item.GOLD:
        counts = aggregation.set_aside(item, state)
    else:
        Item.objects.filter(pk=item.pk).update(state=state)
        for _items, difference in aggregation.relabel([item.pk]).values():
            counts.update(difference)
    slots.settle([item.pk])
    counts.update(kept_counts([item.route], 1 if state == Item.GOLD else -1))
    item.refresh_from_db(fields=["state", "slots_open"])
    changes.record(project_id=item.project_id, kind=Change.RELABELLED, item_ids=[item.pk])
    tallies.add(project_id=item.project_id, counts=counts)


@transaction.atomic
def mark_imported(*, project: Project, golds: Sequence[Gold]) -> None:
    """Keep the gold of a file's new items, which have neither labels nor places yet; inside the file's transaction."""
    if not golds:
        return
    Gold.objects.bulk_create(golds, batch_size=500)
    Item.objects.filter(pk__in=[gold.item_id for gold in golds]).update(state=Item.GOLD, slots_open=0)
    tallies.add(project_id=project.pk, counts=kept_counts([""] * len(golds), 1))
