"""What judges are told: the editor of prompts with its preview, and their versions."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project
from pipeline.judging import built_in, previewing, prompts
from pipeline.models import Judge, JudgePrompt

FIRST = "preference"  # the kind whose words are shown open
PREFIX = "template_"
LABELS = {
    "preference": "Two answers, all in all",
    "criterion": "Two answers on one criterion",
    "rating": "One answer on one criterion, as a number",
    "ranking": "Several answers in order",
    "critique": "A critique",
    "step": "One answer, step by step",
    "span": "Passages of one answer",
    "choice": "A choice among options",
    "reference": "The judge's own answer",
}


class PromptForm(forms.Form):
    """The words of all kinds of questions, and principles."""

    principles = forms.CharField(
        required=False,
        max_length=prompts.LONGEST,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy(
            "What counts, in your own words. It stands after guidelines and criteria, where {principles} is."
        ),
    )
    note = forms.CharField(
        required=False, max_length=300, label=gettext_lazy("Why"), help_text=gettext_lazy("For the list of versions.")
    )

    def __init__(self, *args: Any, prompt: JudgePrompt, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["principles"].initial = prompt.principles
        for kind, label in LABELS.items():
            self.fields[PREFIX + kind] = forms.CharField(
                label=label,
                max_length=prompts.LONGEST,
                initial=prompt.templates.get(kind, built_in.TEMPLATES[kind]),
                widget=forms.Textarea(attrs={"rows": 10 if kind == FIRST else 7, "class": "mono"}),
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for kind in LABELS:
            if PREFIX + kind in data:
                try:
                    prompts.check_template(kind, data[PREFIX + kind])
                except prompts.PromptError as error:
                    self.add_error(PREFIX + kind, str(error))
        return data

    @property
    def templates(self) -> dict[str, str]:
        return {kind: self.cleaned_data[PREFIX + kind] for kind in LABELS}

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[PREFIX + FIRST]]

    @property
    def others(self) -> list[forms.BoundField]:
        return [self[PREFIX + kind] for kind in LABELS if kind != FIRST]

    @property
    def has_hidden_error(self) -> bool:
        return any(field.errors for field in self.others)


def newest_first(project: Project) -> list[JudgePrompt]:
    """The project's versions; the built-in words, not kept, where there are none."""
    kept = list(JudgePrompt.objects.filter(project=project).select_related("created_by"))
    return kept or [JudgePrompt(project=project, number=1, name=built_in.NAME, templates=built_in.TEMPLATES)]


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Look at a version (?version=), and save changed words as a new one."""
    user = signed_in(request)
    project = managed_project(user, slug) if request.method == "POST" else reviewed_project(user, slug)
    versions = newest_first(project)
    shown = next((one for one in versions if one.name == request.GET.get("version")), versions[0])
    form = PromptForm(request.POST or None, prompt=shown)
    if request.method == "POST" and form.is_valid():
        saved = prompts.save_prompt(
            project=project,
            templates=form.templates,
            principles=form.cleaned_data["principles"],
            note=form.cleaned_data["note"],
            by=user,
        )
        messages.success(request, _("Kept as %(name)s. Choose it in a judge's settings to use it.") % {"name": saved})
        return redirect("judge_prompts", slug)
    using = list(Judge.objects.filter(project=project).values_list("prompt_id", "name"))
    context = {
        "project": project,
        "versions": [with_users(one, using) for one in versions],
        "shown": shown,
        "form": form,
        "kinds": list(LABELS),
        "places": [f"{{{place}}}" for place in prompts.PLACES],
        "preview": previewing.preview(project, shown, FIRST),
        "manages": role_in(user, project) == MANAGER,
    }
    return render(request, "pipeline/judge_prompts.html", context, status=422 if form.errors else 200)


def with_users(version: JudgePrompt, using: Sequence[tuple[int | None, str]]) -> dict[str, Any]:
    """A version for the list, with the judges that use it."""
    used_by = [name for prompt, name in using if version.pk is not None and prompt == version.pk]
    fields = {name: value for name, value in vars(version).items() if not name.startswith("_")}
    return {**fields, "created_by": version.created_by, "used_by": used_by}


@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The requests that the words of the form would make about an item. Nothing is asked, and nothing kept."""
    project = managed_project(signed_in(request), slug)
    form = PromptForm(request.POST, prompt=newest_first(project)[0])
    kind = request.POST.get("kind", FIRST)
    if form.is_valid() and kind in LABELS:
        words = JudgePrompt(
            project=project, name="unsaved", templates=form.templates, principles=form.cleaned_data["principles"]
        )
        shown = previewing.preview(project, words, kind, request.POST.get("item", "").strip())
    else:
        shown = {"sentence": " ".join(str(error) for errors in form.errors.values() for error in errors)}
    return render(request, "pipeline/_judge_preview.html", {"project": project, "preview": shown})
