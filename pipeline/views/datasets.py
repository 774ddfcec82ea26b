"""Datasets: cut a snapshot, look at one, take it away."""

from pathlib import Path
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.access import MANAGER, managed_project, reviewed_project, role_in, signed_in
from annotate.models import Project
from pipeline import access
from pipeline.datasets import cuts, exporting, snapshots
from pipeline.datasets.card import left_out
from pipeline.datasets.forms import CutForm
from pipeline.datasets.snapshots import SnapshotError
from pipeline.datasets.writing import SPLITS
from pipeline.models import Snapshot, SnapshotCut

SHOWN_ROWS = 5
SHOWN_SNAPSHOTS = 100


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The snapshots of a project, and the form that cuts one."""
    user = signed_in(request)
    project = managed_project(user, slug) if request.method == "POST" else reviewed_project(user, slug)
    form = CutForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = cuts.cut_or_queue(project=project, by=user, settings=form.cleaned_data)
        except SnapshotError as error:
            form.add_error(None, str(error))
        else:
            return after_cut(request, project, made)
    context = {
        **listing(project),
        "form": form,
        "settled": cuts.settled(project),
        "manages": role_in(user, project) == MANAGER,
    }
    return render(request, "pipeline/datasets.html", context, status=422 if form.errors else 200)


def after_cut(request: HttpRequest, project: Project, made: Snapshot | SnapshotCut) -> HttpResponse:
    if isinstance(made, SnapshotCut):
        messages.success(request, _("A worker cuts it: it appears here."))
        return redirect("datasets", project.slug)
    return redirect("snapshot", project.slug, made.pk)


def listing(project: Project) -> dict[str, Any]:
    unfinished = SnapshotCut.objects.filter(project=project).exclude(state=SnapshotCut.DONE)
    found = Snapshot.objects.filter(project=project).select_related("created_by").prefetch_related("models")
    newest = list(unfinished[:5])
    return {
        "project": project,
        "snapshots": found[:SHOWN_SNAPSHOTS],
        "cuts": newest,
        "cutting": any(cut.state != SnapshotCut.FAILED for cut in newest),
        "splits": SPLITS,
    }


@require_safe
def table(request: HttpRequest, slug: str) -> HttpResponse:
    """The list alone, for its poll; it asks again only while a snapshot is being cut."""
    return render(request, "pipeline/_datasets.html", listing(reviewed_project(signed_in(request), slug)))


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One snapshot: its splits, its card, its first rows (?split=test), its files, the models it made."""
    user = signed_in(request)
    snapshot = access.seen_snapshot(user, slug, pk)
    wanted = request.GET.get("split", "")
    split = wanted if wanted in SPLITS else SPLITS[0]
    context: dict[str, Any] = {
        "project": snapshot.project,
        "snapshot": snapshot,
        "splits": [{"name": name, "rows": snapshot.counts.get(name, 0)} for name in SPLITS],
        "split": split,
        "left_out": left_out(snapshot.counts.get("excluded", {})),
        "models": snapshot.models.select_related("run"),
        "runs": snapshot.runs.order_by("-id")[:20],
        "manages": role_in(user, snapshot.project) == MANAGER,
    }
    try:
        context["card"] = snapshots.read_card(snapshot)
        context["rows"] = snapshots.first_rows(snapshot, split, SHOWN_ROWS)
        context["files"] = [{"name": path.name, "size": path.stat().st_size} for path in files_of(snapshot)]
    except SnapshotError as error:
        context["sentence"] = str(error)
    return render(request, "pipeline/snapshot.html", context)


def files_of(snapshot: Snapshot) -> list[Path]:
    """The dataset's files. Raises SnapshotError."""
    return sorted(path for path in snapshots.format_folder(snapshot).iterdir() if path.is_file())


@require_safe
def download(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """The whole dataset as a ZIP, made while it is sent."""
    snapshot = access.managed_snapshot(signed_in(request), slug, pk)
    try:
        parts = exporting.zip_stream(snapshot)
    except SnapshotError as error:
        return back(request, snapshot, error)
    response = StreamingHttpResponse(parts, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{slug}-snapshot-{snapshot.number}.zip"'
    return response


@require_safe
def file(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """One of the dataset's files, ?name=train.jsonl."""
    snapshot = access.managed_snapshot(signed_in(request), slug, pk)
    try:
        files = {path.name: path for path in files_of(snapshot)}
    except SnapshotError as error:
        return back(request, snapshot, error)
    found = files.get(request.GET.get("name", ""))
    if found is None:
        raise Http404("No such file.")
    return FileResponse(found.open("rb"), as_attachment=True, filename=found.name)


def back(request: HttpRequest, snapshot: Snapshot, error: SnapshotError) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("snapshot", snapshot.project.slug, snapshot.pk)
