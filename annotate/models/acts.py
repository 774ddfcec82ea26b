"""What those who run a project did there: the audit log, which is only ever added to."""

from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from annotate.models.projects import Project, User


class AppendOnly(Exception):
    """Somebody tried to change or delete what is kept for good."""


class ActQuerySet(models.QuerySet["Act"]):
    """Reads and inserts; what is there stays as it is."""

    def update(self, **kwargs: Any) -> int:
        raise AppendOnly("Acts are never changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly("Acts are never deleted.")

    def bulk_update(self, *args: Any, **kwargs: Any) -> int:
        raise AppendOnly("Acts are never changed.")


class Act(models.Model):
    """One administrative act. Written by `annotate.audit.record` alone, never changed, never deleted.

    `by_name`, `words` and `place` say what the foreign keys and ids meant at the time, so that the row can be read
    when what it names is gone.
    """

    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.SET_NULL, related_name="acts")
    place = models.CharField(max_length=120, blank=True, help_text="the project's name at the time")
    by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="acts")
    by_name = models.CharField(max_length=150)
    verb = models.CharField(max_length=20)
    kind = models.CharField(max_length=30, help_text="what it was done to: settings, member, run …")
    object_id = models.BigIntegerField(null=True, blank=True)
    words = models.CharField(max_length=300, blank=True, help_text="the object in words")
    before = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    at = models.DateTimeField(default=timezone.now)

    objects = ActQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "-id"], name="act_of_project"),
            models.Index(fields=["by", "-id"], name="act_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.by_name} {self.verb} {self.kind} {self.words}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise AppendOnly("Acts are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly("Acts are never deleted.")
