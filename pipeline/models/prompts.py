"""The words that judges are given, version by version."""

from django.db import models
from django.utils import timezone

from annotate.models import Project, User


class JudgePrompt(models.Model):
    """One version of what a project's judges are told: a template a kind of question, and principles in free text.

    The row never changes: saving other words makes a new version (`pipeline.judging.prompts` is the only writer), and
    annotations keep the name of the one that they were made with.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="judge_prompts")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=40, help_text="what annotations and calls keep: pairwise-1, prompt-2 …")
    templates = models.JSONField(default=dict, help_text="kind of question → instructions with places in braces")
    principles = models.TextField(blank=True)
    note = models.CharField(max_length=300, blank=True, help_text="why it was made")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="judge_prompt_unique_number"),
            models.UniqueConstraint(fields=["project", "name"], name="judge_prompt_unique_name"),
        ]

    def __str__(self) -> str:
        return self.name
