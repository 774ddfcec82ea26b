"""Somebody's own page in a project: what they did, how well, and what came back to them."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.models import Rater
from annotate.quality import discussion, review


@never_cache
@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    user = access.signed_in(request)
    project = access.project(user, slug)
    rater = Rater.objects.filter(user=user, project=project).first()
    context = {
        "project": project,
        "returned": review.returned_to(rater, project),
        "comments": discussion.recent_of(user, project.pk),
    }
    return render(request, "annotate/quality/mine.html", context)


@require_POST
def seen(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put a returned item away."""
    review.mark_seen(returned=access.own_return(access.signed_in(request), slug, pk))
    return redirect("mine", slug)
