"""Who is asked about an item, and why."""

from django.db import models
from django.utils import timezone

from annotate.models import Item


class Route(models.Model):
    """One routing decision. Never changed, only followed by a newer one; `pipeline.routing` is the only writer."""

    HUMAN, JUDGE, BOTH = Item.HUMAN, Item.JUDGE, Item.BOTH
    DECISIONS = [(HUMAN, "people"), (JUDGE, "judge"), (BOTH, "people and judge")]

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="routes")
    number = models.PositiveIntegerField(default=1, help_text="1 for an item's first decision")
    decision = models.CharField(max_length=6, choices=DECISIONS)
    reason = models.CharField(max_length=300)
    propensity = models.FloatField(help_text="probability of this decision at the time")
    expected_gain = models.FloatField(null=True, blank=True)
    cost = models.FloatField(null=True, blank=True)
    policy = models.CharField(max_length=40)
    policy_version = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["item", "number"], name="route_unique_number")]
