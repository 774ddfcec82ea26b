"""Let a model answer prompts; every two answers become an item to label."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotate.access import managed_project, signed_in
from annotate.models import Project
from pipeline import demo, prompts, recipes, registry, runs
from pipeline.forms import GenerateForm
from pipeline.ml.configs import ConfigError


@require_http_methods(["GET", "HEAD", "POST"])
def generate(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    project = managed_project(user, slug)
    form = GenerateForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        try:
            run = recipes.generate(
                project=project,
                prompts=asked_prompts(project, form.cleaned_data),
                by=user,
                config=form.cleaned_data["config"],
                model=form.cleaned_data["model"],
            )
            return redirect("run", slug, run.pk)
        except (prompts.PromptError, recipes.RecipeError, ConfigError, runs.RunError) as error:
            form.add_error(None, str(error))
    context = {"project": project, "form": form, "no_model": registry.policy_in_use(project) is None}
    return render(request, "pipeline/generate.html", context, status=422 if form.errors else 200)


def asked_prompts(project: Project, data: dict[str, Any]) -> list[dict[str, Any]]:
    if data["source"] == GenerateForm.PROJECT:
        return prompts.of_project(project)
    if data["source"] == GenerateForm.DEMO:
        return demo.rows("prompts.jsonl")
    return prompts.of_text(data["prompts"])
