"""Who may see what in the pipeline: the only place that turns an id from a URL into one of its objects.

Managers may do everything, reviewers may look, annotators and outsiders get 404.
"""

from django.db.models import Q
from django.http import Http404

from annotate.access import managed_project, reviewed_project
from annotate.models import Project, User
from pipeline.models import Judge, Loop, ModelVersion, Run, Snapshot


def run_of(project: Project, pk: int) -> Run:
    found = Run.objects.filter(project=project, pk=pk)
    run = found.select_related("project", "snapshot", "loop", "judge", "created_by").first()
    if run is None:
        raise Http404("No such run.")
    return run


def seen_run(user: User, slug: str, pk: int) -> Run:
    """A run of a project that the user manages or reviews. Raises Http404."""
    return run_of(reviewed_project(user, slug), pk)


def managed_run(user: User, slug: str, pk: int) -> Run:
    """A run of a project that the user manages. Raises Http404."""
    return run_of(managed_project(user, slug), pk)


def seen_model(user: User, slug: str, pk: int) -> ModelVersion:
    """A model of a project that the user manages or reviews, or a base model. Raises Http404."""
    project = reviewed_project(user, slug)
    found = ModelVersion.objects.filter(Q(project=project) | Q(project=None), pk=pk)
    version = found.select_related("base", "reward_model", "snapshot", "run", "promoted_by").first()
    if version is None:
        raise Http404("No such model.")
    return version


def managed_model(user: User, slug: str, pk: int) -> ModelVersion:
    """A model of a project that the user manages. Raises Http404."""
    version = ModelVersion.objects.filter(project=managed_project(user, slug), pk=pk).first()
    if version is None:
        raise Http404("No such model.")
    return version


def managed_loop(user: User, slug: str, pk: int) -> Loop:
    """A loop of a project that the user manages. Raises Http404."""
    project = managed_project(user, slug)
    loop = Loop.objects.filter(project=project, pk=pk).select_related("project", "periodic_task").first()
    if loop is None:
        raise Http404("No such loop.")
    return loop


def judge_of(project: Project, pk: int) -> Judge:
    judge = Judge.objects.filter(project=project, pk=pk).select_related("project", "rater", "model_version").first()
    if judge is None:
        raise Http404("No such judge.")
    return judge


def seen_judge(user: User, slug: str, pk: int) -> Judge:
    """A judge of a project that the user manages or reviews. Raises Http404."""
    return judge_of(reviewed_project(user, slug), pk)


def managed_judge(user: User, slug: str, pk: int) -> Judge:
    """A judge of a project that the user manages. Raises Http404."""
    return judge_of(managed_project(user, slug), pk)


def snapshot_of(project: Project, pk: int) -> Snapshot:
    snapshot = Snapshot.objects.filter(project=project, pk=pk).select_related("project", "created_by").first()
    if snapshot is None:
        raise Http404("No such snapshot.")
    return snapshot


def seen_snapshot(user: User, slug: str, pk: int) -> Snapshot:
    """A snapshot of a project that the user manages or reviews. Raises Http404."""
    return snapshot_of(reviewed_project(user, slug), pk)


def managed_snapshot(user: User, slug: str, pk: int) -> Snapshot:
    """A snapshot of a project that the user manages. Raises Http404."""
    return snapshot_of(managed_project(user, slug), pk)
