"""What the worker has found out about raters: the fit in force for each question, and the report on agreement."""

from django.db import models
from django.utils import timezone

from annotate.models.annotations import Rater
from annotate.models.projects import Project, Question


class Fit(models.Model):
    """How votes on one question are weighed now. Labels follow from it and the annotations, and from nothing else."""

    question = models.OneToOneField(Question, on_delete=models.CASCADE, related_name="fit")
    method = models.CharField(
        max_length=16, help_text="majority, skill_weighted, dawid_skene, or leanings for ratings"
    )
    version = models.PositiveIntegerField(default=1)
    parameters = models.JSONField(
        default=dict, help_text="options, how common each is, and what a usual rater is like"
    )
    items = models.PositiveIntegerField(default=0, help_text="with two or more people's answers")
    raters = models.PositiveIntegerField(default=0, help_text="people with enough answers to be judged by them")
    votes = models.PositiveIntegerField(default=0, help_text="of people")
    fitted_at = models.DateTimeField(default=timezone.now)


class RaterSkill(models.Model):
    """What a fit knows of one rater on one question. `accuracy` is of their votes, with a 95% interval, over `n`."""

    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="skills")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="skills")
    method = models.CharField(max_length=16)
    version = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict, help_text="confusion, weight or bias; empty: counts as a usual rater")
    accuracy = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    n = models.PositiveIntegerField(default=0)
    fitted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rater", "question"], name="rater_skill_unique")]


class Measurement(models.Model):
    """Where the worker stands with a project's statistics, and the report that the agreement page reads."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="measurement")
    claimed_at = models.DateTimeField(null=True, help_text="a worker is at it since then")
    method = models.CharField(max_length=16, default="", help_text="the project's method when it was last fitted")
    annotations = models.PositiveBigIntegerField(default=0, help_text="kept count when it was last fitted")
    relabel_after = models.BigIntegerField(null=True, help_text="items beyond this id still have labels of older fits")
    report = models.JSONField(default=dict)
