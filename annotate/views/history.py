"""What somebody did last, and the problems they reported; the answers of those who look after the project."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access, flags, history, queries
from annotate.forms import FlagForm, ResolutionForm


@never_cache
@require_safe
def mine(request: HttpRequest, slug: str) -> HttpResponse:
    """The user's last items here; htmx gets the list alone, for the panel."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    context = {"project": project, "rows": history.finished(project, user.pk)}
    fragment = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    response = render(request, "annotate/_history.html" if fragment else "annotate/history.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_POST
def flag(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Report a problem with the item on the screen; the item stays there."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    form = FlagForm(request.POST, project=assignment.rater.project)
    raised = None
    if form.is_valid():
        raised = flags.raise_flag(assignment=assignment, **form.cleaned_data)
    if "HX-Request" not in request.headers:
        return redirect("label", slug)
    context = {"form": form, "raised": raised}
    return render(request, "annotate/_flagged.html", context, status=200 if raised else 422)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The problems that wait for an answer, the oldest first, and those answered last."""
    project = access.reviewed_project(access.signed_in(request), slug)
    return render(request, "annotate/flags.html", {"project": project, **queries.flags_of(project)})


@require_POST
def resolve(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Close a flag with an answer that the annotator reads in their history."""
    user = access.signed_in(request)
    found = access.reviewed_flag(user, slug, pk)
    form = ResolutionForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Write an answer first: the person who flagged the item will read it."))
    elif flags.resolve(flag=found, by=user, resolution=form.cleaned_data["resolution"]):
        messages.success(request, _("Answered. The annotator sees it in their last items."))
    else:
        messages.error(request, _("Somebody else has answered this one meanwhile."))
    return redirect("flags", slug)
