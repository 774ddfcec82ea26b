"""What a judge's page shows, each a bounded number of queries over a bounded number of rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count

from annotate.models import Item
from pipeline.judging import calls, protocol
from pipeline.ml.evaluation.intervals import wilson
from pipeline.models import Judge, JudgeCall

NEWEST = 20_000  # calls looked at for consistency: what the judge is like now, at a bounded cost
SPOKEN = frozenset({"a", "b", "tie"})


def states(judges: Sequence[Judge]) -> dict[int, dict[str, int]]:
    """Judge → how many of its calls are in each state."""
    counts = {judge.pk: dict.fromkeys((state for state, _ in JudgeCall.STATES), 0) for judge in judges}
    counted = JudgeCall.objects.filter(judge__in=judges).values("judge_id", "state").annotate(n=Count("pk"))
    for row in counted.order_by():
        counts[row["judge_id"]][row["state"]] = row["n"]
    return counts


def consistencies(judges: Sequence[Judge]) -> dict[int, dict[str, Any]]:
    """Judge → how often it says the same in both orders, and which place it favours, from their newest answers."""
    newest = JudgeCall.objects.filter(judge__in=judges, state=JudgeCall.ANSWERED).order_by("-id")
    answers: dict[int, list[tuple[int, str, str]]] = {judge.pk: [] for judge in judges}
    for judge, item, order, choice in newest.values_list("judge_id", "item_id", "order_key", "choice")[:NEWEST]:
        answers[judge].append((item, order, choice))
    return {judge: consistency_of(given) for judge, given in answers.items()}


def consistency_of(answers: Iterable[tuple[int, str, str]]) -> dict[str, Any]:
    """What one judge's answers, (item, order, choice in stored order), say: {"n", "share", "low", "high", "first"}.

    `share` is of items asked in both orders whose choice was the same, with its 95% interval; `first` the share of
    decided answers that named what stood first: far from ½ means that the place decides.
    """
    by_item: dict[int, set[str]] = defaultdict(set)
    asked: Counter[int] = Counter()
    places: Counter[bool] = Counter()
    for item, order, choice in answers:
        if choice not in SPOKEN:
            continue
        asked[item] += 1
        by_item[item].add(choice)
        if choice != "tie":
            places["ab".index(choice) == int(order.split("-")[0])] += 1
    both = [item for item, count in asked.items() if count == len(protocol.ORDERS)]
    same = sum(len(by_item[item]) == 1 for item in both)
    decided = places.total()
    low, high = wilson(same, len(both))
    return {
        "n": len(both),
        "share": same / len(both) if both else None,
        "low": low if both else None,
        "high": high if both else None,
        "first": places[True] / decided if decided else None,
    }


UNKNOWN = {"share": None, "low": None, "high": None, "items": 0}


def agreement(judge: Judge) -> Mapping[str, Any]:
    """How often it says what people say, as the project has last computed it: {"share", "low", "high", "items"}."""
    kept = judge.project.agreement.get("judges", [])
    return next((row for row in kept if row["name"] == judge.rater.name), UNKNOWN)


def newest_calls(judge: Judge, items: int = 12) -> list[dict[str, Any]]:
    """The items it was asked about last, each with its calls and whether the orders differ."""
    newest = JudgeCall.objects.filter(judge=judge, attempts__gt=0).order_by("-id").select_related("item", "annotation")
    found = newest.defer("item__prompt", "item__metadata", "logprobs")[: items * len(protocol.ORDERS)]
    grouped: dict[int, list[JudgeCall]] = defaultdict(list)
    for call in found:
        grouped[call.item_id].append(call)
    return [item_row(asked) for asked in grouped.values()]


def item_row(asked: list[JudgeCall]) -> dict[str, Any]:
    """One item's calls in the order of asking, and whether they contradict each other."""
    ordered = sorted(asked, key=lambda call: call.order_key)
    spoken = {call.choice for call in ordered if call.choice in SPOKEN}
    return {"item": ordered[0].item, "calls": ordered, "differ": len(spoken) > 1}


def example(judge: Judge, external_id: str = "") -> Item | None:
    """A pair of the project to try the judge on: the one named, or the newest."""
    pairs = calls.pairs().filter(project=judge.project_id).exclude(state=Item.ARCHIVED)
    if external_id:
        return pairs.filter(external_id=external_id).first()
    return pairs.order_by("-id").first()
