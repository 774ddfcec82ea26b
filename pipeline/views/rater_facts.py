"""What a rater's answers went into: part of the page that asks whether to leave them out."""

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.access import managed_rater, signed_in
from annotate.models import Annotation, Rater
from pipeline.models import ModelVersion, SnapshotItem


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The snapshots and models that learned from the rater. They stay as they are; this names them."""
    rater = managed_rater(signed_in(request), slug, pk)
    used = used_in(rater)
    models = ModelVersion.objects.filter(Q(snapshot__in=used) | Q(reward_model__snapshot__in=used)).order_by("id")
    context = {"project": rater.project, "snapshots": used, "models": models}
    return render(request, "pipeline/_rater_facts.html", context)


def used_in(rater: Rater) -> dict[int, dict[str, int]]:
    """Snapshot id → its number, and how many of the rater's annotations made a label of it."""
    mine = set(Annotation.objects.filter(rater=rater).values_list("pk", flat=True))
    items = Annotation.objects.filter(rater=rater).values("item")
    members = SnapshotItem.objects.filter(item__in=items).values_list("snapshot", "snapshot__number", "annotations")
    used: dict[int, dict[str, int]] = {}
    for snapshot, number, annotations in members.iterator():
        hits = len(mine.intersection(annotations))
        if hits:
            used.setdefault(snapshot, {"number": number, "annotations": 0})["annotations"] += hits
    return used
