"""Who is asked about an item, and why."""

from django.db import models
from django.utils import timezone

from annotate.models import Item, Project, User


class Route(models.Model):
    """One routing decision. Never changed, only followed by a newer one; `pipeline.routing` is the only writer.

    `chances` are the probabilities of all decisions at the time, `features` what was known of the item: from them and
    the policy's version the decision can be made again.
    """

    HUMAN, JUDGE, BOTH = Item.HUMAN, Item.JUDGE, Item.BOTH
    DECISIONS = [(HUMAN, "people"), (JUDGE, "judge"), (BOTH, "people and judge")]

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="routes")
    number = models.PositiveIntegerField(default=1, help_text="1 for an item's first decision")
    decision = models.CharField(max_length=6, choices=DECISIONS)
    reason = models.CharField(max_length=500)
    propensity = models.FloatField(help_text="probability of this decision at the time")
    chances = models.JSONField(default=dict, help_text="decision → probability")
    features = models.JSONField(default=dict, help_text="what was known of the item")
    people = models.PositiveSmallIntegerField(null=True, blank=True, help_text="how many are wanted; empty for as set")
    expected_gain = models.FloatField(null=True, blank=True, help_text="in expected accuracy of the label")
    cost = models.FloatField(null=True, blank=True, help_text="people's answers that it asks for")
    policy = models.CharField(max_length=40, help_text="the part of the policy that decided")
    policy_version = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["item", "number"], name="route_unique_number")]


class RoutingPolicy(models.Model):
    """What a project's router is told to do, under a version that never changes. The newest is in force."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="routing_policies")
    number = models.PositiveIntegerField()
    settings = models.JSONField(help_text="as `pipeline.routing.choosing.plans` has them")
    note = models.CharField(max_length=300, blank=True)
    evidence = models.JSONField(default=dict, help_text="the comparison by which it was proposed, if it was")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="routing_policy_unique_number")]

    def __str__(self) -> str:
        return f"policy {self.number}"


class RoutingState(models.Model):
    """How far a project's router is: what it has spent, what it has read. Its lock is the router's own.

    `spent` counts the places that it opened for people, less those that it closed unused.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="routing_state")
    spent = models.PositiveIntegerField(default=0, help_text="people's answers, in all")
    day = models.DateField(null=True, blank=True)
    spent_today = models.PositiveIntegerField(default=0)
    made = models.JSONField(default=dict, help_text="part of the policy → [decisions, people's answers asked for]")
    owed = models.PositiveIntegerField(default=0, help_text="items whose people wait for the budget")
    change = models.BigIntegerField(default=0, help_text="the newest Change that was read")
    seen = models.JSONField(default=list, help_text="Changes after it that were read: too young to pass over")
    layout = models.JSONField(default=dict, help_text="the columns of beliefs, with their number")
    pass_after = models.BigIntegerField(null=True, help_text="beliefs up to this item are brought up; empty: all are")
    claimed_at = models.DateTimeField(null=True, blank=True)
    report = models.JSONField(default=dict, help_text="policies replayed on what people and judges both answered")
    report_asked = models.BooleanField(default=False)
    report_at = models.DateTimeField(null=True, blank=True)


class Certificate(models.Model):
    """How right a project's delivered labels are, by audits. Derived: it can be thrown away and computed again.

    `pipeline.routing.delivering` is the only writer. `audits` are rows of its `Audited`.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="certificate")
    report = models.JSONField(default=dict)
    audits = models.JSONField(default=list)
    change = models.BigIntegerField(default=0, help_text="the project's newest Change when it was made")
    made_at = models.DateTimeField(default=timezone.now)
