"""What people report about items."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from annotate.models.annotations import Rater
from annotate.models.items import Item
from annotate.models.projects import Project, User


class Flag(models.Model):
    """A problem that a rater saw in an item, and what was answered. It does not take the item from the rater.

    One is open at most for a rater and an item: more to say changes it.
    """

    UNCLEAR, WRONG, HARMFUL, PERSONAL, BROKEN = "unclear", "wrong", "harmful", "personal", "broken"
    KINDS = [
        (UNCLEAR, gettext_lazy("the task is unclear")),
        (WRONG, gettext_lazy("the prompt is wrong")),
        (HARMFUL, gettext_lazy("harmful content")),
        (PERSONAL, gettext_lazy("personal data")),
        (BROKEN, gettext_lazy("shown wrong or cut off")),
    ]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="flags")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="flags")
    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="flags")
    kind = models.CharField(max_length=60, choices=KINDS, help_text="One of these, or the project's own words.")
    comment = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    resolution = models.CharField(max_length=1000, blank=True, help_text="The answer, which the rater sees.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "rater"], condition=Q(resolved_at__isnull=True), name="flag_one_open"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "created_at"], name="flag_open", condition=Q(resolved_at__isnull=True)),
            models.Index(fields=["project", "-resolved_at"], name="flag_resolved"),
            models.Index(fields=["rater", "-created_at"], name="flag_by_rater"),
        ]
