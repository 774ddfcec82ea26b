"""Snapshots: immutable datasets cut from labels."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models import Item, Project, User


class Snapshot(models.Model):
    """An immutable, hashed dataset cut from a project's labels, split by prompt. The row is never changed."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="snapshots")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="of its rows in order: the same labels give the same hash")
    folder = models.CharField(max_length=500)
    settings = models.JSONField(default=dict, help_text="what was taken: sources, minimum probability, ties, seed")
    counts = models.JSONField(default=dict, help_text='{"train": n, "validation": n, "test": n, "human": n, …}')
    change_cursor = models.BigIntegerField(default=0, help_text="the newest Change that it could see")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="snapshot_unique_number"),
            models.UniqueConstraint(fields=["project", "sha256"], name="snapshot_unique_content"),
        ]

    def __str__(self) -> str:
        return f"snapshot {self.number}"


class SnapshotItem(models.Model):
    """Which item stands in which split of which snapshot, and the annotations behind it: the trace of a label."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="members")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="snapshots")
    split = models.CharField(max_length=10)
    annotations = models.JSONField(default=list, help_text="ids of the annotations that made the label")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["snapshot", "item"], name="snapshot_unique_item")]


class SnapshotCut(models.Model):
    """A snapshot that was asked for and that a worker cuts, because it may take minutes."""

    QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
    STATES = [(state, state) for state in (QUEUED, RUNNING, DONE, FAILED)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="cuts")
    settings = models.JSONField(default=dict)
    state = models.CharField(max_length=7, choices=STATES, default=QUEUED)
    labels_read = models.PositiveIntegerField(default=0)
    labels = models.PositiveIntegerField(default=0, help_text="how many there were when it was asked for")
    message = models.CharField(max_length=500, blank=True)
    snapshot = models.ForeignKey(Snapshot, null=True, blank=True, on_delete=models.CASCADE, related_name="cuts")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    heartbeat = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state", "heartbeat"], name="cut_due", condition=Q(state__in=["queued", "running"]))
        ]
