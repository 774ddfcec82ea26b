"""Routing: the shares, what they led to, and why each item went where it went."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import queries
from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project
from pipeline.routing import deciding

AT_ONCE = 2000  # items that “route now” decides about while somebody waits; the worker does the rest


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    project = reviewed_project(user, slug)
    context = {**standing(project), "manages": role_in(user, project) == MANAGER}
    return render(request, "pipeline/routing.html", context)


@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """Counts and the newest decisions, for the page's poll."""
    return render(request, "pipeline/_routing_live.html", standing(reviewed_project(signed_in(request), slug)))


def standing(project: Project) -> dict[str, Any]:
    progress = queries.progress(project)
    return {
        "project": project,
        "progress": progress,
        "routed": sum(progress["routed"].values()),
        "waiting": deciding.unrouted(project).count(),
        "policy": deciding.policy_of(project),
        "stuck": deciding.waiting_for_judge(project),
        "routes": deciding.newest_routes(project),
    }


@require_POST
def route_now(request: HttpRequest, slug: str) -> HttpResponse:
    """Decide about what is not routed yet."""
    user = signed_in(request)
    project = managed_project(user, slug)
    counts = deciding.route_items(project=project, limit=AT_ONCE, by=user)
    if counts["routed"]:
        messages.success(
            request,
            f"{counts['routed']} items are routed: {counts['human']} to people, {counts['judge']} to the judge, "
            f"{counts['both']} to both. {counts['note']}".strip(),
        )
    else:
        messages.info(request, "Nothing waited to be routed.")
    return redirect("routing", slug)
