"""What a judge's page shows, each a bounded number of queries over a bounded number of rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Count

from annotate.models import Item
from pipeline.judging import calls, protocol
from pipeline.ml.evaluation.intervals import wilson
from pipeline.models import Judge, JudgeCall

NEWEST = 20_000  # calls looked at for consistency: what the judge is like now, at a bounded cost
SPOKEN = frozenset({"a", "b", "tie"})


def states(judge: Judge) -> dict[str, int]:
    """How many calls are in each state."""
    counted = JudgeCall.objects.filter(judge=judge).values_list("state").annotate(n=Count("pk")).order_by()
    return {state: 0 for state, _ in JudgeCall.STATES} | dict(counted)


def consistency(judge: Judge) -> dict[str, Any]:
    """How often the judge says the same in both orders, and which place it favours."""
    newest = JudgeCall.objects.filter(judge=judge, state=JudgeCall.ANSWERED).order_by("-id")
    return consistency_of(newest.values_list("item_id", "order_key", "choice")[:NEWEST])


def consistency_of(answers: Iterable[tuple[int, str, str]]) -> dict[str, Any]:
    """The same from (item, order, choice in stored order): {"n", "share", "low", "high", "first"}.

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


def agreement(judge: Judge) -> Mapping[str, Any] | None:
    """How often it says what people say, as the project has last computed it: {"share", "low", "high", "items"}."""
    kept = judge.project.agreement.get("judges", [])
    return next((row for row in kept if row["name"] == judge.rater.name), None)


def newest_calls(judge: Judge, items: int = 25) -> list[dict[str, Any]]:
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
