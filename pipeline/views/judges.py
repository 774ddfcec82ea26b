"""Judges: the list, a new one, one judge with its numbers, trying it, changing it, asking it."""

from functools import partial
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from annotate import audit
from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project, User
from pipeline import access, tasks
from pipeline.judging import calls, setup, statistics, trying
from pipeline.judging.config import Protocol, protocol_of
from pipeline.judging.evidence import EvidenceError
from pipeline.judging.forms import EndpointForm, GroupForm, LocalForm, RewardForm
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError, decrypt
from pipeline.judging.settling import CapReached
from pipeline.ml.configs import settings_of, to_dict
from pipeline.models import Judge, JudgeCall, JudgePrompt
from pipeline.quality import showing

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
    """Set up a judge of a kind (?kind=): an endpoint, a model of the registry, or several judges together."""
    user = signed_in(request)
    project = managed_project(user, slug)
    kind = request.GET.get("kind", Judge.ENDPOINT)
    kind = kind if kind in dict(Judge.KINDS) else Judge.ENDPOINT
    form = new_form(kind, request.POST or None, project)
    if request.method == "POST" and form.is_valid():
        try:
            judge = made_of(form, kind, project, user)
            messages.success(
                request, _("%(name)s is set up. Items go to it by the project's shares.") % {"name": judge.name}
            )
            return redirect("judge", slug, judge.pk)
        except setup.SetupError as error:
            form.add_error("name" if "name" in str(error) else None, str(error))
    context = {"project": project, "form": form, "kind": kind}
    return render(request, "pipeline/judge_new.html", context, status=422 if form.errors else 200)


def new_form(kind: str, data: Any, project: Project) -> Any:
    """The form of a new judge of this kind."""
    if kind == Judge.LOCAL:
        return LocalForm(data, project=project)
    if kind == Judge.REWARD:
        return RewardForm(data, project=project)
    if kind in Judge.OF_MEMBERS:
        return GroupForm(data, project=project, kind=kind)
    return EndpointForm(data, project=project)


def made_of(form: Any, kind: str, project: Project, user: User) -> Judge:
    """The judge that a valid form describes. Raises SetupError."""
    if kind == Judge.LOCAL:
        return setup.create_local_judge(project=project, by=user, **form.cleaned_data)
    if kind == Judge.REWARD:
        return setup.create_reward_judge(project=project, by=user, **form.cleaned_data)
    if kind in Judge.OF_MEMBERS:
        name = form.cleaned_data["name"]
        return setup.create_group_judge(
            project=project, name=name, kind=kind, members=form.judges, by=user, **form.settings
        )
    return setup.create_endpoint_judge(project=project, key=form.new_key or "", by=user, **form.settings)


@require_POST
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """Test the address and key that stand in a judge's form: one sentence, and what could be found out filled in."""
    from pipeline.judging.connecting import connect as reach  # here, because what talks HTTP takes a moment to import

    user = signed_in(request)
    project = managed_project(user, slug)
    sent = {name: request.POST.get(name, "").strip() for name in ("base_url", "key", "model")}
    kept = kept_judge(user, slug, request.POST.get("judge", ""))
    if kept and not sent["key"] and kept.base_url == sent["base_url"]:
        sent["key"] = decrypt(kept.encrypted_key)
    connection = reach(**sent)
    form = EndpointForm(initial=request.POST.dict(), project=project)
    context = {"project": project, "connection": connection, "filled": form.found_out(connection)}
    return render(request, "pipeline/_judge_connection.html", context)


def kept_judge(user: User, slug: str, pk: str) -> Judge | None:
    """The judge whose form is tested, if it is there already."""
    return access.managed_judge(user, slug, int(pk)) if pk.isdigit() else None


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
        "how": facts_of(judge),
        "prompts": list(JudgePrompt.objects.filter(project=judge.project).values_list("name", flat=True)),
        "members": [seat.member for seat in judge.seats.select_related("member")],
        "models": list(judge.reward_models.all()),
        "quality": showing.short(judge),
    }
    return render(request, "pipeline/judge.html", context)


def facts_of(judge: Judge) -> list[tuple[str, str]]:
    """What its protocol is set to, where that is not plain: (label, value)."""
    how, plain = protocol_of(judge.protocol), Protocol()
    shown = [(item.label, to_dict(how)[item.name], to_dict(plain)[item.name]) for item in settings_of(Protocol)]
    return [(label, "yes" if value is True else str(value)) for label, value, usual in shown if value != usual]


def standing(judge: Judge) -> dict[str, Any]:
    """The numbers at the top of the page, which change while it works."""
    states = statistics.states([judge])[judge.pk]
    run = judge.runs.order_by("-id").first() if judge.kind in Judge.BY_RUNS else None
    asker = None if judge.kind in Judge.BY_RUNS else calls.asker(judge)
    return {
        "project": judge.project,
        "judge": judge,
        "states": states,
        "asked": sum(states.values()),
        "done": states[JudgeCall.ANSWERED] + states[JudgeCall.UNPARSABLE],
        "run": run,
        "before": asker if asker != judge else None,  # whose turn it is
        "working": bool(judge.lease_token) or (run is not None and not run.ended),
    }


def preview(judge: Judge) -> dict[str, Any]:
    """What the judge is sent about the newest pair, or why it cannot be."""
    item = statistics.example(judge)
    if item is None:
        return {"sentence": "The project has no pair yet: import some, or let a model answer prompts."}
    try:
        return {"item": item, "requests": trying.preview(judge, item)}
    except (ProtocolError, SecretError) as error:
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
    if judge.kind != Judge.ENDPOINT:
        return redirect("judge", slug, pk)
    form = EndpointForm(request.POST or None, instance=judge, project=judge.project)
    if request.method == "POST" and form.is_valid():
        try:
            setup.change_judge(judge=judge, key=form.new_key, by=signed_in(request), **form.settings)
            messages.success(request, _("Saved. It is asked again with these settings."))
            return redirect("judge", slug, pk)
        except setup.SetupError as error:
            form.add_error(None, str(error))
    context = {"project": judge.project, "judge": judge, "form": form}
    return render(request, "pipeline/judge_edit.html", context, status=422 if form.errors else 200)


@require_POST
def switch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Switch a judge on (`enabled` is 1) or off."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    enabled = request.POST.get("enabled") == "1"
    setup.change_judge(judge=judge, enabled=enabled, by=signed_in(request))
    stays = _("%(name)s is asked nothing more; what waits for it stays due.")
    words = _("%(name)s takes part again.") if enabled else stays
    messages.success(request, words % {"name": judge.name})
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
    elif judge.kind in Judge.BY_RUNS:
        context["sentence"] = "A local model is asked by a run: press “Judge now” and look at its answers below."
    else:
        try:
            setup.record(judge, audit.TRIED, signed_in(request), after={"item": item.external_id})
            prompt = JudgePrompt.objects.filter(project=judge.project, name=request.POST.get("prompt", "")).first()
            context["trials"] = trying.try_judge(judge=judge, item=item, prompt=prompt)
        except (ProtocolError, SecretError, EvidenceError, CapReached) as error:
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
        messages.success(request, _("%(count)s questions are asked again.") % {"count": count})
    transaction.on_commit(partial(tasks.judge_items_task.delay, judge.pk, again=True), robust=True)
    messages.success(request, _("It is asked what is due."))
    return redirect("judge", slug, pk)
