"""What judges cost a project: part of its dashboard."""

from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import tallies
from annotate.access import reviewed_project, signed_in
from pipeline import money
from pipeline.models import Judge


@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    project = reviewed_project(signed_in(request), slug)
    judges = Judge.objects.filter(project=project)
    sums = judges.aggregate(spent=Sum("spent_units", default=0), unknown=Sum("unknown_units", default=0))
    labels = tallies.read(project.pk).get(tallies.LABELS["judge"], 0)
    spent = money.amount(sums["spent"])
    context = {
        "project": project,
        "spent": spent,
        "unknown": money.amount(sums["unknown"]),
        "labels": labels,
        "each": spent / labels if labels else None,
    }
    return render(request, "pipeline/_cost.html", context)
