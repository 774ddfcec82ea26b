"""Criteria and prompts that are proposed for a judge: written, scored on held-out labels, accepted by a person."""

from collections.abc import Callable
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
from pipeline.judging.prompts import PromptError
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.setup import record
from pipeline.models import Judge, JudgePrompt, Proposal, Study
from pipeline.quality import comparing, proposals, showing, studies, writing

EXPECTED = (proposals.ProposalError, studies.StudyError, PromptError, ProtocolError)


class CriterionForm(forms.Form):
    """A person's own criterion."""

    title = forms.CharField(max_length=160)
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    low = forms.CharField(required=False, max_length=200, label=gettext_lazy("What a 1 looks like"))
    high = forms.CharField(required=False, max_length=200, label=gettext_lazy("What a 5 looks like"))


class ScoreForm(forms.Form):
    """On how many held-out items."""

    count = forms.IntegerField(
        min_value=comparing.LEAST, max_value=proposals.MOST, initial=proposals.USUAL, required=False
    )


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What is proposed for this judge, with its scores."""
    user = signed_in(request)
    judge = access.seen_judge(user, slug, pk)
    return render(request, "pipeline/judge_rubric.html", {**context_of(user, judge), "form": CriterionForm()})


def context_of(user: User, judge: Judge) -> dict[str, Any]:
    manages = role_in(user, judge.project) == MANAGER
    return {"project": judge.project, "judge": judge, "manages": manages, **showing.rubric_of(judge)}


@require_safe
def live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The proposals, for the page's poll; 286 once nothing is under way."""
    user = signed_in(request)
    context = context_of(user, access.seen_judge(user, slug, pk))
    response = render(request, "pipeline/_proposals.html", context)
    if not context["under_way"]:
        response.status_code = HttpResponseStopPolling.status_code
    return response


def own(request: HttpRequest, judge: Judge) -> None:
    form = CriterionForm(request.POST)
    if not form.is_valid():
        raise proposals.ProposalError(_("A criterion needs a title."))
    proposals.by_hand(judge=judge, by=signed_in(request), **form.cleaned_data)


def phrases(request: HttpRequest, judge: Judge) -> None:
    made = proposals.from_phrases(judge=judge, by=signed_in(request))
    record(judge, audit.STARTED, signed_in(request), after={"criteria_from_reasons": len(made)})


def written(what: str) -> Callable[[HttpRequest, Judge], None]:
    def start(request: HttpRequest, judge: Judge) -> None:
        ask(writing.start(judge=judge, what=what, by=signed_in(request)))

    return start


def another_prompt(request: HttpRequest, judge: Judge) -> None:
    chosen = JudgePrompt.objects.filter(project=judge.project, name=request.POST.get("prompt", "")).first()
    if chosen is None:
        raise proposals.ProposalError(_("Choose one of the project's prompts."))
    proposals.propose_prompt(judge=judge, prompt=chosen, source=Proposal.PERSON, by=signed_in(request))
    record(judge, audit.STARTED, signed_in(request), after={"prompt_proposed": chosen.name})


WAYS = {
    "own": own,
    "phrases": phrases,
    "criteria": written(writing.CRITERIA),
    "principles": written(writing.PRINCIPLES),
    "prompt": another_prompt,
}


@require_POST
def propose(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Propose criteria or a prompt, in the way that `way` names."""
    judge = access.managed_judge(signed_in(request), slug, pk)
    way = WAYS.get(request.POST.get("way", ""), phrases)
    try:
        way(request, judge)
    except EXPECTED as error:
        messages.error(request, str(error))
    return redirect("judge_rubric", slug, pk)


def ask(study: Study) -> None:
    transaction.on_commit(partial(tasks.run_study.delay, study.pk), robust=True)


@require_POST
def score(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Judge held-out items in the present and in the proposed way."""
    proposal = access.managed_proposal(signed_in(request), slug, pk)
    form = ScoreForm(request.POST)
    count = (form.cleaned_data.get("count") if form.is_valid() else None) or proposals.USUAL
    try:
        ask(proposals.score(proposal=proposal, judge=proposal.judge, count=count, by=signed_in(request)))
    except EXPECTED as error:
        messages.error(request, str(error))
    return redirect("judge_rubric", slug, proposal.judge_id)


@require_POST
def accept(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take a criterion into the rubric, or give the judge a prompt that has beaten its present one."""
    proposal = access.managed_proposal(signed_in(request), slug, pk)
    try:
        proposals.accept(proposal=proposal, by=signed_in(request))
        done = {
            Proposal.CRITERION: _("It is part of the rubric now, as a new version. People are asked it too."),
            Proposal.PROMPT: _("The judge has it now. It is another evaluator: its calibration starts anew."),
        }
        messages.success(request, done[proposal.kind])
    except EXPECTED as error:
        messages.error(request, str(error))
    return redirect("judge_rubric", slug, proposal.judge_id)


@require_POST
def dismiss(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Leave a proposal out."""
    proposal = access.managed_proposal(signed_in(request), slug, pk)
    proposals.dismiss(proposal=proposal, by=signed_in(request))
    return redirect("judge_rubric", slug, proposal.judge_id)
