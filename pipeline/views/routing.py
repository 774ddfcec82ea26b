"""Routing: the policy, its budget and what another would give, where the money goes, the newest decisions."""

from collections.abc import Mapping
from dataclasses import replace

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import queries
from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from pipeline.models import RoutingPolicy, RoutingState
from pipeline.routing import adopting, anew, comparing, deciding, showing
from pipeline.routing.forms import PolicyForm, initial

AT_ONCE = 2000  # items that “route now” decides about while somebody waits; the worker does the rest


def share_in(values: Mapping[str, str]) -> float | None:
    """The slider's budget, 0 to 1; None where it says nothing that can be read."""
    try:
        return float(values.get("budget", "")) / 100
    except ValueError:
        return None


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    project = reviewed_project(user, slug)
    context = {**showing.page(project, share_in(request.GET)), "manages": role_in(user, project) == MANAGER}
    return render(request, "pipeline/routing.html", context)


@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """Counts and the newest decisions, for the page's poll."""
    return render(request, "pipeline/_routing_live.html", showing.standing(reviewed_project(signed_in(request), slug)))


@require_safe
def audits(request: HttpRequest, slug: str) -> HttpResponse:
    """What is known of delivered labels, audit by audit, and win rates corrected by it."""
    found = showing.audits(reviewed_project(signed_in(request), slug))
    return render(request, "pipeline/routing_audits.html", found)


@require_safe
def what_if(request: HttpRequest, slug: str) -> HttpResponse:
    """What the slider's budget would give."""
    user = signed_in(request)
    project = reviewed_project(user, slug)
    policy, state = adopting.in_force(project), RoutingState.objects.filter(project=project).first()
    found = showing.what_if(project, policy, state, share_in(request.GET))
    context = {"project": project, "policy": policy, "manages": role_in(user, project) == MANAGER, **found}
    return render(request, "pipeline/_routing_what_if.html", context)


@require_POST
def route_now(request: HttpRequest, slug: str) -> HttpResponse:
    """Decide about what is not routed yet."""
    user = signed_in(request)
    project = managed_project(user, slug)
    counts = deciding.route_items(project=project, limit=AT_ONCE, by=user)
    if counts["routed"]:
        said = _(
            "%(routed)s items are routed: %(human)s to people, %(judge)s to the judge, %(both)s to both. %(note)s"
        )
        messages.success(request, (said % counts).strip())
    else:
        messages.info(request, _("Nothing waited to be routed."))
    return redirect("routing", slug)


@require_POST
def decide_anew(request: HttpRequest, slug: str) -> HttpResponse:
    """Let the policy in force decide about what an earlier one sent to people and nobody has begun."""
    user = signed_in(request)
    project = managed_project(user, slug)
    counts = anew.decide_anew(project=project, by=user, limit=AT_ONCE)
    if counts["routed"]:
        said = _(
            "%(routed)s items that nobody had begun are decided anew: %(human)s to people, %(judge)s to the judge, "
            "%(both)s to both. %(note)s"
        )
        more = _("There are more: press it again.") if counts["left"] else ""
        messages.success(request, f"{(said % counts).strip()} {more}".strip())
    else:
        messages.info(request, _("Nothing that an earlier policy sent to people is still unbegun."))
    return redirect("routing", slug)


@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HttpRequest, slug: str) -> HttpResponse:
    """The policy in force, to be changed: a new version each time."""
    user = signed_in(request)
    project = managed_project(user, slug)
    now = adopting.in_force(project)
    form = PolicyForm(request.POST if request.method == "POST" else None, initial=initial(adopting.base(now)))
    if request.method == "POST" and form.is_valid():
        plan = replace(form.cleaned_data["plan"], least=now.plan.least)
        made = adopting.adopt(project=project, plan=plan, by=user, note=form.cleaned_data["note"])
        said = _("Version %(number)d is in force for what is not routed yet.") % {"number": made.number}
        if anew.unbegun(project, str(made)).exists():
            said += " " + _("“Decide anew” applies it to what people have not begun.")
        messages.success(request, said)
        return redirect("routing", slug)
    versions = RoutingPolicy.objects.filter(project=project).select_related("created_by")[:50]
    context = {"project": project, "form": form, "policy": now, "versions": versions}
    return render(request, "pipeline/routing_policy.html", context, status=422 if form.errors else 200)


@require_POST
def budget(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the slider's budget: a new version of the policy in force with so many answers of people in all."""
    user = signed_in(request)
    project = managed_project(user, slug)
    share, now = share_in(request.POST), adopting.in_force(project)
    if share is None or not 0 <= share <= 1:
        messages.error(request, _("The budget is a share from 0 to 100%."))
        return redirect("routing", slug)
    total = round(share * queries.progress(project)["items"])
    plan = replace(now.plan, budget=replace(now.plan.budget, total=total))
    adopting.adopt(project=project, plan=plan, by=user, note=_("The budget of the slider."))
    messages.success(request, _("People may be asked for %(total)s answers in all.") % {"total": f"{total:,}"})
    return redirect("routing", slug)


@require_POST
def compare(request: HttpRequest, slug: str) -> HttpResponse:
    """Have the worker replay policies on the project's own past."""
    user = signed_in(request)
    comparing.ask(project=managed_project(user, slug), by=user)
    messages.success(request, _("The worker compares them now; for 500 pairs that takes some minutes."))
    return redirect("routing", slug)


@require_POST
def take(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the policy that the comparison proposes, with its evidence."""
    user = signed_in(request)
    project = managed_project(user, slug)
    now, state = adopting.in_force(project), RoutingState.objects.filter(project=project).first()
    proposal = showing.proposal(state.report if state else {}, now)
    if proposal is None:
        messages.info(request, _("Nothing better than the policy in force is proposed."))
    else:
        plan = replace(adopting.base(now), ranking=proposal["ranking"])
        adopting.adopt(project=project, plan=plan, by=user, note=proposal["note"], evidence=proposal["evidence"])
        messages.success(request, _("The proposed policy is in force."))
    return redirect("routing", slug)
