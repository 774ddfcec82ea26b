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
    role = models.CharField(max_length=10, help_text="of the author, when they wrote it")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="replies")
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created_at", "pk"]
