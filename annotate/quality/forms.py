"""Forms of the quality screens."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.models import Gold, Project, Question


class QualityForm(forms.ModelForm):
    """How a project looks after the quality of its answers."""

    class Meta:
        model = Project
        fields = ["gold_rate", "has_training", "has_quiz", "quiz_pass_mark", "quiz_attempts", "has_leaderboard"]
        labels = {
            "gold_rate": "Gold items, per cent",
            "has_training": "Training before the first item",
            "has_quiz": "A quiz before the first item",
            "quiz_pass_mark": "Pass mark, per cent",
            "quiz_attempts": "Attempts",
            "has_leaderboard": "A leaderboard",
        }


class PayForm(forms.ModelForm):
    """What a project pays."""

    class Meta:
        model = Project
        fields = ["pay_rate", "pay_unit", "currency"]
        labels = {"pay_rate": "Rate", "pay_unit": "For", "currency": "Currency"}


class RateForm(forms.Form):
    """What one member is paid; blank takes the project's rate."""

    rate = forms.DecimalField(required=False, min_value=0, max_digits=10, decimal_places=4)


class GoldForm(forms.Form):
    """What a gold item is for, and how near an answer must be; the answers themselves come from their questions."""

    use = forms.ChoiceField(choices=Gold.USES, label=_("What it is for"))
    explanation = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        label=_("Why this is the answer"),
        help_text=_("Markdown. Said to those who miss a training or quiz item: kindly, and with the point to learn."),
    )

    def __init__(self, *args: Any, asked: list[Question], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.measured = [question for question in asked if question.kind in UNITS]
        for question in self.measured:
            self.fields[f"tolerance-{question.name}"] = forms.FloatField(
                required=False,
                min_value=0,
                max_value=10,
                label=_("How far off is still right: %(title)s") % {"title": question.title},
                help_text=UNITS[question.kind],
            )

    def tolerance(self) -> dict[str, float]:
        given = {question.name: self.cleaned_data[f"tolerance-{question.name}"] for question in self.measured}
        return {name: by for name, by in given.items() if by is not None}


UNITS = {
    Question.PREFERENCE: "Steps of the scale; blank asks for the same side and takes any strength.",
    Question.RATING: "Points; blank takes the expected rating only.",
}


def gold_initial(gold: Gold | None) -> dict[str, Any]:
    """A gold item as GoldForm shows it."""
    if gold is None:
        return {}
    tolerance = {f"tolerance-{name}": by for name, by in gold.tolerance.items()}
    return {"use": gold.use, "explanation": gold.explanation, **tolerance}
