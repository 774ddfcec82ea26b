"""The registry: all models, one model with its lineage and report, putting one to use."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project, User
from pipeline import access, queries, recipes, registry
from pipeline.models import ModelVersion, Run


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    project = reviewed_project(user, slug)
    context = {
        "project": project,
        "models": queries.models_of(project),
        "manages": role_in(user, project) == MANAGER,
        "policy": registry.policy_in_use(project),
    }
    return render(request, "pipeline/models.html", context)


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    version = access.seen_model(user, slug, pk)
    project = reviewed_project(user, slug)
    return render(request, "pipeline/model.html", model_context(user, project, version))


def model_context(user: User, project: Project, version: ModelVersion) -> dict[str, Any]:
    return {
        "project": project,
        "model": version,
        "chain": queries.ancestry(version),
        "trained_by": queries.trained_by(version),
        "used_by": queries.runs_with(version, project),
        "manages": role_in(user, project) == MANAGER,
        "mine": version.project is not None,
        "in_use": registry.in_use(project, version.kind),
    }


@require_POST
def promote(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    version = access.managed_model(user, slug, pk)
    former = registry.promote(version=version, by=user)
    instead = _("%(name)s is in use now in place of %(former)s, which is retired.")
    words = instead if former else _("%(name)s is in use now.")
    messages.success(request, words % {"name": version.name, "former": former.name if former else ""})
    return redirect("model", slug, pk)


@require_POST
def retire(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    version = access.managed_model(user, slug, pk)
    registry.retire(version=version, by=user)
    messages.success(request, _("%(name)s is retired. It can be promoted again.") % {"name": version.name})
    return redirect("model", slug, pk)


@require_POST
def evaluate(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Evaluate a model on what the labels hold out now."""
    user = signed_in(request)
    version = access.managed_model(user, slug, pk)
    try:
        run = evaluation(managed_project(user, slug), version, user)
    except recipes.RecipeError as error:
        messages.error(request, str(error))
        return redirect("model", slug, pk)
    return redirect("run", slug, run.pk)


def evaluation(project: Project, version: ModelVersion, user: User) -> Run:
    snapshot = recipes.cut(project, user)
    if version.kind == ModelVersion.REWARD:
        return recipes.evaluate_reward(project=project, model=version, by=user, config={}, snapshot=snapshot)
    return recipes.evaluate_policy(
        project=project,
        policy=version,
        by=user,
        config={},
        reward_model=version.reward_model,
        snapshot=snapshot,
    )
