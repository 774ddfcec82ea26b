"""The audit log: who did what to a project, and, for admins, everywhere."""

from typing import Any

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import access, audit
from annotate.managing.filters import ActsFilter
from annotate.models import Act, User

PAGE = 50


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The acts of one project, newest first."""
    project = access.managed_project(access.signed_in(request), slug)
    acts = Act.objects.filter(project=project)
    return render(request, "annotate/acts.html", {"project": project, **listing(request, acts, {"project": project})})


@require_safe
def everywhere(request: HttpRequest) -> HttpResponse:
    """All acts, of every project and of none."""
    access.admin(access.signed_in(request))
    return render(request, "annotate/acts.html", listing(request, Act.objects.all(), {}))


def listing(request: HttpRequest, acts: Any, scope: dict[str, Any]) -> dict[str, Any]:
    """One page of the acts that fit the address; it starts at an id, so the last costs as little as the first."""
    people = User.objects.filter(Exists(Act.objects.filter(by=OuterRef("pk"), **scope))).order_by("username")
    form = ActsFilter(request.GET, people=people)
    rows = list(acts.filter(**form.wanted()).select_related("by", "project").order_by("-pk")[: PAGE + 1])
    shown = rows[:PAGE]
    for act in shown:
        act.said = audit.VERBS.get(act.verb, act.verb)
        act.changes = changes_of(act)
    return {"form": form, "acts": shown, "older": shown[-1].pk if len(rows) > PAGE else None}


def changes_of(act: Act) -> list[dict[str, Any]]:
    """What changed, name by name, as the page shows it."""
    names = [*act.before, *(name for name in act.after if name not in act.before)]
    return [{"name": name, "before": act.before.get(name), "after": act.after.get(name)} for name in names]
