"""Who may see what in the pipeline: the only place that turns an id from a URL into one of its objects.

Managers may do everything, reviewers may look, annotators and outsiders get 404.
"""

from django.db.models import Q
from django.shortcuts import get_object_or_404

from annotate.access import managed_project, reviewed_project
from annotate.models import Project, User
from pipeline.models import Judge, Loop, ModelVersion, Proposal, Run, Snapshot, Study


def run_of(project: Project, pk: int) -> Run:
    found = Run.objects.filter(project=project, pk=pk)
    return get_object_or_404(found.select_related("project", "snapshot", "loop", "judge", "created_by"))


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
    return get_object_or_404(found.select_related("base", "reward_model", "snapshot", "run", "promoted_by"))


def managed_model(user: User, slug: str, pk: int) -> ModelVersion:
    """A model of a project that the user manages. Raises Http404."""
    return get_object_or_404(ModelVersion, project=managed_project(user, slug), pk=pk)


def managed_loop(user: User, slug: str, pk: int) -> Loop:
    """A loop of a project that the user manages. Raises Http404."""
    project = managed_project(user, slug)
    return get_object_or_404(Loop.objects.select_related("project", "periodic_task"), project=project, pk=pk)


def judge_of(project: Project, pk: int) -> Judge:
    return get_object_or_404(Judge.objects.select_related("project", "rater", "model_version"), project=project, pk=pk)


def seen_judge(user: User, slug: str, pk: int) -> Judge:
    """A judge of a project that the user manages or reviews. Raises Http404."""
    return judge_of(reviewed_project(user, slug), pk)


def managed_judge(user: User, slug: str, pk: int) -> Judge:
    """A judge of a project that the user manages. Raises Http404."""
    return judge_of(managed_project(user, slug), pk)


def managed_study(user: User, slug: str, pk: int) -> Study:
    """A study of a judge of a project that the user manages. Raises Http404."""
    found = Study.objects.filter(judge__project=managed_project(user, slug), pk=pk)
    return get_object_or_404(found.select_related("judge__project", "judge__rater", "judge__model_version"))


def managed_proposal(user: User, slug: str, pk: int) -> Proposal:
    """A proposed criterion or prompt of a project that the user manages. Raises Http404."""
    found = Proposal.objects.filter(project=managed_project(user, slug), pk=pk)
    whole = found.select_related("project", "judge__project", "judge__rater", "judge__prompt", "prompt", "study")
    return get_object_or_404(whole)


def snapshot_of(project: Project, pk: int) -> Snapshot:
    return get_object_or_404(Snapshot.objects.select_related("project", "created_by"), project=project, pk=pk)


def seen_snapshot(user: User, slug: str, pk: int) -> Snapshot:
    """A snapshot of a project that the user manages or reviews. Raises Http404."""
    return snapshot_of(reviewed_project(user, slug), pk)


def managed_snapshot(user: User, slug: str, pk: int) -> Snapshot:
    """A snapshot of a project that the user manages. Raises Http404."""
    return snapshot_of(managed_project(user, slug), pk)
