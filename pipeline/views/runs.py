"""Runs: the list, one run live, starting a training, stopping, resuming."""

from typing import Any

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project, User
from annotate.queries import progress
from pipeline import access, charts, queries, recipes, registry, runs
from pipeline.forms import TrainForm
from pipeline.ml.configs import ConfigError
from pipeline.ml.stages import STAGES
from pipeline.models import Run

form_view = require_http_methods(["GET", "HEAD", "POST"])
STOP_POLLING = 286  # htmx swaps the answer and asks no more
TRAININGS = {
    "train_reward": "A reward model learns to score answers as your labels rank them.",
    "dpo": "A policy learns from the labelled pairs directly: the short way, without a reward model.",
    "ppo": "A policy writes answers and learns from what a reward model says of them.",
}


# --- The list -------------------------------------------------------------------------------------------------
def before_of(request: HttpRequest) -> int | None:
    """Where an older page of a list begins."""
    before = request.GET.get("before", "")
    return int(before) if before.isdigit() else None


def list_context(request: HttpRequest, project: Project) -> dict[str, Any]:
    before = before_of(request)
    rows = queries.run_rows(project, before)
    return {
        "project": project,
        "rows": rows,
        "before": before,
        "older": rows[-1]["run"].pk if len(rows) == queries.PAGE else None,
        "active": queries.any_active(project),
    }


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    project = reviewed_project(signed_in(request), slug)
    return render(request, "pipeline/runs.html", list_context(request, project))


@require_safe
def table(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, for its poll; the poll ends when no run is active."""
    context = list_context(request, reviewed_project(signed_in(request), slug))
    return render(request, "pipeline/_runs.html", context, status=200 if context["active"] else STOP_POLLING)


# --- One run --------------------------------------------------------------------------------------------------
def live_context(user: User, run: Run) -> dict[str, Any]:
    """What a run's page shows besides its curves, as it stands now."""
    evaluations = queries.evaluations_of(run)
    return {
        "project": run.project,
        "run": run,
        "stage": STAGES[run.kind],
        "standing": queries.standing(run),
        "unit": queries.unit(run),
        "manages": role_in(user, run.project) == MANAGER,
        "evaluations": evaluations,
        "finished": run.ended and all(evaluation.ended for evaluation in evaluations),
        "values": queries.newest_values(run),
        "log": queries.log_tail(run),
        "samples": queries.samples(run),
        "lineage": queries.lineage(run),
        "clone": run.kind if run.kind in TRAININGS else "",
    }


@csp_update({"style-src": [UNSAFE_INLINE]})  # type: ignore[arg-type]  # plotly sets styles on what it draws
@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    run = access.seen_run(user, slug, pk)
    drawn = charts.charts_of(run.kind) if queries.has_metrics(run) or not run.ended else []
    settings = queries.changed_settings(run)
    return render(
        request, "pipeline/run.html", {**live_context(user, run), "charts": drawn, "changed_settings": settings}
    )


@require_safe
def live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The live parts of a run's page, for its poll, which ends with the run and its evaluation."""
    user = signed_in(request)
    context = live_context(user, access.seen_run(user, slug, pk))
    return render(request, "pipeline/_run_live.html", context, status=STOP_POLLING if context["finished"] else 200)


@require_safe
def metrics(request: HttpRequest, slug: str, pk: int) -> JsonResponse:
    """Metric events behind ?after=position, for the charts."""
    run = access.seen_run(signed_in(request), slug, pk)
    after = request.GET.get("after", "-1")
    if not after.removeprefix("-").isdigit():
        raise Http404("No such position.")
    return JsonResponse(queries.metric_points(run, int(after)))


@require_safe
def log(request: HttpRequest, slug: str, pk: int) -> StreamingHttpResponse:
    """The whole log as plain text."""
    run = access.seen_run(signed_in(request), slug, pk)
    return StreamingHttpResponse(queries.whole_log(run), content_type="text/plain; charset=utf-8")


@require_POST
def stop(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    run = access.managed_run(signed_in(request), slug, pk)
    try:
        runs.cancel(run=run, by=signed_in(request))
    except runs.RunError as error:
        messages.warning(request, str(error))
    return redirect("run", slug, pk)


@require_POST
def resume(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    run = access.managed_run(signed_in(request), slug, pk)
    try:
        runs.resume(run=run, by=signed_in(request))
    except runs.RunError as error:
        messages.warning(request, str(error))
    return redirect("run", slug, pk)


# --- Starting -------------------------------------------------------------------------------------------------
@form_view
def train(request: HttpRequest, slug: str) -> HttpResponse:
    """Start a training run: ?kind= says which, ?clone= takes the settings of an earlier one."""
    user = signed_in(request)
    project = managed_project(user, slug)
    kind, config, chosen = asked_for(request, user, slug)
    form = TrainForm(request.POST or None, project=project, kind=kind, config=config, initial=chosen)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("run", slug, start(project, user, kind, form.cleaned_data).pk)
        except (recipes.RecipeError, ConfigError, runs.RunError) as error:
            form.add_error(None, str(error))
    context = {"project": project, "kind": kind, "form": form, **training_facts(project, kind, form)}
    return render(request, "pipeline/train.html", context, status=422 if form.errors else 200)


def asked_for(request: HttpRequest, user: User, slug: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The kind of training, its settings, and the models and labels to choose at first."""
    cloned = request.GET.get("clone", "")
    kind, config, chosen = request.GET.get("kind", "train_reward"), {}, {}
    if cloned:
        run = access.managed_run(user, slug, int(cloned) if cloned.isdigit() else 0)
        kind, config = run.kind, run.config
        models = {name: entry["model"] for name, entry in run.inputs.items() if entry.get("model")}
        chosen = {"start": models.get("base") or models.get("policy"), "snapshot": run.snapshot_id}
        chosen["reward_model"] = models.get("reward_model")
    if kind not in TRAININGS:
        raise Http404("No such training.")
    return kind, config, {name: pk for name, pk in chosen.items() if pk}


def start(project: Project, user: User, kind: str, data: dict[str, Any]) -> Run:
    common = {"project": project, "by": user, "config": data["config"], "snapshot": data["snapshot"]}
    if kind == "train_reward":
        return recipes.train_reward(base=data["start"], **common)
    if kind == "dpo":
        return recipes.train_dpo(policy=data["start"], **common)
    return recipes.train_ppo(policy=data["start"], reward_model=data["reward_model"], **common)


def training_facts(project: Project, kind: str, form: TrainForm) -> dict[str, Any]:
    """What a training would learn from, what is missing for it, and how long it may take."""
    snapshot = project.snapshots.first()
    labels = progress(project)
    rows = snapshot.counts.get("train", 0) if snapshot else labels["labelled"]
    return {
        "stage": STAGES[kind],
        "trainings": [(name, STAGES[name].title, words) for name, words in TRAININGS.items()],
        "words": TRAININGS[kind],
        "labels": labels,
        "snapshot": snapshot,
        "fewest": recipes.FEWEST_PAIRS,
        "too_few": labels["labelled"] < recipes.FEWEST_PAIRS and not snapshot,
        "no_base": not registry.base_models().exists(),
        "no_reward": kind == "ppo" and registry.reward_in_use(project) is None,
        "estimate": queries.estimate(project, kind, form.starting_config, rows) if rows else None,
    }
