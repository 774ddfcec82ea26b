"""Recurring recipes."""

from django.db import models
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from annotate.models import Project, User


class Loop(models.Model):
    """A recurring recipe: what triggers it, and what it starts. `pipeline.loops` is the only writer.

    A loop looks every `every_minutes`, and fires when `new_labels` labels have come since it last fired.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="loops")
    name = models.CharField(max_length=120)
    step = models.CharField(max_length=24, default="train_reward", help_text="the kind of run that it starts")
    config = models.JSONField(default=dict, blank=True)
    new_labels = models.PositiveIntegerField(default=100, help_text="fires when this many new labels are there")
    every_minutes = models.PositiveIntegerField(default=10, help_text="how often it looks")
    enabled = models.BooleanField(default=True)
    cursor = models.BigIntegerField(default=0, help_text="the newest Change that a firing has used")
    seen = models.PositiveIntegerField(default=0, help_text="Changes up to the cursor, when it was set")
    last_look = models.DateTimeField(null=True, blank=True)
    periodic_task = models.OneToOneField(PeriodicTask, null=True, blank=True, on_delete=models.SET_NULL)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="loop_unique_name")]

    def __str__(self) -> str:
        return self.name


class LoopFiring(models.Model):
    """One time a loop fired: the cursor it fired at (unique, so that it cannot fire twice) and the run."""

    loop = models.ForeignKey(Loop, on_delete=models.CASCADE, related_name="firings")
    number = models.PositiveIntegerField()
    cursor = models.BigIntegerField()
    labels = models.PositiveIntegerField(help_text="how many new labels it fired for")
    run = models.OneToOneField("pipeline.Run", null=True, on_delete=models.SET_NULL, related_name="firing")
    message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["loop", "number"], name="firing_unique_number"),
            models.UniqueConstraint(fields=["loop", "cursor"], name="firing_unique_cursor"),
        ]
