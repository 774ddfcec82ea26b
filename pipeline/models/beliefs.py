"""What the router's label model believes about items, and the fits that it believes by."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models import Item, Project, Question


class LabelFit(models.Model):
    """One fit of the label model to people's answers. Never changed, only followed by the next version.

    `pipeline.routing.believing.fits` is the only writer.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_fits")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="label_fits")
    number = models.PositiveIntegerField()
    layout = models.JSONField(help_text="the columns, in order, and what makes them the same for every batch")
    parameters = models.BinaryField(help_text="arrays, as numpy writes them")
    accuracy = models.FloatField(help_text="how often one person is right, as agreement says")
    labels = models.PositiveIntegerField(help_text="items with people's answers that it was fitted on")
    fitted_on = models.JSONField(help_text="how many items and answers, the newest of them, and their hash")
    report = models.JSONField(help_text="how good it is on items that it was fitted on, each without its own answers")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["question", "number"], name="label_fit_unique_number")]

    def __str__(self) -> str:
        return f"fit {self.number}"


class Belief(models.Model):
    """What is known of one pair as numbers, and what follows. Derived: thrown away and computed again, it is the same.

    `tie`, `first` and `second` are the posterior with people's answers; the Prior of the item is without them.
    """

    item = models.OneToOneField(Item, on_delete=models.CASCADE, related_name="belief", primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="beliefs", db_index=False)
    layout = models.PositiveIntegerField(help_text="of the columns")
    columns = models.BinaryField(help_text="float32: symmetric, antisymmetric, shared, effects")
    kin = models.BigIntegerField(help_text="the same for the pairs of one prompt, as long as they are the same pairs")
    judge_says = models.PositiveSmallIntegerField(null=True, help_text="0 tie, 1 first, 2 second; empty: no judge did")
    doubt = models.FloatField(default=0.0, help_text="how unsure the judges seem")
    triage = models.FloatField(default=0.0, help_text="points of its warning signs, which need no training")
    signs = models.JSONField(default=list, help_text="the warning signs, in words")
    votes = models.JSONField(default=list, help_text="people's answers: ties, firsts, seconds")
    people = models.PositiveSmallIntegerField(default=0)
    fit = models.PositiveIntegerField(default=0, help_text="the version that the rest follows from")
    tie = models.FloatField(default=0.0)
    first = models.FloatField(default=0.0)
    second = models.FloatField(default=0.0)
    wrong = models.FloatField(null=True, help_text="probability that the judge is wrong, before people answered")
    gain = models.FloatField(default=0.0, help_text="expected gain in accuracy by one more answer of a person")
    score = models.FloatField(default=0.0, help_text="what the policy in force sorts by; 0 where nobody more is asked")
    asked = models.CharField(max_length=12, blank=True, help_text="the part of the policy that asks people")
    enough = models.BooleanField(default=False, help_text="sure enough, while places are open")
    disagree = models.BooleanField(default=False, help_text="people disagree and nobody has acted on it")
    contradicts = models.BooleanField(default=False, help_text="a person contradicts the judge: not acted on yet")
    handled = models.PositiveSmallIntegerField(default=0, help_text="people's answers when it was last acted on")
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["project", "-score", "item"], name="belief_by_score", condition=Q(score__gt=0)),
            models.Index(fields=["project", "item"], name="belief_labelled", condition=Q(people__gt=0)),
            models.Index(fields=["project", "item"], name="belief_all"),
            models.Index(fields=["project", "item"], name="belief_asked", condition=~Q(asked="")),
            models.Index(fields=["project", "item"], name="belief_enough", condition=Q(enough=True)),
            models.Index(fields=["project", "item"], name="belief_split", condition=Q(disagree=True)),
            models.Index(fields=["project", "item"], name="belief_contradicts", condition=Q(contradicts=True)),
        ]
