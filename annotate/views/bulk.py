"""Acts on many items: what would change, doing it, how far it is, undoing it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from annotate import access, tasks
from annotate.managing import bulk
from annotate.managing.filters import ItemsFilter
from annotate.models import BulkAct, Project

LISTED = 50


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """What was done to many items, newest first."""
    project = access.managed_project(access.signed_in(request), slug)
    acts = list(BulkAct.objects.filter(project=project).defer("items").select_related("by", "undone_by")[:LISTED])
    return render(request, "annotate/bulks.html", {"project": project, "rows": [shown(act) for act in acts]})


def shown(act: BulkAct) -> dict[str, object]:
    """An act as pages show it."""
    return {"act": act, "words": bulk.VERBS[act.verb].words, "value": act.value}


@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """How many items would change, and the first of them; nothing is changed."""
    project = access.managed_project(access.signed_in(request), slug)
    try:
        asked = asked_in(request, project)
    except bulk.BulkError as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('items', args=[slug])}?{request.POST.get('choices', '')}")
    context = {"project": project, "asked": asked, "preview": bulk.preview(asked), "sent": request.POST}
    return render(request, "annotate/bulk_preview.html", {**context, "items": request.POST.getlist("items")})


@require_POST
def start(request: HttpRequest, slug: str) -> HttpResponse:
    user = access.signed_in(request)
    project = access.managed_project(user, slug)
    try:
        act = bulk.start(asked=asked_in(request, project), by=user, send=tasks.run_bulk_act.delay)
    except bulk.BulkError as error:
        messages.error(request, str(error))
        return redirect("items", slug)
    return redirect("items_bulk", slug, act.pk)


def asked_in(request: HttpRequest, project: Project) -> bulk.Asked:
    """What the form says. Raises BulkError."""
    sent = request.POST
    ticked = [int(pk) for pk in sent.getlist("items") if pk.isdecimal() and len(pk) < 19]
    everything = sent.get("scope") == "all"
    if not everything and not ticked:
        raise bulk.BulkError(_("Tick the items to change, or choose all that fit."))
    choices = ItemsFilter(QueryDict(sent.get("choices", "")), project=project).kept()
    return bulk.ask(
        project=project,
        verb=sent.get("verb", ""),
        value=sent.get("value", ""),
        choices=choices if everything else {},
        items=[] if everything else ticked,
    )


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    act = access.managed_bulk_act(access.signed_in(request), slug, pk)
    return render(request, "annotate/bulk.html", {"project": act.project, **shown(act)})


@require_safe
def progress(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How far it is, for the page's poll, which ends with it."""
    act = access.managed_bulk_act(access.signed_in(request), slug, pk)
    response = render(request, "annotate/_bulk.html", {"project": act.project, **shown(act)})
    if not act.is_working:
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_POST
def undo(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = access.signed_in(request)
    act = access.managed_bulk_act(user, slug, pk)
    try:
        bulk.undo(act=act, by=user, send=tasks.run_bulk_act.delay)
    except bulk.BulkError as error:
        messages.error(request, str(error))
    return redirect("items_bulk", slug, pk)
