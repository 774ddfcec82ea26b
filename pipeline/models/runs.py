"""Jobs: what was asked, how far it is, what came out."""

from django.db import models
from django.utils import timezone

from annotate.models import Project, User
from pipeline.ml.stages import STAGES


class Run(models.Model):
    """One job. `pipeline.runs` is the only writer of its state.

    queued → running → succeeded | failed (expected: a message) | errored (a crash: a traceback) | cancelled.
    `inputs` names files and models by what they are: {"base": {"path", "sha256", "model": id}, …}.
    """

    QUEUED, RUNNING = "queued", "running"
    SUCCEEDED, FAILED, ERRORED, CANCELLED = "succeeded", "failed", "errored", "cancelled"
    STATES = [(state, state) for state in (QUEUED, RUNNING, SUCCEEDED, FAILED, ERRORED, CANCELLED)]
    ENDED = (SUCCEEDED, FAILED, ERRORED, CANCELLED)
    KINDS = [(name, stage.title) for name, stage in STAGES.items()]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=24, choices=KINDS)
    state = models.CharField(max_length=10, choices=STATES, default=QUEUED)
    config = models.JSONField(default=dict, help_text="the stage's config, whole")
    seed = models.BigIntegerField(default=0)
    inputs = models.JSONField(default=dict)
    snapshot = models.ForeignKey(
        "pipeline.Snapshot", null=True, blank=True, on_delete=models.PROTECT, related_name="runs"
    )
    models_used = models.ManyToManyField("pipeline.ModelVersion", blank=True, related_name="used_by")
    judge = models.ForeignKey("pipeline.Judge", null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    loop = models.ForeignKey("pipeline.Loop", null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    folder = models.CharField(max_length=500, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    cancel_requested = models.BooleanField(default=False)
    watcher = models.CharField(max_length=120, blank=True, help_text="the process that watches it: host, pid, token")
    heartbeat = models.DateTimeField(null=True, blank=True, help_text="the watcher's last sign of life")
    asked_at = models.DateTimeField(null=True, blank=True, help_text="when a worker was last asked to drive it")
    events_offset = models.BigIntegerField(default=0, help_text="bytes of events.jsonl already taken in")
    step = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    progress = models.JSONField(default=dict, blank=True, help_text="the newest progress event")
    result = models.JSONField(default=dict, blank=True)
    message = models.TextField(blank=True, help_text="why it failed, for the user")
    traceback = models.TextField(blank=True, help_text="of a crash, for the operator")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="run_newest"),
            models.Index(
                fields=["state", "heartbeat"],
                name="run_due",
                condition=models.Q(state__in=["queued", "running"]),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def ended(self) -> bool:
        return self.state in self.ENDED


class RunEvent(models.Model):
    """One line of a run's events.jsonl, taken in once: `position` is its first byte in the file."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    position = models.BigIntegerField()
    t = models.FloatField(help_text="unix seconds")
    event = models.CharField(max_length=12)
    step = models.IntegerField(null=True)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="event_unique_position")]
        indexes = [models.Index(fields=["run", "event", "position"], name="event_by_kind")]
