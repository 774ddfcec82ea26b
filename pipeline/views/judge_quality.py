"""How good a judge is: measured against people, calibrated, watched for leanings and for drift."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from annotate import audit
from annotate.access import MANAGER, role_in, signed_in
from annotate.models import User
from pipeline import access, tasks
from pipeline.judging import setup
from pipeline.judging.protocol import ProtocolError
from pipeline.models import Judge, ProbeLimit, Study
from pipeline.quality import attacks, measuring, showing, studies
from pipeline.routing import audit_draw


class DrawForm(forms.Form):
    """How many items that people have labelled the judge is asked about too."""

    count = forms.IntegerField(
        min_value=1,
        max_value=audit_draw.MOST,
        initial=100,
        widget=forms.NumberInput(attrs={"class": "line rate"}),
    )


class LimitForm(forms.ModelForm):
    """What a project lets pass."""

    class Meta:
        model = ProbeLimit
        fields = ["percent", "blocks", "automatic"]
        labels = {
            "percent": gettext_lazy("Per cent that may fool a judge"),
            "blocks": gettext_lazy("Block a judge that more of them fool"),
            "automatic": gettext_lazy("Try every new model and prompt by itself"),
        }


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What is known about the judge's quality, with where each number comes from."""
    user = signed_in(request)
    judge = access.seen_judge(user, slug, pk)
    return render(request, "pipeline/judge_quality.html", {**measured(request, user, judge), **tried(judge)})


def measured(request: HttpRequest, user: User, judge: Judge) -> dict[str, Any]:
    """What was measured, on the question that `question` names."""
    return {
        "project": judge.project,
        "judge": judge,
        "manages": role_in(user, judge.project) == MANAGER,
        "form": DrawForm(),
        **showing.page(judge, request.GET.get("question", "")),
    }


@require_safe
def measured_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What was measured, for its poll; 286 once nobody measures."""
    user = signed_in(request)
    context = measured(request, user, access.seen_judge(user, slug, pk))
    response = render(request, "pipeline/_quality_measured.html", context)
    if not context["measuring"]:
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_POST
def measure(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Let a worker measure the judge now, and calibrate it where there are enough audits."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    if measuring.questions_of(judge.rater):
        setup.record(judge, audit.STARTED, signed_in(request), after={"measuring": True})
        ask_to_measure(judge)
    else:
        messages.error(request, _("The project asks no preference, choice or rating: there is nothing to compare."))
    return redirect("judge_quality", slug, pk)


def ask_to_measure(judge: Judge) -> None:
    measuring.ask(judge.rater)
    transaction.on_commit(partial(tasks.measure_judge.delay, judge.rater_id), robust=True)


@require_POST
def draw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Let the judge answer items that people have labelled, drawn by lot."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    form = DrawForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say how many items: 1 to %(most)d.") % {"most": audit_draw.MOST})
        return redirect("judge_quality", slug, pk)
    drawn = audit_draw.draw_items(
        project=judge.project, rater=judge.rater, count=form.cleaned_data["count"], by=signed_in(request)
    )
    if drawn:
        messages.success(request, _("%(n)d items go to the judge. Measure it once they are answered.") % {"n": drawn})
    else:
        messages.warning(request, _("There is no item that people have labelled and this judge has not."))
    return redirect("judge_quality", slug, pk)


@require_POST
def start_anew(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Let only newer audits count from now on, after the judge or the data changed."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    measuring.start_anew(rater=judge.rater, by=signed_in(request))
    ask_to_measure(judge)
    messages.success(request, _("Older audits no longer count. The calibration starts anew with what is left."))
    return redirect("judge_quality", slug, pk)


# --- Attacks --------------------------------------------------------------------------------------------------
def tried(judge: Judge) -> dict[str, Any]:
    """What the section on attacks shows."""
    return {**showing.attacks_on(judge), "limit_form": LimitForm(instance=attacks.limit_of(judge.project))}


@require_safe
def attacks_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The section on attacks, for its poll; 286 once nothing is under way."""
    user = signed_in(request)
    judge = access.seen_judge(user, slug, pk)
    manages = role_in(user, judge.project) == MANAGER
    context = {"project": judge.project, "judge": judge, "manages": manages, **tried(judge)}
    response = render(request, "pipeline/_quality_attacks.html", context)
    if not context["under_way"]:
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_POST
def probe(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Try the judge on all attacks."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    try:
        study = attacks.start(judge=judge, by=signed_in(request))
        ask(study)
        messages.success(request, _("The attacks are asked by the worker, under the spend cap."))
    except (studies.StudyError, ProtocolError) as error:
        messages.error(request, str(error))
    return redirect("judge_quality", slug, pk)


def ask(study: Study) -> None:
    transaction.on_commit(partial(tasks.run_study.delay, study.pk), robust=True)


@require_POST
def limit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change what the project lets pass; its judges are blocked or let go at once."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    form = LimitForm(request.POST)
    if form.is_valid():
        attacks.set_limit(project=judge.project, by=signed_in(request), **form.cleaned_data)
        messages.success(request, _("Saved. It holds for all judges of the project."))
    else:
        messages.error(request, _("Say how many per cent may fool a judge: 0 to 100."))
    return redirect("judge_quality", slug, pk)


@require_POST
def stop_study(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ask nothing more for a study."""
    study = access.managed_study(signed_in(request), slug, pk)
    studies.stop(study=study, by=signed_in(request))
    return redirect("judge_quality", slug, study.judge_id)


@require_POST
def go_on(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ask on after a stop."""
    study = access.managed_study(signed_in(request), slug, pk)
    studies.go_on(study=study, by=signed_in(request))
    ask(study)
    return redirect("judge_quality", slug, study.judge_id)
