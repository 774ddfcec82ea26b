"""Forms of the annotate screens: what a person may send, checked before anything is written."""

from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from annotate import flags, pools, questions, reasons
from annotate.importing.fetching import hosts_in
from annotate.models import Invitation, Membership, Pool, Project, User
from annotate.question_sets import SETS

REASONS = {"skip_reasons": reasons.SKIP, "flag_reasons": reasons.FLAG}


class ProjectForm(forms.ModelForm):
    """A new project's name, guidelines and shares."""

    class Meta:
        model = Project
        fields = ["name", "description", "guidelines"]
        widgets = {"guidelines": forms.Textarea(attrs={"rows": 14})}

    def clean_name(self) -> str:
        name = self.cleaned_data["name"].strip()
        if not slugify(name):
            raise forms.ValidationError(_("The name needs at least one letter or digit for the address of its page."))
        return name


class SettingsForm(forms.ModelForm):
    """What a manager may change later: state, overlap, lease, and who labels what share of new items."""

    class Meta:
        model = Project
        fields = [
            "name",
            "description",
            "state",
            "overlap",
            "lease_minutes",
            "daily_quota",
            "total_quota",
            "judge_share",
            "both_share",
            "aggregation_method",
            "image_hosts",
            "skip_reasons",
            "flag_reasons",
        ]
        widgets = {
            "image_hosts": forms.Textarea(attrs={"rows": 2}),
            "skip_reasons": forms.Textarea(attrs={"rows": 5}),
            "flag_reasons": forms.Textarea(attrs={"rows": 5}),
        }
        labels = {"skip_reasons": _("reasons to skip an item"), "flag_reasons": _("problems to flag")}
        help_texts = {name: _("One a line, at most 9: each has a digit. Blank for those at first.")
                      for name in ("skip_reasons", "flag_reasons")}  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, at_first in REASONS.items():
            self.initial[name] = reasons.as_text(self.initial[name], at_first)

    def clean_skip_reasons(self) -> str:
        return self.clean_reasons("skip_reasons")

    def clean_flag_reasons(self) -> str:
        return self.clean_reasons("flag_reasons")

    def clean_reasons(self, name: str) -> str:
        try:
            return reasons.from_text(self.cleaned_data[name], REASONS[name])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_image_hosts(self) -> str:
        try:
            return "\n".join(hosts_in(self.cleaned_data["image_hosts"]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        judge, both = data.get("judge_share") or 0, data.get("both_share") or 0
        if judge + both > 100:
            raise forms.ValidationError(
                _("The judge's %(judge)s%% and both's %(both)s%% are more than 100%% together.")
                % {"judge": judge, "both": both}
            )
        return data


class GuidelinesForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["guidelines"]
        widgets = {"guidelines": forms.Textarea(attrs={"rows": 20})}


class BeginningForm(forms.Form):
    """What a new project asks: a common set-up, or the two questions below it on the page."""

    questions = forms.ChoiceField(
        required=False,
        label=_("Questions to begin with"),
        choices=[("", _("The two below")), *((name, title) for name, (title, _specs) in SETS.items())],
        help_text=_("More can be added, and all of them changed, under Questions."),
    )

    def asked(self, otherwise: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The questions of the chosen set-up."""
        chosen = self.cleaned_data["questions"]
        return SETS[chosen][1] if chosen else otherwise


class PreferenceForm(forms.Form):
    """The preference question of a project."""

    title = forms.CharField(max_length=160, initial="Which answer is better?")
    points = forms.TypedChoiceField(
        coerce=int, choices=[(n, f"{n} points") for n in range(2, 10)], initial=7, label=_("Scale")
    )
    tie = forms.BooleanField(required=False, initial=True, label=_("A middle point: about equal"))
    both_bad = forms.BooleanField(required=False, initial=True, label=_("“Both bad” is offered"))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            try:
                data["config"] = questions.check_config(
                    questions.PREFERENCE, {key: data[key] for key in ("points", "tie", "both_bad")}
                )
            except questions.QuestionError as error:
                raise forms.ValidationError(str(error)) from None
        return data


class CriterionForm(forms.Form):
    """One rating criterion with its anchors."""

    title = forms.CharField(max_length=160, label=_("Criterion"))
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    max = forms.TypedChoiceField(
        coerce=int, choices=[(n, f"1 to {n}") for n in (3, 4, 5, 7)], initial=5, label=_("Scale")
    )
    anchor_low = forms.CharField(required=False, max_length=200, label=_("What the lowest rating looks like"))
    anchor_high = forms.CharField(required=False, max_length=200, label=_("What the highest rating looks like"))
    required = forms.BooleanField(required=False, label=_("Must be rated"))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        if not slugify(data["title"]):
            self.add_error("title", _("The criterion needs at least one letter or digit for its key in files."))
            return data
        anchors = {"1": data["anchor_low"], str(data["max"]): data["anchor_high"]}
        data["config"] = questions.check_config(questions.RATING, {"min": 1, "max": data["max"], "anchors": anchors})
        return data


class InviteForm(forms.ModelForm):
    class Meta:
        model = Invitation
        fields = ["email", "role"]

    role = forms.ChoiceField(choices=Membership.ROLES, initial=Membership.ANNOTATOR)


class AcceptForm(forms.Form):
    """What somebody who was invited says about themselves."""

    username = forms.RegexField(
        r"^[\w.@+-]+$", max_length=150, label=_("Name"), help_text=_("Letters, digits and @ . + - _")
    )
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        label=_("Password"),
        help_text=_("At least 10 characters."),
    )

    def clean_username(self) -> str:
        username = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=username).exists():
            raise forms.ValidationError(_("This name is taken: choose another."))
        return username

    def clean_password(self) -> str:
        password = self.cleaned_data["password"]
        password_validation.validate_password(password)
        return password


class RoleForm(forms.ModelForm):
    class Meta:
        model = Membership
        fields = ["role"]


class Words(forms.CharField):
    """A list of words on one line, separated by commas."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        return pools.words(super().clean(value))


class Skills(Words):
    """Skills and languages: compared in lower case."""

    def clean(self, value: Any) -> list[str]:
        return pools.skills_in(",".join(super().clean(value)))


SKILLS = "Separated by commas: python, de, medical. Pools ask for them."


class MemberForm(forms.ModelForm):
    """What a member gets from the queue."""

    skills = Skills(required=False, max_length=500, label="Skills and languages", help_text=SKILLS)

    class Meta:
        model = Membership
        fields = ["skills", "daily_quota", "total_quota", "is_paused"]
        labels = {"is_paused": "Paused: gets no items until this is taken away"}
        help_texts = {
            "daily_quota": "Items a day; the project's quota if blank.",
            "total_quota": "Items in all; the project's quota if blank.",
            "is_paused": "What they hold goes back to the queue at once; their drafts stay.",
        }


class PoolForm(forms.ModelForm):
    """Who may label a pool's items."""

    skills = Skills(
        required=False,
        max_length=500,
        label="Members with all of these skills",
        help_text="Separated by commas: python, de. Members' skills stand on their page.",
    )
    people = Words(
        required=False,
        max_length=5000,
        label="And these people",
        help_text="User names, separated by commas, with those skills or without.",
    )

    class Meta:
        model = Pool
        fields = ["name", "skills", "people"]


class ItemPoolForm(forms.Form):
    """The pool that an item is in."""

    pool = forms.ModelChoiceField(
        queryset=Pool.objects.none(),
        required=False,
        empty_label=_("everybody in the project"),
        label=_("Who may label it"),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["pool"].queryset = project.pools.all()  # type: ignore[attr-defined]


class UploadForm(forms.Form):
    """One file to look at and then, perhaps, take in."""

    file = forms.FileField(label=_("File"), max_length=255)


class FlagForm(forms.Form):
    """A problem that an annotator reports, one of those that the project names."""

    kind = forms.ChoiceField()
    comment = forms.CharField(required=False, max_length=flags.LONGEST)

    def __init__(self, *args: Any, project: Project, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = reasons.offered(project.flag_reasons, reasons.FLAG)  # type: ignore[attr-defined]


class ResolutionForm(forms.Form):
    """What the annotator who reported a problem is told."""

    resolution = forms.CharField(max_length=1000)


class AgreementFilter(forms.Form):
    """Which question the agreement page shows, and cut by what. What cannot be read counts as not asked for."""

    CUTS = [
        ("tag", _("by tag")),
        ("models", _("by pair of models")),
        ("annotator", _("by annotator")),
        ("week", _("by week")),
    ]
    question = forms.ChoiceField(required=False)
    by = forms.ChoiceField(required=False, choices=CUTS)

    def __init__(self, *args: Any, asked: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["question"].choices = asked  # type: ignore[attr-defined]

    def chosen(self) -> tuple[str, str]:
        """The question's name ("" where there is none) and the cut."""
        self.is_valid()
        asked = self.fields["question"].choices  # type: ignore[attr-defined]
        first = asked[0][0] if asked else ""
        return self.cleaned_data.get("question") or first, self.cleaned_data.get("by") or "tag"
