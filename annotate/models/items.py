"""What is labelled: prompts with their responses, and the files they came from."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models.projects import Pool, Project, User


class Import(models.Model):
    """One file on its way in: looked at first, taken in whole or not at all."""

    UPLOADED, QUEUED, RUNNING, DONE, FAILED = "uploaded", "queued", "running", "done", "failed"
    STATES = [(state, state) for state in (UPLOADED, QUEUED, RUNNING, DONE, FAILED)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    file_name = models.CharField(max_length=255)
    path = models.CharField(max_length=500, help_text="Where the upload lies; empty once it is no longer needed.")
    size = models.BigIntegerField(default=0, help_text="bytes")
    format = models.CharField(max_length=40, blank=True)
    mapping = models.JSONField(default=dict, blank=True, help_text="column of the file → field of an item")
    state = models.CharField(max_length=10, choices=STATES, default=UPLOADED)
    bytes_read = models.BigIntegerField(default=0)
    rows_read = models.PositiveIntegerField(default=0)
    items_created = models.PositiveIntegerField(default=0)
    items_existing = models.PositiveIntegerField(default=0)
    annotations_created = models.PositiveIntegerField(default=0)
    annotations_existing = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=list, blank=True, help_text="[{row, message}], the first hundred")
    error_count = models.PositiveIntegerField(default=0)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    heartbeat = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]


class Item(models.Model):
    """One prompt and its responses: the unit that is routed, leased, labelled, aggregated.

    `slots_open` is overlap − live leases − counted annotations of people, changed only inside the transaction
    that leases, releases or submits; it is 0 for an item that was not routed to people.
    """

    OPEN, LABELLED, ARCHIVED = "open", "labelled", "archived"
    GOLD = "gold"  # its answer is known: it measures people, takes no places and gets no label
    STATES = [(OPEN, "open"), (LABELLED, "labelled"), (ARCHIVED, "archived"), (GOLD, "gold")]
    UNROUTED, HUMAN, JUDGE, BOTH = "", "human", "judge", "both"
    ROUTES = [(UNROUTED, "not routed"), (HUMAN, "people"), (JUDGE, "judge"), (BOTH, "people and judge")]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="items")
    external_id = models.CharField(max_length=200)
    title = models.CharField(max_length=140, help_text="The start of the last user turn, for lists.")
    prompt = models.JSONField(help_text='chat messages: [{"role", "content"}]')
    prompt_hash = models.CharField(max_length=64, db_index=True)
    content_hash = models.CharField(max_length=64, help_text="of prompt, responses and model names")
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=STATES, default=OPEN)
    route = models.CharField(max_length=8, choices=ROUTES, default=UNROUTED, blank=True)
    priority = models.FloatField(default=0.0)
    overlap = models.PositiveSmallIntegerField(default=0, help_text="people wanted; 0 until routed to people")
    slots_open = models.SmallIntegerField(default=0)
    pool = models.ForeignKey(
        Pool, null=True, blank=True, on_delete=models.RESTRICT, related_name="items", db_index=False
    )
    verdict = models.ForeignKey(
        "annotate.Annotation",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        help_text="The reviewer's answer that decides its labels, if one does.",
    )
    review_value = models.FloatField(default=0.0, help_text="what a reviewer's look is worth; kept with its labels")
    is_sample = models.BooleanField(default=False, help_text="written for the demo, not collected")
    source = models.ForeignKey(Import, null=True, blank=True, on_delete=models.SET_NULL, related_name="items")
    created_at = models.DateTimeField(default=timezone.now)

    # Its responses, once somebody has read them: not stored, set by `annotate.queries.responses_of`.
    responses_read: list["Response"] | None = None

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="item_unique_external_id"),
            models.UniqueConstraint(fields=["project", "content_hash"], name="item_unique_content"),
            models.CheckConstraint(condition=Q(slots_open__gte=0), name="item_slots_not_negative"),
        ]
        indexes = [
            # The queue's one statement is a range over this index. Only items routed to people have open slots,
            # so the route need not be a column of it.
            models.Index(
                fields=["project", "pool", "-priority", "id"], name="item_queue", condition=Q(slots_open__gt=0)
            ),
            models.Index(fields=["pool"], name="item_by_pool", condition=Q(pool__isnull=False)),
            models.Index(fields=["project", "route", "id"], name="item_by_route"),
            models.Index(fields=["project", "id"], name="item_unrouted", condition=Q(route="", state="open")),
            models.Index(fields=["project", "-id"], name="item_newest"),
            models.Index(
                fields=["project", "-review_value", "id"], name="item_review", condition=Q(review_value__gt=0)
            ),
            models.Index(fields=["project", "-priority", "id"], name="item_by_priority"),
        ]

    def __str__(self) -> str:
        return self.external_id


class Response(models.Model):
    """One answer of an item; it knows the model that wrote it."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="responses")
    position = models.PositiveSmallIntegerField(help_text="0 is a, 1 is b: stored order, never as presented")
    model = models.CharField(max_length=200, blank=True)
    author = models.CharField(max_length=150, blank=True, help_text="The user name of the member who wrote it.")
    messages = models.JSONField(help_text='chat messages: [{"role", "content"}]')
    words = models.PositiveIntegerField(default=0)
    metadata = models.JSONField(default=dict, blank=True, help_text="sampling seed, run and model version, if ours")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["item", "position"], name="response_unique_position")]
        indexes = [
            models.Index(fields=["author", "item"], name="response_by_author", condition=~Q(author="")),
            models.Index(fields=["model", "item"], name="response_by_model"),
        ]


class Attachment(models.Model):
    """A picture that the texts of a project name as `![alt](attachment:<sha256>)`.

    The file lies once under its hash, however many projects have it; a row lets the project's members see it.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="attachments")
    sha256 = models.CharField(max_length=64, help_text="of the file as it is kept, in hex")
    original = models.CharField(
        max_length=64, help_text="SHA-256 of the file as it came: the same one is not made anew"
    )
    content_type = models.CharField(max_length=20)
    width = models.PositiveIntegerField(help_text="pixels")
    height = models.PositiveIntegerField(help_text="pixels")
    size = models.PositiveIntegerField(help_text="bytes")
    source = models.CharField(max_length=500, blank=True, help_text="its name in the archive, or its address")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="attachment_unique_in_project")]
        indexes = [
            models.Index(fields=["project", "original"], name="attachment_by_original"),
            models.Index(fields=["sha256"], name="attachment_by_hash"),  # has anybody this file?
        ]

    def __str__(self) -> str:
        return self.sha256
