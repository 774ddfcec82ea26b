"""What a person may ask of a snapshot."""

from django import forms
from django.utils.translation import gettext_lazy as _

SOURCE_WORDS = [
    ("all", "all labels, whoever decided"),
    ("human", "only labels that people decided"),
    ("judge", "only labels that judges decided"),
]


class CutForm(forms.Form):
    """Which labels go into a snapshot."""

    source = forms.ChoiceField(choices=SOURCE_WORDS, label=_("Labels"))
    min_probability = forms.FloatField(
        min_value=0.5,
        max_value=1,
        initial=0.5,
        label=_("Least probability"),
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("That the better answer is the better one. One vote gives 0.67, two that agree 0.75."),
    )
