"""Language models that rate, and every exchange with them."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models import Annotation, Item, Project, Rater


class Judge(models.Model):
    """A language model set up to rate: endpoint, model, prompt version, price, spend cap.

    The key of an endpoint is kept encrypted and is never shown again (`pipeline.judging.secrets`).
    """

    ENDPOINT, LOCAL = "endpoint", "local"
    KINDS = [(ENDPOINT, "OpenAI-compatible endpoint"), (LOCAL, "model of the registry, on this machine")]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="judges")
    rater = models.OneToOneField(Rater, on_delete=models.PROTECT, related_name="judge")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=KINDS)
    base_url = models.URLField(max_length=300, blank=True)
    model = models.CharField(max_length=200, blank=True, help_text="the endpoint's name for the model")
    encrypted_key = models.TextField(blank=True)
    model_version = models.ForeignKey(
        "pipeline.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="judges"
    )
    prompt_version = models.CharField(max_length=40, default="pairwise-1")
    enabled = models.BooleanField(default=True)
    concurrency = models.PositiveSmallIntegerField(default=4)
    timeout_seconds = models.PositiveSmallIntegerField(default=60)
    price_input = models.DecimalField(max_digits=12, decimal_places=6, default=0, help_text="per million tokens")
    price_output = models.DecimalField(max_digits=12, decimal_places=6, default=0, help_text="per million tokens")
    spend_cap = models.DecimalField(
        max_digits=12, decimal_places=4, null=True, blank=True, help_text="in all; empty for no cap"
    )
    spent = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="judge_unique_name"),
            models.CheckConstraint(
                condition=Q(kind="endpoint") & ~Q(base_url="") | Q(kind="local"),
                name="judge_endpoint_has_url",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class JudgeCall(models.Model):
    """One question to a judge about one item in one presentation order, with what it said and what it cost."""

    PENDING, ANSWERED, UNPARSABLE, FAILED = "pending", "answered", "unparsable", "failed"
    STATES = [(state, state) for state in (PENDING, ANSWERED, UNPARSABLE, FAILED)]

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="calls")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="judge_calls")
    order_key = models.CharField(max_length=40)
    prompt_version = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=STATES, default=PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    reply = models.TextField(blank=True)
    logprobs = models.JSONField(default=dict, blank=True, help_text="verdict → log-probability, if the endpoint tells")
    tokens_input = models.PositiveIntegerField(default=0)
    tokens_output = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    seconds = models.FloatField(default=0.0)
    error = models.CharField(max_length=500, blank=True)
    annotation = models.OneToOneField(
        Annotation, null=True, blank=True, on_delete=models.SET_NULL, related_name="judge_call"
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["judge", "item", "order_key", "prompt_version"], name="judge_call_unique_question"
            ),
        ]
        indexes = [models.Index(fields=["judge", "state", "id"], name="judge_call_due")]
