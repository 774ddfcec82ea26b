"""What raters did, hour by hour: rolled up from annotations by the worker, so that pages need not count."""

from django.db import models
from django.utils import timezone

from annotate.models.annotations import Rater
from annotate.models.projects import Project


class WorkHour(models.Model):
    """One rater's answers within one hour. Revisions are no further answers."""

    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="work_hours")
    hour = models.DateTimeField(help_text="its start")
    answers = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="active time, summed")
    sided = models.PositiveIntegerField(default=0, help_text="answers that preferred one of two sides")
    left = models.PositiveIntegerField(default=0, help_text="of those, the one shown first")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rater", "hour"], name="work_hour_unique")]


class RaterPace(models.Model):
    """How a rater works as of late; kept by the worker whenever the rater has answered."""

    rater = models.OneToOneField(Rater, on_delete=models.CASCADE, related_name="pace")
    median_seconds = models.FloatField(null=True, help_text="of the newest answers with a time")
    last_at = models.DateTimeField(null=True, help_text="the newest answer")


class Rollup(models.Model):
    """How far the worker has rolled a project's work up, and what is still open."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="rollup")
    cursor = models.BigIntegerField(default=0, help_text="the newest Change that is taken in")
    imports = models.PositiveIntegerField(default=0, help_text="imports with annotations that are taken in")
    open_places = models.PositiveIntegerField(default=0, help_text="places for people, with those that are leased")
    updated_at = models.DateTimeField(default=timezone.now)
