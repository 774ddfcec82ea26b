"""What a manager may tell the router, checked before anything is kept."""

from dataclasses import replace
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from pipeline.routing.choosing import plans
from pipeline.routing.choosing.plans import Budget, Plan, PlanError, rules_from

RANKINGS = [
    (plans.LEARNED, _("Learned: people where an answer of theirs makes the label most right")),
    (plans.UNCERTAINTY, _("Judges' doubt: people where judges differ, contradict themselves or are unsure")),
    (plans.ERRORS, _("Judge's errors: people where the judge is most probably wrong, as learned from audits")),
    (plans.TRIAGE, _("Warning signs: people where a judge is often wrong; needs no answers to learn from")),
    (plans.GAIN, _("Gain by counts: people where answers of a pair's kinds have added most so far")),
    (plans.INFORMATION, _("Information: people where an answer teaches the model most")),
    (plans.SHARES, _("Fixed shares, drawn by lot")),
]
SPLITS = [(plans.ANOTHER, _("one more person, up to the most")), (plans.REVIEWER, _("a reviewer"))]


def per_cent(label: Any, help_text: Any = "", **more: Any) -> forms.FloatField:
    return forms.FloatField(label=label, min_value=0, max_value=100, help_text=help_text, **more)


class PolicyForm(forms.Form):
    """A policy as a person writes it: shares in per cent, rules one a line."""

    ranking = forms.ChoiceField(label=_("Who is asked"), choices=RANKINGS)
    rules = forms.CharField(
        label=_("Rules"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_("They go first, one a line: “tag medicine, law: people”, “language de: both”, “safety: people”."),
    )
    audit = per_cent(_("Audits, % of new items"), _("They always go to people and the judge, to measure both."))
    explore = per_cent(_("Exploration, %"), _("Of what people get by ranking or rule, drawn evenly instead."))
    total = forms.IntegerField(
        label=_("People's answers in all"), required=False, min_value=0, help_text=_("Empty for no limit.")
    )
    daily = forms.IntegerField(
        label=_("People's answers a day"), required=False, min_value=0, help_text=_("Empty for no limit.")
    )
    money = forms.FloatField(
        label=_("Judges' money in all"),
        required=False,
        min_value=0,
        help_text=_(
            "Never overrun. Once it is used up, people get what no judge has answered. Each judge's own cap holds too."
        ),
    )
    batch = forms.IntegerField(
        label=_("Items with people at a time"),
        min_value=1,
        max_value=100_000,
        help_text=_("What they say decides who comes next: fewer learn faster, more keep more people busy."),
    )
    seed = forms.IntegerField(
        label=_("Answers drawn evenly at first"), min_value=0, max_value=100_000, help_text=_("20 to 50 are enough.")
    )
    sure = forms.FloatField(
        label=_("Sure enough, %"),
        min_value=50,
        max_value=100,
        help_text=_("A label at least so probable needs nobody else."),
    )
    split = forms.ChoiceField(label=_("Where people disagree"), choices=SPLITS)
    most = forms.IntegerField(label=_("Most people for one item"), min_value=1, max_value=20)
    judge = forms.IntegerField(label=_("Fixed shares: to the judge, %"), min_value=0, max_value=100)
    both = forms.IntegerField(label=_("Fixed shares: to both, %"), min_value=0, max_value=100)
    note = forms.CharField(label=_("Why"), required=False, max_length=300, help_text=_("Kept with the version."))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            try:
                data["plan"] = self.plan(data)
            except PlanError as error:
                raise forms.ValidationError(str(error)) from None
        return data

    def plan(self, data: dict[str, Any]) -> Plan:
        return replace(
            Plan(),
            rules=rules_from(data["rules"]),
            audit=data["audit"] / 100,
            explore=data["explore"] / 100,
            sure=data["sure"] / 100,
            budget=Budget(data["total"], data["daily"], data["money"]),
            **{name: data[name] for name in ("ranking", "batch", "seed", "split", "most", "judge", "both")},
        )


def initial(plan: Plan) -> dict[str, Any]:
    """The form's values for a policy."""
    return {
        "rules": "\n".join(rule.words for rule in plan.rules),
        **{name: round(100 * getattr(plan, name), 4) for name in ("audit", "explore", "sure")},
        **{name: getattr(plan.budget, name) for name in ("total", "daily", "money")},
        **{name: getattr(plan, name) for name in ("ranking", "batch", "seed", "split", "most", "judge", "both")},
    }
