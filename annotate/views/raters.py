"""Raters: everybody who rates in a project, one of them over time, and who is on just now."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from annotate import access
from annotate.managing import dashboards, workload
from annotate.models import Annotation

HEADS = [
    ("name", _("rater")),
    ("answers", _("answers")),
    ("time", _("active time")),
    ("pace", _("median")),
    ("seen", _("last answer")),
    ("agreement", _("agrees")),
    ("side", _("first side")),
    ("skipped", _("skipped")),
    ("flagged", _("flagged")),
]
DAYS = 60  # of one rater's work
NEWEST = 50  # of one rater's answers


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """Every rater with kept numbers, by ?sort=."""
    project = access.reviewed_project(access.signed_in(request), slug)
    sort = request.GET.get("sort", "answers")
    context = {"project": project, "rows": dashboards.raters(project, sort), "heads": HEADS, "sort": sort}
    return render(request, "annotate/raters.html", context)


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One rater's answers over time, and the last of them."""
    rater = access.reviewed_rater(access.signed_in(request), slug, pk)
    first = dashboards.midnight(DAYS - 1)
    days = dashboards.days_of(workload.of_days(rater.project, first, [rater.pk]), first, DAYS)
    newest = Annotation.objects.filter(rater=rater).select_related("item").defer("item__prompt", "item__metadata")
    context = {
        "project": rater.project,
        "rater": rater,
        "row": dashboards.rater_facts(rater.project, [rater])[rater.pk],
        "days": days,
        "width": DAYS,
        "highest": max(day.answers for day in days),
        "annotations": newest.order_by("-submitted_at")[:NEWEST],
    }
    return render(request, "annotate/rater.html", context)


@require_safe
def on(request: HttpRequest, slug: str) -> HttpResponse:
    """Who holds an item just now, for the dashboard's poll."""
    project = access.reviewed_project(access.signed_in(request), slug)
    return render(request, "annotate/_on.html", {"project": project, "people": dashboards.who_is_on(project)})
