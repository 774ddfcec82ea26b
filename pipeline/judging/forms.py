"""What a person may say about a judge, checked before anything is written."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from annotate.models import Project
from pipeline.forms import models_to_choose, setting_field
from pipeline.judging.config import Protocol, protocol_of
from pipeline.judging.config import kept as as_kept
from pipeline.judging.setup import SetupError, checked_key, checked_url, has_judged
from pipeline.ml.configs import ConfigError, settings_of
from pipeline.models import Judge, JudgePrompt, ModelVersion

if TYPE_CHECKING:
    from pipeline.judging.connecting import Connection

NAME_HELP = "Its annotations stand under this name."


PREFIX = "protocol_"
ASKED = PREFIX + "questions"
# Shown open: what most judges are set to. The rest stands under “more”.
FIRST = ("questions", "pairwise", "critique", "reference", "samples", "temperature")
OF_GROUPS = ("threshold",)


def add_protocol(form: forms.Form | forms.ModelForm, project: Project, kept: dict[str, Any], *, fixed: bool) -> None:
    """Add the protocol's settings to a form, one field each; `fixed` where they cannot be changed any more."""
    for item in settings_of(Protocol):
        if item.name in OF_GROUPS:
            continue
        field = setting_field(item)
        if item.name == "questions":
            choices = [(question.name, question.title) for question in project.questions.all()]
            field = forms.MultipleChoiceField(
                choices=choices,
                label=_("Questions that it answers"),
                help_text=_("The first preference, if none is chosen."),
            )
        field.initial = kept.get(item.name, item.default)
        if item.name == "questions":
            field.initial = [name for name in str(field.initial).split(",") if name]
        sent = not form.is_bound or any(name.startswith(PREFIX) for name in form.data)
        field.required = sent and item.kind is not bool and item.name != "questions"
        field.disabled = fixed
        form.fields[PREFIX + item.name] = field


def protocol_in(form: forms.Form | forms.ModelForm, kept: dict[str, Any]) -> dict[str, Any]:
    """The protocol as the form has it; `kept` where the form was sent without it. Raises ValidationError."""
    if not any(name.startswith(PREFIX) for name in form.data):
        return kept
    values = {name.removeprefix(PREFIX): value for name, value in form.cleaned_data.items() if name.startswith(PREFIX)}
    values["questions"] = ",".join(values["questions"])
    known = {name: value for name, value in values.items() if value not in (None, "") or name == "questions"}
    try:
        return as_kept(protocol_of({**{name: kept[name] for name in OF_GROUPS if name in kept}, **known}))
    except ConfigError as error:
        raise forms.ValidationError(str(error)) from None


class EndpointForm(forms.ModelForm):
    """A judge behind an OpenAI-compatible endpoint, new or to be changed."""

    key = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("Kept encrypted and never shown again. Leave it empty where the server wants none."),
    )
    forget_key = forms.BooleanField(required=False, label=_("Forget the key that is kept"))

    class Meta:
        model = Judge
        fields = [
            "name",
            "base_url",
            "model",
            "key",
            "forget_key",
            "price_input",
            "price_output",
            "price_cached",
            "spend_cap",
            "max_tokens",
            "concurrency",
            "timeout_seconds",
            "per_minute",
            "prompt",
        ]

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_prompt(self.fields["prompt"], project)
        judged = bool(self.instance.pk) and has_judged(self.instance)
        add_protocol(self, project, self.instance.protocol, fixed=judged)
        for name in ("base_url", "model"):
            self.fields[name].required = True
        self.fields["model"].widget.attrs["list"] = "models"  # those that a test of the connection finds
        self.fields["name"].required = False
        self.fields["name"].help_text = _("Its annotations stand under this name; empty for the model's name.")
        if self.instance.pk:
            del self.fields["name"]  # annotations stand under it
            self.fields["key"].help_text = "Leave it empty to keep the key that is there."
            if has_judged(self.instance):
                self.fields["model"].disabled = True
                self.fields["model"].help_text = "It has judged already: another model is another judge."
        if not self.instance.encrypted_key:
            del self.fields["forget_key"]

    def clean_base_url(self) -> str:
        try:
            return checked_url(self.cleaned_data["base_url"])
        except SetupError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_key(self) -> str:
        try:
            return checked_key(self.cleaned_data["key"])
        except SetupError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            data["protocol"] = protocol_in(self, self.instance.protocol)
            if "name" in self.fields:
                data["name"] = data["name"] or data["model"][:120]
        return data

    def found_out(self, connection: "Connection") -> list[SafeString]:
        """The fields that a test of the connection can fill, as they are put into the form that stands there."""
        values = {"base_url": connection.base_url} if connection.works else {}
        chosen = str(self.initial.get("model", ""))
        if connection.works and not chosen and len(connection.models) == 1:
            chosen = values["model"] = connection.models[0].name
        listed = connection.listed(chosen)
        if listed is not None:
            prices = {"price_input": listed.price_input, "price_output": listed.price_output}
            blank = [name for name in prices if self.initial.get(name, "") in ("", "0")]
            values |= {name: f"{prices[name]:f}" for name in blank if prices[name] is not None}
        self.initial.update(values)
        return [self[name].as_widget(attrs={"hx-swap-oob": "true"}) for name in values]

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the judge as the form has them."""
        apart = ("key", "forget_key")
        kept = {name: value for name, value in self.cleaned_data.items() if not name.startswith(PREFIX)}
        return {name: value for name, value in kept.items() if name not in apart and (value or name != "prompt")}

    @property
    def open_protocol(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in FIRST]

    @property
    def more_protocol(self) -> list[forms.BoundField]:
        shown = {PREFIX + name for name in FIRST}
        return [self[name] for name in self.fields if name.startswith(PREFIX) and name not in shown]

    @property
    def new_key(self) -> str | None:
        """The key to keep from now on; None to leave the one that is there."""
        if self.cleaned_data.get("forget_key"):
            return ""
        return self.cleaned_data["key"] or None


def choose_prompt(field: forms.Field, project: Project) -> None:
    """Let a field choose among the project's prompts; the newest unless another is kept."""
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = JudgePrompt.objects.filter(project=project)
    field.required, field.empty_label = False, None
    field.help_text = "The version of its words; each save in the prompt editor makes one."
    if field.initial is None:
        field.initial = field.queryset.first()


class GroupForm(forms.ModelForm):
    """A panel or a cascade: several judges of the project that have endpoints."""

    members = forms.ModelMultipleChoiceField(Judge.objects.none(), help_text=_("Two or more."))
    first = forms.ModelChoiceField(
        Judge.objects.none(), label=_("Cheap judge"), help_text=_("Asked about every item.")
    )
    last = forms.ModelChoiceField(
        Judge.objects.none(), label=_("Dear judge"), help_text=_("Asked where the cheap one is unsure.")
    )
    threshold = forms.FloatField(
        min_value=0.5,
        max_value=1.0,
        initial=0.8,
        label=_("Sure enough"),
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_(
            "The dear judge is asked where the cheap one is less sure than this, says another thing in the other "
            "order, ties, or gives no verdict."
        ),
    )

    class Meta:
        model = Judge
        fields = ["name", "spend_cap", "concurrency", "per_minute"]

    def __init__(self, *args: Any, project: Project, kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        self.fields["name"].help_text = NAME_HELP
        there = Judge.objects.filter(project=project, kind=Judge.ENDPOINT)
        for name in ("members", "first", "last"):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = there
        for name in ("first", "last", "threshold") if kind == Judge.PANEL else ("members",):
            del self.fields[name]
        self.order_fields(["name", "members", "first", "last", "threshold"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and len(self.judges) < 2:
            raise forms.ValidationError(_("Choose two different judges, or more."))
        return data

    @property
    def judges(self) -> list[Judge]:
        """The members, a cascade's from cheap to dear."""
        data = self.cleaned_data
        chosen = list(data["members"]) if self.kind == Judge.PANEL else [data["first"], data["last"]]
        return list(dict.fromkeys(chosen))

    @property
    def settings(self) -> dict[str, Any]:
        fields = {name: self.cleaned_data[name] for name in self._meta.fields or () if name != "name"}
        if self.kind == Judge.CASCADE:
            fields["protocol"] = as_kept(Protocol(threshold=self.cleaned_data["threshold"]))
        return fields


class RewardForm(forms.Form):
    """A judge that is one reward model of the registry, or several."""

    name = forms.CharField(max_length=120, help_text=NAME_HELP)
    models = forms.ModelMultipleChoiceField(
        ModelVersion.objects.none(),
        label=_("Reward models"),
        help_text=_("Several are an ensemble: their spread is kept."),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["models"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = models_to_choose(project, (ModelVersion.REWARD,))


class LocalForm(forms.Form):
    """A judge that is a model of the registry."""

    name = forms.CharField(max_length=120, help_text=NAME_HELP)
    model_version = forms.ModelChoiceField(ModelVersion.objects.none(), label=_("Model"), empty_label=None)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model_version"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = models_to_choose(project, (ModelVersion.POLICY, ModelVersion.BASE))
