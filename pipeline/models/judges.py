"""Language models that rate, and every exchange with them.

Money is kept in whole units of 10⁻¹² of the currency of the prices (`pipeline.money`): prices have six
decimals and are per million tokens, so every cost is a whole number of units and sums are exact on any database.
"""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models import Annotation, Item, Project, Rater
from pipeline import money


class Judge(models.Model):
    """A language model set up to rate: endpoint, model, prompt version, protocol, price, spend cap.

    Its protocol (`pipeline.judging.config`) says how it is asked. A panel or a cascade asks the models of other
    judges, its members, and pays for them itself, within its own cap and within each member's. A reward judge is one
    reward model of ours, or several as an ensemble.

    The key of an endpoint is kept encrypted and is never shown again (`pipeline.judging.secrets`).

    ready → waiting (asked to slow down, or does not answer: goes on by itself at `resume_at`) → ready;
    ready → stopped (needs a person: key refused, cap reached …; `message` says what to do).
    """

    ENDPOINT, LOCAL, REWARD, PANEL, CASCADE = "endpoint", "local", "reward", "panel", "cascade"
    KINDS = [
        (ENDPOINT, "OpenAI-compatible endpoint"),
        (LOCAL, "model of the registry, on this machine"),
        (REWARD, "reward model or ensemble of the registry, on this machine"),
        (PANEL, "panel of several judges"),
        (CASCADE, "cheap judge first, dear judge when unsure"),
    ]
    BY_RUNS = (LOCAL, REWARD)  # asked by a run, in a process of its own
    OF_MEMBERS = (PANEL, CASCADE)
    READY, WAITING, STOPPED = "ready", "waiting", "stopped"
    STATES = [(state, state) for state in (READY, WAITING, STOPPED)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="judges")
    rater = models.OneToOneField(Rater, on_delete=models.PROTECT, related_name="judge")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=KINDS)
    base_url = models.CharField("URL", max_length=300, blank=True, help_text="For example https://api.example.com/v1")
    model = models.CharField(max_length=200, blank=True, help_text="the endpoint's name for the model")
    encrypted_key = models.TextField(blank=True)
    model_version = models.ForeignKey(
        "pipeline.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="judges"
    )
    reward_models = models.ManyToManyField("pipeline.ModelVersion", blank=True, related_name="reward_judges")
    members = models.ManyToManyField("self", through="JudgeMember", symmetrical=False, related_name="member_of")
    prompt = models.ForeignKey(
        "pipeline.JudgePrompt", null=True, blank=True, on_delete=models.RESTRICT, related_name="judges"
    )
    prompt_version = models.CharField(max_length=40, default="pairwise-1", help_text="the prompt's name")
    protocol = models.JSONField(default=dict, blank=True, help_text="how it is asked, as `judging.config` has it")
    enabled = models.BooleanField(default=True)
    concurrency = models.PositiveSmallIntegerField(
        default=4,
        validators=[MinValueValidator(1), MaxValueValidator(256)],
        help_text="How many questions may be with the endpoint at a time.",
    )
    timeout_seconds = models.PositiveSmallIntegerField(
        "time-out",
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds until an answer that does not come is given up.",
    )
    per_minute = models.PositiveIntegerField(
        "questions a minute",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="At most so many are sent in any minute; empty for no limit.",
    )
    max_tokens = models.PositiveIntegerField(
        "longest reply",
        default=300,
        validators=[MinValueValidator(8), MaxValueValidator(32768)],
        help_text="In tokens. A verdict and a sentence need about 60; models that think first need thousands.",
    )
    price_input = models.DecimalField(
        "price of what it reads",
        max_digits=12,
        decimal_places=6,
        default=Decimal(0),
        validators=[MinValueValidator(0)],
        help_text="per million tokens",
    )
    price_output = models.DecimalField(
        "price of what it writes",
        max_digits=12,
        decimal_places=6,
        default=Decimal(0),
        validators=[MinValueValidator(0)],
        help_text="per million tokens",
    )
    price_cached = models.DecimalField(
        "price of what it had read before",
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="per million tokens that the endpoint counts as cached; empty for the price of what it reads",
    )
    spend_cap = models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="In all, never overrun; empty for no cap.",
    )
    spent_units = models.BigIntegerField(default=0, help_text="what its replies cost, as the endpoint counted")
    reserved_units = models.BigIntegerField(default=0, help_text="the most that questions under way may cost")
    unknown_units = models.BigIntegerField(
        default=0, help_text="the most that questions may have cost whose replies were lost; counts against the cap"
    )
    elsewhere_units = models.BigIntegerField(
        default=0, help_text="the most that panels and cascades have spent at it; counts against its cap, not theirs"
    )
    state = models.CharField(max_length=8, choices=STATES, default=READY)
    message = models.CharField(max_length=500, blank=True, help_text="why it waits or stopped, and what to do")
    resume_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="questions in a row that the endpoint did not answer")
    answered_at = models.DateTimeField(null=True, blank=True, help_text="since it was set up as it is now")
    route_cursor = models.BigIntegerField(default=0, help_text="the newest Route whose item has its calls")
    dialect = models.JSONField(default=dict, blank=True, help_text="parameters that this endpoint will not take")
    lease_token = models.CharField(max_length=32, blank=True, help_text="the worker that asks for it now")
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="judge_unique_name"),
            models.CheckConstraint(
                condition=~Q(kind="endpoint", base_url=""),
                name="judge_endpoint_has_url",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def spent(self) -> Decimal:
        """What its replies cost so far."""
        return money.amount(self.spent_units)

    @property
    def unknown(self) -> Decimal:
        """The most that questions may have cost whose replies were lost."""
        return money.amount(self.unknown_units)

    @property
    def elsewhere(self) -> Decimal:
        """The most that panels and cascades have spent at it."""
        return money.amount(self.elsewhere_units)

    # What the routing policy leaves this judge in all, in units: no column, but told to a row that is held
    # (`pipeline.routing.budgets.allow`), because the judges of a project share it.
    allowance: int | None = None

    def units_left(self) -> int | None:
        """What may still be reserved under the cap and the policy; None without either."""
        return min((left for left in (self.under_cap(), self.under_policy()) if left is not None), default=None)

    def under_cap(self) -> int | None:
        """What its own cap leaves; None without one."""
        if self.spend_cap is None:
            return None
        booked = self.spent_units + self.reserved_units + self.unknown_units + self.elsewhere_units
        return money.units(self.spend_cap) - booked

    def under_policy(self) -> int | None:
        """What the routing policy leaves; None where it names no money."""
        if self.allowance is None:
            return None
        return self.allowance - self.spent_units - self.reserved_units - self.unknown_units

    @property
    def is_bound_by_policy(self) -> bool:
        """Is it the policy's money, and not its own cap, that is less?"""
        return self.allowance is not None and self.units_left() != self.under_cap()


class JudgeMember(models.Model):
    """One judge of a panel, or one tier of a cascade: the cheap one is at position 0."""

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="seats")
    member = models.ForeignKey(Judge, on_delete=models.RESTRICT, related_name="seats_elsewhere")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["judge", "member"], name="judge_member_unique")]


class JudgeCall(models.Model):
    """One question to a judge about one item in one presentation order, with what it said and what it cost.

    A protocol of several requests (samples, criteria, a reference answer first …) still is one call: its requests are
    JudgeReply rows, and its tokens and cost are their sums.

    A pending call is due. A worker claims it before it asks; `claim` names the claim, so that only its holder can
    settle the call, and a claim whose worker died is taken over.
    """

    PENDING, ANSWERED, UNPARSABLE, FAILED = "pending", "answered", "unparsable", "failed"
    STATES = [(state, state) for state in (PENDING, ANSWERED, UNPARSABLE, FAILED)]

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="calls")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="judge_calls")
    order_key = models.CharField(max_length=40)
    prompt_version = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=STATES, default=PENDING)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="requests made")
    replies = models.PositiveSmallIntegerField(default=0, help_text="replies received, each of them paid")
    strikes = models.PositiveSmallIntegerField(default=0, help_text="failures while the endpoint answered others")
    due_at = models.DateTimeField(null=True, blank=True, help_text="not before; empty for at once")
    reply = models.TextField(blank=True)
    choice = models.CharField(max_length=10, blank=True, help_text="a, b, tie or unparsable, in stored order")
    logprobs = models.JSONField(default=dict, blank=True, help_text="verdict → log-probability, if the endpoint tells")
    prompt_sha256 = models.CharField(max_length=64, blank=True)
    tokens_input = models.PositiveIntegerField(default=0)
    tokens_output = models.PositiveIntegerField(default=0)
    cost_units = models.BigIntegerField(default=0)
    reserved_units = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    error = models.CharField(max_length=500, blank=True)
    annotation = models.OneToOneField(
        Annotation, null=True, blank=True, on_delete=models.SET_NULL, related_name="judge_call"
    )
    claim = models.CharField(max_length=32, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["judge", "item", "order_key", "prompt_version"], name="judge_call_unique_question"
            ),
        ]
        indexes = [models.Index(fields=["judge", "state", "id"], name="judge_call_due")]

    @property
    def order(self) -> list[int]:
        """The presented order: "1-0" → [1, 0]."""
        return [int(position) for position in self.order_key.split("-")]

    @property
    def cost(self) -> Decimal:
        return money.amount(self.cost_units)


class JudgeReply(models.Model):
    """One paid reply of an endpoint, or one result of a tool, kept under what was asked: never paid twice.

    `key` is the SHA-256 of address, model, messages, sampling and number of the sample; within a project the same
    question to the same model is answered from here.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="judge_replies")
    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="paid_replies", help_text="who paid")
    call = models.ForeignKey(
        JudgeCall, null=True, blank=True, on_delete=models.SET_NULL, related_name="paid_replies", help_text="for what"
    )
    key = models.CharField(max_length=64)
    step = models.CharField(max_length=120, help_text="verdict, reference, rating of …")
    model = models.CharField(max_length=200, blank=True)
    temperature = models.FloatField(default=0.0)
    sample = models.PositiveIntegerField(default=0)
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    logprobs = models.JSONField(default=dict, blank=True, help_text="answer → log-probability, if the endpoint tells")
    tokens_input = models.PositiveIntegerField(null=True)
    tokens_output = models.PositiveIntegerField(null=True)
    cost_units = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="judge_reply_unique_key")]
        indexes = [models.Index(fields=["judge", "created_at"], name="judge_reply_recent")]

    @property
    def cost(self) -> Decimal:
        return money.amount(self.cost_units)
