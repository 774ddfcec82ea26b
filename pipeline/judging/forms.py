"""What a person may say about a judge, checked before anything is written."""

from typing import Any

from django import forms

from annotate.models import Project
from pipeline.forms import models_to_choose
from pipeline.judging.setup import SetupError, checked_key, checked_url, has_judged
from pipeline.models import Judge, ModelVersion

NAME_HELP = "Its annotations stand under this name."


class EndpointForm(forms.ModelForm):
    """A judge behind an OpenAI-compatible endpoint, new or to be changed."""

    key = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Kept encrypted and never shown again. Leave it empty where the server wants none.",
    )
    forget_key = forms.BooleanField(required=False, label="Forget the key that is kept")

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
            "spend_cap",
            "max_tokens",
            "concurrency",
            "timeout_seconds",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("base_url", "model"):
            self.fields[name].required = True
        self.fields["name"].help_text = NAME_HELP
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

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the judge as the form has them."""
        return {name: value for name, value in self.cleaned_data.items() if name not in ("key", "forget_key")}

    @property
    def new_key(self) -> str | None:
        """The key to keep from now on; None to leave the one that is there."""
        if self.cleaned_data.get("forget_key"):
            return ""
        return self.cleaned_data["key"] or None


class LocalForm(forms.Form):
    """A judge that is a model of the registry."""

    name = forms.CharField(max_length=120, help_text=NAME_HELP)
    model_version = forms.ModelChoiceField(ModelVersion.objects.none(), label="Model", empty_label=None)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model_version"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = models_to_choose(project, (ModelVersion.POLICY, ModelVersion.BASE))
