"""How a project looks after the quality of its answers: gold items, training, the quiz."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access, projects
from annotate.models import Gold, Item, Project
from annotate.quality import gold, phases
from annotate.quality.answering import Answering
from annotate.quality.forms import GoldForm, QualityForm, gold_initial
from annotate.questions import AnswerError


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """The settings, the gold items with how people did on them, and who has passed the quiz."""
    project = access.managed_project(access.signed_in(request), slug)
    form = QualityForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        projects.change_settings(project=project, by=access.signed_in(request), **form.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("quality", slug)
    context = {"project": project, "form": form, **overview(project)}
    return render(request, "annotate/quality/quality.html", context, status=422 if form.errors else 200)


def overview(project: Project) -> dict[str, object]:
    members = project.memberships.filter(role=access.ANNOTATOR).select_related("user").order_by("user__username")
    return {"rows": gold.rows(project), "members": members}


@require_POST
def reset(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Let a member take training and quiz from the start."""
    user = access.signed_in(request)
    member = access.managed_member(user, slug, pk)
    phases.reset(member=member, by=user)
    messages.success(request, _("%(who)s starts again with training and quiz.") % {"who": member.user})
    return redirect("quality", slug)


@require_http_methods(["GET", "HEAD", "POST"])
def gold_item(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Say what is expected of one item, or make it an ordinary item again (`remove`)."""
    user = access.signed_in(request)
    item = access.managed_item(user, slug, pk)
    found = Gold.objects.filter(item=item).first()
    if request.method == "POST" and "remove" in request.POST:
        gold.unmark(item=item, by=user)
        messages.success(request, _("It is an ordinary item again."))
        return redirect("item", slug, pk)
    answering = Answering(item)
    form = GoldForm(request.POST or None, asked=answering.asked, initial=gold_initial(found))
    if request.method == "POST":
        answering.read(request.POST.dict())
        if form.is_valid() and not answering.problem and mark(request, item, form, answering):
            return redirect("item", slug, pk)
    elif found is not None:
        answering.fill(found.answers)
    context = {"project": item.project, "form": form, "gold": found, **answering.context()}
    return render(request, "annotate/quality/gold.html", context, status=422 if request.method == "POST" else 200)


def mark(request: HttpRequest, item: Item, form: GoldForm, answering: Answering) -> bool:
    try:
        gold.mark(
            item=item,
            answers=answering.answers,
            by=access.signed_in(request),
            use=form.cleaned_data["use"],
            tolerance=form.tolerance(),
            explanation=form.cleaned_data["explanation"],
        )
    except (AnswerError, gold.GoldError) as error:
        answering.problem = str(error)
        return False
    messages.success(request, _("Its answer is known now: it measures people, and gets no label."))
    return True
