"""Judges: the list, a new one, one judge with its numbers, trying it, changing it, asking it."""

from functools import partial
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from annotate import audit
from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from pipeline import access, tasks
from pipeline.judging import setup, statistics, trying
from pipeline.judging.forms import EndpointForm, LocalForm
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError
from pipeline.judging.settling import CapReached
from pipeline.models import Judge, JudgeCall

form_view = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """All judges of the project with what they did and cost."""
    user = signed_in(request)
    project = reviewed_project(user, slug)
    judges = list(Judge.objects.filter(project=project).select_related("project", "rater", "model_version"))
    states, consistencies = statistics.states(judges), statistics.consistencies(judges)
    rows = [
        {
            "judge": judge,
            "states": states[judge.pk],
            "consistency": consistencies[judge.pk],
            "agreement": statistics.agreement(judge),
        }
        for judge in judges
    ]
    context = {"project": project, "rows": rows, "manages": role_in(user, project) == MANAGER}
    return render(request, "pipeline/judges.html", context)


@form_view
def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Set up a judge: behind an endpoint, or (?kind=local) a model of the registry."""
    user = signed_in(request)
    project = managed_project(user, slug)
    kind = Judge.LOCAL if request.GET.get("kind") == Judge.LOCAL else Judge.ENDPOINT
    local = kind == Judge.LOCAL
    form: Any = LocalForm(request.POST or None, project=project) if local else EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            if local:
                judge = setup.create_local_judge(project=project, by=user, **form.cleaned_data)
            else:
                judge = setup.create_endpoint_judge(project=project, key=form.new_key or "", by=user, **form.settings)
            messages.success(request, f"{judge.name} is set up. Items go to it by the project's shares.")
            return redirect("judge", slug, judge.pk)
        except setup.SetupError as error:
            form.add_error("name", str(error))
    context = {"project": project, "form": form, "kind": kind}
    return render(request, "pipeline/judge_new.html", context, status=422 if form.errors else 200)


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One judge: how it stands, what it said last, how consistent it is, what it is asked."""
    user = signed_in(request)
    judge = access.seen_judge(user, slug, pk)
    context = {
        **standing(judge),
        "consistency": statistics.consistencies([judge])[judge.pk],
        "agreement": statistics.agreement(judge),
        "rows": statistics.newest_calls(judge),
        "preview": preview(judge),
        "manages": role_in(user, judge.project) == MANAGER,
    }
    return render(request, "pipeline/judge.html", context)


def standing(judge: Judge) -> dict[str, Any]:
    """The numbers at the top of the page, which change while it works."""
    states = statistics.states([judge])[judge.pk]
    run = judge.runs.order_by("-id").first() if judge.kind == Judge.LOCAL else None
    return {
        "project": judge.project,
        "judge": judge,
        "states": states,
        "asked": sum(states.values()),
        "done": states[JudgeCall.ANSWERED] + states[JudgeCall.UNPARSABLE],
        "run": run,
        "working": bool(judge.lease_token) or (run is not None and not run.ended),
    }


def preview(judge: Judge) -> dict[str, Any]:
    """What the judge is sent about the newest pair, or why it cannot be."""
    item = statistics.example(judge)
    if item is None:
        return {"sentence": "The project has no pair yet: import some, or let a model answer prompts."}
    try:
        return {"item": item, "messages": trying.preview(judge, item)}
    except ProtocolError as error:
        return {"sentence": str(error)}


@require_safe
def live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The numbers at the top, for the page's poll; 286 once nothing is pending."""
    judge = access.seen_judge(signed_in(request), slug, pk)
    context = standing(judge)
    response = render(request, "pipeline/_judge_live.html", context)
    if not context["states"][JudgeCall.PENDING] and not context["working"]:
        response.status_code = HttpResponseStopPolling.status_code
    return response


@form_view
def edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change an endpoint's settings; saving lets a judge that had stopped be asked again."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    if judge.kind == Judge.LOCAL:
        return redirect("judge", slug, pk)
    form = EndpointForm(request.POST or None, instance=judge)
    if request.method == "POST" and form.is_valid():
        setup.change_judge(judge=judge, key=form.new_key, by=signed_in(request), **form.settings)
        messages.success(request, "Saved. It is asked again with these settings.")
        return redirect("judge", slug, pk)
    context = {"project": judge.project, "judge": judge, "form": form}
    return render(request, "pipeline/judge_edit.html", context, status=422 if form.errors else 200)


@require_POST
def switch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Switch a judge on (`enabled` is 1) or off."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    enabled = request.POST.get("enabled") == "1"
    setup.change_judge(judge=judge, enabled=enabled, by=signed_in(request))
    words = "takes part again" if enabled else "is asked nothing more; what waits for it stays due"
    messages.success(request, f"{judge.name} {words}.")
    return redirect("judge", slug, pk)


@require_POST
def try_it(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ask it about one item, now, and show the raw exchange."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    wanted = request.POST.get("item", "").strip()
    item = statistics.example(judge, wanted)
    context: dict[str, Any] = {"project": judge.project, "judge": judge, "item": item}
    if item is None:
        context["sentence"] = f"There is no pair {wanted!r} here." if wanted else "The project has no pair yet."
    elif judge.kind == Judge.LOCAL:
        context["sentence"] = "A local model is asked by a run: press “Judge now” and look at its answers below."
    else:
        try:
            setup.record(judge, audit.TRIED, signed_in(request), after={"item": item.external_id})
            context["exchanges"] = trying.try_judge(judge=judge, item=item)
        except (ProtocolError, SecretError, CapReached) as error:
            context["sentence"] = str(error)
    judge.refresh_from_db()
    return render(request, "pipeline/_judge_trial.html", context)


@require_POST
def ask(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Judge now, even if it rests or has stopped; with `failed`, ask again what had failed."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    failed = "failed" in request.POST
    count = setup.ask_now(judge=judge, by=signed_in(request), failed=failed)
    if failed:
        messages.success(request, f"{count} questions are asked again.")
    transaction.on_commit(partial(tasks.judge_items_task.delay, judge.pk, again=True), robust=True)
    messages.success(request, "It is asked what is due.")
    return redirect("judge", slug, pk)
