"""Loops: what is retrained by itself, when it looks, what it did."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from annotate.access import managed_project, signed_in
from annotate.models import Project
from pipeline import access, loops, queries
from pipeline.forms import LoopForm

form_view = require_http_methods(["GET", "HEAD", "POST"])


@form_view
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's loops, and the form for a new one."""
    user = signed_in(request)
    project = managed_project(user, slug)
    form = LoopForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        try:
            loop = loops.create_loop(project=project, by=user, **form.cleaned_data)
            words = ngettext(
                "“%(name)s” looks every minute from now on.",
                "“%(name)s” looks every %(minutes)d minutes from now on.",
                loop.every_minutes,
            )
            messages.success(request, words % {"name": loop.name, "minutes": loop.every_minutes})
            return redirect("loops", slug)
        except loops.LoopError as error:
            form.add_error("name", str(error))
    status = 422 if form.errors else 200
    return render(request, "pipeline/loops.html", loops_context(project, form), status=status)


def loops_context(project: Project, form: LoopForm) -> dict[str, Any]:
    return {
        "project": project,
        "form": form,
        "rows": queries.loop_rows(project),
        "firings": queries.firings_of(project),
    }


@require_POST
def pause(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Pause a loop, or let a paused one go on (`enabled` is 1)."""
    user = signed_in(request)
    loop = access.managed_loop(user, slug, pk)
    loops.set_enabled(loop=loop, enabled=request.POST.get("enabled") == "1", by=user)
    return redirect("loops", slug)


@require_POST
def delete(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    loop = access.managed_loop(user, slug, pk)
    loops.delete_loop(loop=loop, by=user)
    messages.success(request, _("“%(name)s” is gone. The runs and models it made stay.") % {"name": loop.name})
    return redirect("loops", slug)
