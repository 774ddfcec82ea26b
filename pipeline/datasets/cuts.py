"""Snapshots that a worker cuts: a large project's takes longer than somebody waits for a page.

A cut that is queued, or whose worker has shown no sign of life, is due; whoever takes it claims it. Cutting twice
gives the same snapshot.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotate import audit
from annotate.models import Item, Label, Project, Question, User
from pipeline.datasets.snapshots import SnapshotError, checked, cut_snapshot
from pipeline.models import Snapshot, SnapshotCut

AT_ONCE = 3000  # labels: about two seconds
STALE = timedelta(seconds=60)


def settled(project: Project) -> int:
    """How many labelled items a snapshot would look at."""
    labels = Label.objects.filter(question__project=project, question__kind=Question.PREFERENCE)
    return labels.filter(item__state=Item.LABELLED).count()


def cut_or_queue(*, project: Project, by: User | None, settings: Mapping[str, Any]) -> Snapshot | SnapshotCut:
    """The snapshot at once where that is quick, else the cut that a worker will do. Raises SnapshotError."""
    labels = settled(project)
    if labels <= AT_ONCE:
        return cut_snapshot(project=project, by=by, settings=settings)
    checked(settings)
    with transaction.atomic():
        made = SnapshotCut.objects.create(project=project, settings=dict(settings), labels=labels, created_by=by)
        audit.record(
            project=project, by=by, verb=audit.STARTED, kind="snapshot", object_id=made.pk, after=dict(settings)
        )
        transaction.on_commit(partial(ask_worker, made.pk), robust=True)
    return made


def ask_worker(cut_id: int) -> None:
    """Send a message that this cut is due. It may be lost: `due` finds the cut again."""
    current_app.send_task("pipeline.tasks.cut_snapshot_task", [cut_id], retry=False)


def waiting() -> Q:
    return Q(state=SnapshotCut.QUEUED) | Q(state=SnapshotCut.RUNNING, heartbeat__lt=timezone.now() - STALE)


def due() -> list[int]:
    """The cuts that wait for a worker."""
    return list(SnapshotCut.objects.filter(waiting()).order_by("id").values_list("pk", flat=True))


def run(cut_id: int) -> None:
    """Do one cut, unless another worker has it."""
    mine = SnapshotCut.objects.filter(pk=cut_id)
    if not mine.filter(waiting()).update(state=SnapshotCut.RUNNING, heartbeat=timezone.now()):
        return
    cut = mine.select_related("project", "created_by").get()

    def report(read: int) -> None:
        mine.update(labels_read=read, heartbeat=timezone.now())

    try:
        snapshot = cut_snapshot(project=cut.project, by=cut.created_by, settings=cut.settings, report=report)
    except SnapshotError as error:
        mine.update(state=SnapshotCut.FAILED, message=str(error)[:500], finished_at=timezone.now())
        return
    except Exception as error:
        message = f"It crashed ({type(error).__name__}: {error}); the worker's log says where."
        mine.update(state=SnapshotCut.FAILED, message=message[:500], finished_at=timezone.now())
        raise
    mine.update(state=SnapshotCut.DONE, snapshot=snapshot, finished_at=timezone.now())
