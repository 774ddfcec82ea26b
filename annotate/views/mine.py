"""Somebody's own page in a project: what they did, how well, and what came back to them."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.models import Rater
from annotate.quality import discussion, own, review


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
        "leaderboard": own.leaderboard(project) if project.has_leaderboard else [],
        "is_member": user.member is not None,
        "is_on_leaderboard": user.member is not None and user.member.on_leaderboard,
        **own.figures(rater, project),
    }
    return render(request, "annotate/quality/mine.html", context)


@require_POST
def leaderboard(request: HttpRequest, slug: str) -> HttpResponse:
    """Go on the leaderboard, or off it."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    if user.member is not None and project.has_leaderboard:
        own.join_leaderboard(member=user.member, joins=bool(request.POST.get("joins")))
    return redirect("mine", slug)


@require_POST
def seen(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put a returned item away."""
    review.mark_seen(returned=access.own_return(access.signed_in(request), slug, pk))
    return redirect("mine", slug)
