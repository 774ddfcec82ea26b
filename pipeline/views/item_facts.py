"""What the pipeline knows about one item: from its routes to the models that it changed. Part of the item's page."""

from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.access import reviewed_item, signed_in
from annotate.managing.timelines import in_order, of_item
from annotate.models import Item
from pipeline import timelines
from pipeline.models import Belief, JudgeCall, ModelVersion, Route, SnapshotItem
from pipeline.quality.showing import silenced_on

TRAIN = "train"


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    item = reviewed_item(signed_in(request), slug, pk)
    calls = JudgeCall.objects.filter(item=item).select_related("judge").order_by("judge__name", "order_key")
    members = SnapshotItem.objects.filter(item=item).select_related("snapshot").order_by("-snapshot__number")
    found: dict[str, Any] = {
        "routes": list(Route.objects.filter(item=item)),
        "calls": list(calls.defer("logprobs", "reply")),
        "members": list(members),
        "models": models_changed_by(item),
    }
    events = in_order([*of_item(item), *timelines.of_item(item, **found)])
    belief = Belief.objects.filter(item=item).defer("columns").first()
    context = {
        "project": item.project,
        "item": item,
        "events": events,
        "belief": belief,
        "silenced": silenced_on(item),
        **found,
    }
    return render(request, "pipeline/_item_facts.html", context)


def models_changed_by(item: Item) -> list[ModelVersion]:
    """The models that learned from this item: in their training split, or in that of their reward model."""
    learned = SnapshotItem.objects.filter(item=item, split=TRAIN).values("snapshot")
    found = ModelVersion.objects.filter(Q(snapshot__in=learned) | Q(reward_model__snapshot__in=learned))
    return list(found.select_related("snapshot", "reward_model").order_by("id"))
