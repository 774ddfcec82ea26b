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
