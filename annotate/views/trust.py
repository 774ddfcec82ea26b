"""Suspicions that wait for a person, everybody's signals, and leaving a rater's answers out."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access, tasks
from annotate.models import Rater, Suspicion
from annotate.quality import exclusion, watching


@never_cache
@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """What the worker found about everybody's last answers, and what was left out."""
    project = access.reviewed_project(access.signed_in(request), slug)
    context = {
        "project": project,
        "table": watching.table(project),
        "exclusions": exclusion.rows(project),
        "raters": Rater.objects.filter(project=project, excluded_at=None).order_by("kind", "name")[:500],
        **watching.suspicions(project),
    }
    return render(request, "annotate/quality/trust.html", context)


DECISIONS = {Suspicion.DISMISSED: access.REVIEWERS, Suspicion.TALKED: access.REVIEWERS,
             Suspicion.PAUSED: access.MANAGERS}  # fmt: skip


@require_POST
def decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Dismiss a suspicion with a note, or say that it was talked about; managers may pause the person."""
    user = access.signed_in(request)
    found = access.reviewed_suspicion(user, slug, pk)
    state = request.POST.get("state", "")
    if state in DECISIONS:
        access.project(user, slug, DECISIONS[state])
        note = request.POST.get("note", "").replace("\x00", "")
        try:
            watching.decide(suspicion=found, by=user, state=state, note=note)
            messages.success(request, _("Decided."))
        except watching.SuspicionError as error:
            messages.error(request, str(error))
    return redirect("trust", slug)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def exclude(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What would change if a rater's answers were left out; a POST does it."""
    user = access.signed_in(request)
    rater = access.managed_rater(user, slug, pk)
    if request.method != "POST":
        context = {"project": rater.project, "rater": rater, "preview": exclusion.preview(rater)}
        return render(request, "annotate/quality/exclude.html", context)
    try:
        reason = request.POST.get("reason", "").replace("\x00", "").strip()
        made = exclusion.exclude(rater=rater, by=user, reason=reason)
    except exclusion.ExclusionError as error:
        messages.error(request, str(error))
        return redirect("trust", slug)
    watching.close_as_excluded(rater=rater, by=user, note=reason)
    transaction.on_commit(lambda: tasks.bring_up_to_exclusion.delay(made.pk))
    return redirect("exclusion", slug, made.pk)


@never_cache
@require_safe
def excluded(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How far an exclusion is; htmx asks for that alone."""
    found = access.managed_exclusion(access.signed_in(request), slug, pk)
    fragment = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    context = {"project": found.rater.project, "exclusion": found}
    template = "annotate/quality/_exclusion.html" if fragment else "annotate/quality/exclusion.html"
    return render(request, template, context)


@require_POST
def undo(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take a rater's answers in again."""
    user = access.signed_in(request)
    found = access.managed_exclusion(user, slug, pk)
    try:
        exclusion.undo(exclusion=found, by=user)
        transaction.on_commit(lambda: tasks.bring_up_to_exclusion.delay(found.pk))
    except exclusion.ExclusionError as error:
        messages.error(request, str(error))
    return redirect("exclusion", slug, pk)
