"""Every model: where it lies, what it came from, whether it is in use."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models import Project, User


class ModelVersion(models.Model):
    """A base, reward or policy model. Base models belong to no project; the others carry their lineage.

    `pipeline.registry` is the only writer. One promoted model a project and kind: the promoted policy is what
    "generate" uses next.
    """

    BASE, REWARD, POLICY = "base", "reward", "policy"
    KINDS = [(BASE, "base"), (REWARD, "reward"), (POLICY, "policy")]
    CANDIDATE, PROMOTED, RETIRED = "candidate", "promoted", "retired"
    STAGES = [(CANDIDATE, "candidate"), (PROMOTED, "promoted"), (RETIRED, "retired")]

    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=120, help_text="everyday-help-reward-3")
    kind = models.CharField(max_length=8, choices=KINDS)
    stage = models.CharField(max_length=10, choices=STAGES, default=CANDIDATE)
    path = models.CharField(max_length=500, help_text="an ordinary transformers folder")
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(default=0, help_text="bytes")
    run = models.OneToOneField(
        "pipeline.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="produced"
    )
    snapshot = models.ForeignKey(
        "pipeline.Snapshot", null=True, blank=True, on_delete=models.PROTECT, related_name="models"
    )
    base = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="descendants")
    reward_model = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="policies",
        help_text="PPO's reward",
    )
    report = models.JSONField(default=dict, blank=True, help_text="the newest evaluation, as the stage wrote it")
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    promoted_at = models.DateTimeField(null=True, blank=True)
    promoted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_unique_name"),
            models.UniqueConstraint(fields=["name"], condition=Q(project=None), name="base_model_unique_name"),
            models.UniqueConstraint(
                fields=["project", "kind"], condition=Q(stage="promoted"), name="model_one_promoted"
            ),
        ]

    def __str__(self) -> str:
        return self.name
