"""What is known about how good answers are: items whose answer is known, and how raters did on them."""

from django.db import models
from django.utils import timezone

from annotate.models.annotations import Annotation, Rater
from annotate.models.items import Item
from annotate.models.projects import User


class Gold(models.Model):
    """An item whose answer is known, what it is used for, and what is said to those who miss it.

    Its item is in the state `gold`: it takes no places, gets no label, and its annotations do not count.
    """

    MIXED, ATTENTION, TRAINING, QUIZ = "gold", "attention", "training", "quiz"
    USES = [
        (MIXED, "mixed into the queue"),
        (ATTENTION, "attention check, mixed into the queue"),
        (TRAINING, "training, with feedback after the answer"),
        (QUIZ, "qualification quiz"),
    ]

    item = models.OneToOneField(Item, on_delete=models.CASCADE, related_name="gold")
    use = models.CharField(max_length=10, choices=USES, default=MIXED)
    answers = models.JSONField(help_text="question name → expected answer, in stored order")
    tolerance = models.JSONField(default=dict, blank=True, help_text="question name → how far off is still right")
    explanation = models.TextField(blank=True, help_text="Markdown, said kindly to those who miss it.")
    position = models.PositiveIntegerField(default=0, help_text="order within training and quiz")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["position", "pk"]


class GoldAnswer(models.Model):
    """How one rater did on one gold item; in a quiz, in one attempt. A revised answer is scored again."""

    gold = models.ForeignKey(Gold, on_delete=models.CASCADE, related_name="given")
    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="gold_answers")
    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="+")
    attempt = models.PositiveSmallIntegerField(default=1)
    is_right = models.BooleanField()
    missed = models.JSONField(default=list, help_text="names of the questions that were answered otherwise")
    answered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gold", "rater", "attempt"], name="gold_answer_unique_attempt")]
        indexes = [models.Index(fields=["rater", "answered_at"], name="gold_answer_by_rater")]


class Return(models.Model):
    """An item that comes back to a rater: a reviewer decided otherwise than they answered."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="returns")
    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="returns")
    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="+", help_text="their answer")
    verdict = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="+", help_text="the reviewer's")
    comment = models.TextField(blank=True)
    asks_again = models.BooleanField(default=False, help_text="They are asked to look at it once more.")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rater", "verdict"], name="return_unique_verdict")]
        indexes = [models.Index(fields=["rater", "-created_at"], name="return_by_rater")]


class Comment(models.Model):
    """A contribution to the discussion of an item, by those who labelled it or look after the project."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="comments")
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    written_by = models.CharField(
        max_length=150, blank=True, help_text="The author's name in an export, where no account here is theirs."
    )
    role = models.CharField(max_length=10, help_text="of the author, when they wrote it")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="replies")
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created_at", "pk"]


class Exclusion(models.Model):
    """A rater's answers left out of everything, or taken in again: what a worker has done of it so far.

    `Rater.excluded_at` says whether they are left out now; this row brings labels and places up to it.
    """

    EXCLUDING, EXCLUDED, UNDOING, UNDONE = "excluding", "excluded", "undoing", "undone"
    STATES = [(state, state) for state in (EXCLUDING, EXCLUDED, UNDOING, UNDONE)]

    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="exclusions")
    reason = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=STATES, default=EXCLUDING)
    cursor = models.BigIntegerField(default=0, help_text="items up to this id are done")
    done = models.PositiveIntegerField(default=0, help_text="items")
    total = models.PositiveIntegerField(default=0, help_text="items")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    undone_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]


class Trust(models.Model):
    """What a rater's last answers look like, as the worker last computed it (`annotate.quality.trust`)."""

    rater = models.OneToOneField(Rater, on_delete=models.CASCADE, related_name="trust")
    signals = models.JSONField(default=list, help_text="[{name, value, low, high, n, threshold, is_suspicious}]")
    newest = models.PositiveBigIntegerField(default=0, help_text="the newest annotation that it has seen")
    agreed = models.PositiveIntegerField(default=0, help_text="answers that say what a shared label says")
    shared = models.PositiveIntegerField(default=0, help_text="answers on items that others have labelled too")
    computed_at = models.DateTimeField(default=timezone.now)


class Suspicion(models.Model):
    """A signal that a person should look at. It does nothing by itself."""

    OPEN, DISMISSED, TALKED, PAUSED, EXCLUDED = "open", "dismissed", "talked", "paused", "excluded"
    STATES = [
        (OPEN, "open"),
        (DISMISSED, "dismissed"),
        (TALKED, "talked to"),
        (PAUSED, "paused"),
        (EXCLUDED, "excluded"),
    ]

    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="suspicions")
    signal = models.CharField(max_length=20)
    value = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    n = models.PositiveIntegerField()
    threshold = models.FloatField()
    state = models.CharField(max_length=10, choices=STATES, default=OPEN)
    note = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "signal"], condition=models.Q(state="open"), name="suspicion_unique_open"
            )
        ]
