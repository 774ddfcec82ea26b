"""What was done to many items at once, kept so that it can be undone."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

from annotate.models.items import Item
from annotate.models.projects import Project, User

UNDO_WITHIN = timedelta(days=30)


class BulkAct(models.Model):
    """One act on many items: queued → running → done → undoing → undone. Written by `annotate.managing` alone."""

    QUEUED, RUNNING, DONE, UNDOING, UNDONE = "queued", "running", "done", "undoing", "undone"
    STATES = [(state, state) for state in (QUEUED, RUNNING, DONE, UNDOING, UNDONE)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="bulk_acts")
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    verb = models.CharField(max_length=20)
    value = models.JSONField(null=True, blank=True)
    choices = models.JSONField(default=dict, blank=True, help_text="what the list's address said")
    items = models.JSONField(default=list, blank=True, help_text="ids that were chosen; empty for all that fit")
    upto = models.BigIntegerField(help_text="the newest item when it was asked for: later ones are left alone")
    total = models.PositiveIntegerField(help_text="items that fitted when it was asked for")
    state = models.CharField(max_length=8, choices=STATES, default=QUEUED)
    cursor = models.BigIntegerField(default=0, help_text="the last item that was looked at")
    done = models.PositiveIntegerField(default=0, help_text="items that were looked at")
    changed = models.PositiveIntegerField(default=0)
    restored = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0, help_text="not restored: they changed since")
    heartbeat = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["heartbeat"], name="bulk_due", condition=models.Q(state__in=["queued", "running", "undoing"])
            ),
        ]

    @property
    def is_working(self) -> bool:
        return self.state in (self.QUEUED, self.RUNNING, self.UNDOING)

    @property
    def can_undo(self) -> bool:
        fresh = self.finished_at is not None and self.finished_at > timezone.now() - UNDO_WITHIN
        return self.state == self.DONE and self.changed > 0 and fresh


class BulkChange(models.Model):
    """What a bulk act changed in one item: enough to put it back."""

    act = models.ForeignKey(BulkAct, on_delete=models.CASCADE, related_name="changes")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="bulk_changes")
    before = models.JSONField()
    after = models.JSONField()
    restored = models.BooleanField(null=True, help_text="None until the act is undone; False: it had changed since")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["act", "item"], name="bulk_change_unique_item")]
