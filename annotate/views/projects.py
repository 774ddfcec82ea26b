"""Projects: the list, a new one, the dashboard, settings, guidelines and questions."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access, projects, queries, skills
from annotate.forms import (
    BeginningForm,
    CriterionForm,
    GuidelinesForm,
    PreferenceForm,
    ProjectForm,
    SettingsForm,
)
from annotate.managing import dashboards
from annotate.models import Project, Question

form_view = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "annotate/home.html", {"rows": queries.project_rows(access.signed_in(request))})


@form_view
def create(request: HttpRequest) -> HttpResponse:
    user = access.admin(access.signed_in(request))
    form = ProjectForm(request.POST or None)
    beginning = BeginningForm(request.POST or None, prefix="beginning")
    preference = PreferenceForm(request.POST or None, prefix="preference")
    criterion = CriterionForm(request.POST or None, prefix="criterion", initial=helpful_initial())
    if request.method == "POST" and all(each.is_valid() for each in (form, beginning, preference, criterion)):
        asked = beginning.asked(otherwise=[preference_spec(preference), criterion_spec(criterion)])
        project = projects.create_project(by=user, asked=asked, **form.cleaned_data)
        messages.success(request, _("%(name)s is ready. Next: bring in something to label.") % {"name": project.name})
        return redirect("project", project.slug)
    context = {"form": form, "beginning": beginning, "preference": preference, "criterion": criterion}
    return render(request, "annotate/project_new.html", context, status=422 if form.is_bound else 200)


def helpful_initial() -> dict[str, object]:
    spec = projects.DEFAULT_QUESTIONS[1]
    return {"title": spec["title"], "max": 5, "anchor_low": spec["config"]["anchors"]["1"],
            "anchor_high": spec["config"]["anchors"]["5"]}  # fmt: skip


def preference_spec(form: PreferenceForm) -> dict[str, object]:
    data = form.cleaned_data
    return {
        "name": "preference",
        "kind": Question.PREFERENCE,
        "title": data["title"],
        "config": data["config"],
    }


def criterion_spec(form: CriterionForm) -> dict[str, object]:
    data = form.cleaned_data
    return {"name": slugify(data["title"]), "kind": Question.RATING, **criterion_values(form)}


def criterion_values(form: CriterionForm) -> dict[str, object]:
    data = form.cleaned_data
    return {key: data[key] for key in ("title", "description", "required", "config")}


@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """The dashboard for those who run the project; annotators go straight to their work."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    if access.role_in(user, project) == access.ANNOTATOR:
        return redirect("label", slug)
    context = {"work": dashboards.throughput(project), "people": dashboards.who_is_on(project)}
    return render(request, "annotate/project.html", {**dashboard(project), **context})


@require_safe
def live(request: HttpRequest, slug: str) -> HttpResponse:
    """The numbers of the dashboard, for its poll."""
    project = access.reviewed_project(access.signed_in(request), slug)
    return render(request, "annotate/_project_live.html", dashboard(project))


def dashboard(project: Project) -> dict[str, object]:
    return {"project": project, "progress": queries.progress(project), "questions": project.questions.all()}


@form_view
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.managed_project(access.signed_in(request), slug)
    form = SettingsForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        projects.change_settings(project=project, by=access.signed_in(request), **form.cleaned_data)
        messages.success(request, _("Saved. The shares apply to items that are routed from now on."))
        return redirect("project_settings", slug)
    return render(
        request,
        "annotate/project_settings.html",
        {"project": project, "form": form, "weighing": skills.weighing(project)},
        status=422 if form.errors else 200,
    )


@form_view
def guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    """Members read the guidelines; managers also change them."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    manages = access.role_in(user, project) == access.MANAGER
    form = GuidelinesForm(request.POST or None, instance=project) if manages else None
    if request.method == "POST":
        access.managed_project(user, slug)
        if form is not None and form.is_valid():
            version = projects.change_guidelines(project=project, text=form.cleaned_data["guidelines"], by=user)
            messages.success(request, _("Version %(version)s of the guidelines is in force.") % {"version": version})
            return redirect("guidelines", slug)
    return render(request, "annotate/guidelines.html", {"project": project, "form": form})


@require_POST
def guidelines_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The guidelines as they would be read, while they are written."""
    access.managed_project(access.signed_in(request), slug)
    return render(request, "annotate/_guidelines_text.html", {"text": request.POST.get("guidelines", "")})
