"""Who said what about which item, and what it adds up to."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models.items import Item
from annotate.models.projects import Project, Question, User


class Rater(models.Model):
    """Who judges: a person or a judge. Same table, same statistics, same rules."""

    HUMAN, JUDGE = "human", "judge"
    KINDS = [(HUMAN, "person"), (JUDGE, "judge")]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="raters")
    kind = models.CharField(max_length=6, choices=KINDS)
    name = models.CharField(max_length=200, help_text="A user's name, a judge's name, or the name in a file.")
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="raters")
    is_sample = models.BooleanField(default=False)
    excluded_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then what they said counts for nothing; it is kept."
    )
    gold_given = models.PositiveIntegerField(default=0, help_text="gold items that the queue mixed in")
    gold_seen = models.PositiveIntegerField(default=0, help_text="of those, answered")
    gold_right = models.PositiveIntegerField(default=0, help_text="of those, as expected")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "name"], name="rater_unique_name"),
            models.UniqueConstraint(
                fields=["project", "user"], condition=Q(user__isnull=False), name="rater_unique_user"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Assignment(models.Model):
    """A lease of one item to one rater. One row for the pair, reused when it is leased again."""

    LEASED, SUBMITTED, SKIPPED, EXPIRED = "leased", "submitted", "skipped", "expired"
    EXCLUDED = "excluded"  # the rater wrote one of the responses, so the item never comes to them
    STATES = [(state, state) for state in (LEASED, SUBMITTED, SKIPPED, EXPIRED, EXCLUDED)]

    # Both have the indexes below: an index of their own would be written by every lease and read by none.
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    state = models.CharField(max_length=10, choices=STATES, default=LEASED)
    order = models.JSONField(help_text="presented order: positions of the responses, left to right")
    leased_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    draft = models.JSONField(default=dict, blank=True)
    active_seconds = models.FloatField(default=0.0)
    skip_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "rater"], name="assignment_unique_item_rater")]
        indexes = [
            models.Index(fields=["expires_at"], name="assignment_live", condition=Q(state="leased")),
            models.Index(fields=["rater", "state", "-finished_at"], name="assignment_by_rater"),
            # What a rater holds or has done of an item, for the head of the queue, without the row itself.
            models.Index(fields=["item", "rater"], name="assignment_taken", condition=~Q(state="expired")),
        ]


class Annotation(models.Model):
    """What a rater submitted. Immutable: an edit is a new row that names the one it replaces."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    order = models.JSONField(help_text="presented order: positions of the responses, left to right")
    order_key = models.CharField(max_length=40, help_text='the order as text: "1-0"')
    answers = models.JSONField(help_text="question name → answer, in stored order")
    reason = models.TextField(blank=True)
    reference = models.TextField(blank=True, help_text="The judge's own answer, where it wrote one.")
    confidence = models.FloatField(null=True, blank=True, help_text="of the choice, 0 to 1")
    seconds = models.FloatField(null=True, blank=True, help_text="active time")
    counted = models.BooleanField(default=True, help_text="False for a late submit without a slot, and on gold.")
    guideline_version = models.PositiveIntegerField(default=1)
    rubric_version = models.PositiveIntegerField(default=1)
    revision = models.PositiveIntegerField(default=0)
    replaces = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_by"
    )
    idempotency_key = models.CharField(
        max_length=64, null=True, blank=True, help_text="made by the page: an answer that is sent twice counts once"
    )
    metadata = models.JSONField(default=dict, blank=True)
    submitted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "rater", "order_key", "revision"], name="annotation_unique_revision"
            ),
            # A page's key is its own affair: whatever others send, it cannot stand in their way.
            models.UniqueConstraint(
                fields=["item", "rater", "idempotency_key"],
                name="annotation_unique_key",
                condition=Q(idempotency_key__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["rater", "-submitted_at"], name="annotation_by_rater")]


class Label(models.Model):
    """The aggregate over the current annotations of one item and question. Derived: it can be computed again."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="labels", db_index=False)
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="labels", db_index=False)
    value = models.JSONField(help_text="an option, a list of options, or what each response, step or span adds up to")
    probability = models.FloatField(null=True, help_text="that the value is right, as `method` says")
    distribution = models.JSONField(default=dict, help_text="option → probability")
    strength = models.FloatField(null=True, blank=True, help_text="mean steps from the scale's centre")
    votes = models.PositiveIntegerField()
    method = models.CharField(max_length=40)
    decided_by = models.CharField(max_length=8, choices=[("human", "people"), ("judge", "judges"), ("prior", "prior")])
    details = models.JSONField(default=dict, help_text="plain vote shares, raw means, standard errors, by the kind")
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "question"], name="label_unique_item_question")]
        indexes = [models.Index(fields=["question", "probability", "item"], name="label_by_probability")]


class Prior(models.Model):
    """What the pipeline knows about an item before people say more; aggregation multiplies it in."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="priors")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="priors")
    probabilities = models.JSONField(help_text="option → probability")
    source = models.CharField(max_length=120)
    version = models.CharField(max_length=60)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "question", "source"], name="prior_unique_source"),
        ]


class Change(models.Model):
    """The append-only log that the pipeline reads by cursor (`id`). Rows are never changed."""

    SUBMITTED, RELABELLED, IMPORTED = "submitted", "relabelled", "imported"
    KINDS = [(kind, kind) for kind in (SUBMITTED, RELABELLED, IMPORTED)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=10, choices=KINDS)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="changes")
    annotation = models.ForeignKey(Annotation, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "kind", "id"], name="change_cursor")]
