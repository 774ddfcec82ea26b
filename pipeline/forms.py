"""Forms of the pipeline's screens. What a stage can be set to is asked for by its config: one field a setting."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.models import Project
from pipeline import loops, registry
from pipeline.ml.configs import ConfigError, Setting, StageConfig, from_dict, settings_of, to_dict
from pipeline.ml.stages import STAGES
from pipeline.models import ModelVersion, Run, Snapshot

# The settings that matter most, shown open; the others stand under “more”.
OPEN: dict[str, tuple[str, ...]] = {
    "train_reward": ("method", "epochs", "learning_rate", "batch_size", "max_length"),
    "dpo": ("epochs", "learning_rate", "beta", "batch_size", "max_length"),
    "ppo": ("steps", "rollout_size", "max_new_tokens", "learning_rate", "kl_coef"),
    "generate": ("responses_per_prompt", "max_new_tokens", "temperature"),
}
PREFIX = "set_"


def setting_field(item: Setting) -> forms.Field:
    """A form field that takes what the setting takes."""
    words: dict[str, Any] = {"label": item.label, "help_text": item.help, "initial": item.default}
    if item.kind is bool:
        return forms.BooleanField(required=False, **words)
    words["required"] = not item.optional
    if item.kind is int:
        low, high = (None if limit is None else int(limit) for limit in (item.minimum, item.maximum))
        return forms.IntegerField(min_value=low, max_value=high, **words)
    if item.kind is float:
        step = forms.NumberInput(attrs={"step": "any"})
        return forms.FloatField(min_value=item.minimum, max_value=item.maximum, widget=step, **words)
    if item.choices:
        return forms.ChoiceField(choices=[(choice, choice.replace("_", " ")) for choice in item.choices], **words)
    return forms.CharField(**words)


class StageForm(forms.Form):
    """What all forms that start a run share: the stage's settings, checked by the stage's own config."""

    def __init__(self, *args: Any, kind: str, config: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        self.stage: type[StageConfig] = STAGES[kind].config
        for item in settings_of(self.stage):
            field = setting_field(item)
            if config and item.name in config:
                field.initial = config[item.name]
            self.fields[PREFIX + item.name] = field

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        values = {name.removeprefix(PREFIX): value for name, value in data.items() if name.startswith(PREFIX)}
        if not self.errors:
            try:
                data["config"] = to_dict(from_dict(self.stage, values))
            except ConfigError as error:
                raise forms.ValidationError(str(error)) from None
        return data

    def settings_fields(self, *, shown: bool) -> list[forms.BoundField]:
        first = [PREFIX + name for name in OPEN.get(self.kind, ())]
        rest = [name for name in self.fields if name.startswith(PREFIX) and name not in first]
        return [self[name] for name in (first if shown else rest)]

    @property
    def starting_config(self) -> dict[str, Any]:
        """The settings that the form shows at first."""
        fields = {name.removeprefix(PREFIX): field for name, field in self.fields.items() if name.startswith(PREFIX)}
        return {name: field.initial for name, field in fields.items()}

    @property
    def open_settings(self) -> list[forms.BoundField]:
        return self.settings_fields(shown=True)

    @property
    def more_settings(self) -> list[forms.BoundField]:
        return self.settings_fields(shown=False)

    @property
    def has_hidden_error(self) -> bool:
        return any(field.errors for field in self.more_settings)

    @property
    def inputs(self) -> list[forms.BoundField]:
        """The fields that are not settings of the stage."""
        return [self[name] for name in self.fields if not name.startswith(PREFIX)]


def models_to_choose(project: Project, kinds: tuple[str, ...]) -> QuerySet[ModelVersion]:
    """Models that a run may start from: the project's that are not retired, and base models."""
    mine = ModelVersion.objects.filter(project=project).exclude(stage=ModelVersion.RETIRED)
    return (mine | ModelVersion.objects.filter(project=None)).filter(kind__in=kinds).order_by("-id")


class TrainForm(StageForm):
    """Start a training run: from which model, on which labels, with which settings."""

    STARTS = {
        "train_reward": (ModelVersion.BASE,),
        "dpo": (ModelVersion.POLICY, ModelVersion.BASE),
        "ppo": (ModelVersion.POLICY, ModelVersion.BASE),
    }

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reward = self.kind == "train_reward"
        self.fields["start"] = forms.ModelChoiceField(
            queryset=models_to_choose(project, self.STARTS[self.kind]),
            initial=registry.base_models().first() if reward else registry.policy_in_use(project),
            empty_label=None,
            label="Base model" if reward else "Start",
            help_text="What the reward model is made from." if reward else "The policy that is trained further.",
        )
        if self.kind == "ppo":
            self.fields["reward_model"] = forms.ModelChoiceField(
                queryset=registry.usable(project, ModelVersion.REWARD),
                initial=registry.reward_in_use(project),
                empty_label=None,
                label=_("Reward model"),
                help_text=_("What scores the policy's answers."),
            )
        self.fields["snapshot"] = forms.ModelChoiceField(
            queryset=Snapshot.objects.filter(project=project),
            required=False,
            empty_label=_("the labels as they are now"),
            label=_("Labels"),
            help_text=_("A snapshot trains on exactly the labels of its day."),
        )


class GenerateForm(StageForm):
    """Let a model answer prompts."""

    PASTED, PROJECT, DEMO = "pasted", "project", "demo"
    use_required_attribute = False  # the browser cannot know that prompts are needed only where some are pasted

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, kind="generate", **kwargs)
        self.project = project
        sources = [(self.PASTED, "prompts that I paste"), (self.PROJECT, "the prompts that the project has")]
        if project.is_demo:
            sources.append((self.DEMO, "the demo's prompts"))
        self.fields["source"] = forms.ChoiceField(choices=sources, initial=self.PASTED, label=_("Answer"))
        self.fields["prompts"] = forms.CharField(
            required=self.data.get("source", self.PASTED) == self.PASTED,
            label=_("Prompts"),
            error_messages={"required": "Paste at least one prompt, or choose other prompts above."},
            widget=forms.Textarea(attrs={"rows": 8}),
            help_text=_("One a line; or with empty lines between them, if a prompt has several lines; or JSON lines."),
        )
        self.fields["model"] = forms.ModelChoiceField(
            queryset=models_to_choose(project, (ModelVersion.POLICY, ModelVersion.BASE)),
            initial=registry.policy_in_use(project),
            empty_label=None,
            label=_("Model"),
            help_text=_("The promoted policy, unless you choose another."),
        )


class RunChoice(forms.ModelChoiceField):
    """A choice among runs, each by its number and what it did."""

    def label_from_instance(self, run: Any) -> str:
        return f"run {run.pk}: {STAGES[run.kind].title}"


class LoopForm(forms.Form):
    """A recurring recipe."""

    name = forms.CharField(max_length=120, initial="Retrain the reward model")
    step = forms.ChoiceField(
        choices=[(kind, STAGES[kind].title) for kind in loops.STEPS], initial="train_reward", label=_("What it starts")
    )
    new_labels = forms.IntegerField(
        min_value=1, initial=100, label=_("New labels"), help_text=_("It starts when this many new labels are there.")
    )
    every_minutes = forms.IntegerField(
        min_value=1, max_value=60 * 24 * 31, initial=10, label=_("Looks every"), help_text=_("minutes")
    )
    like = RunChoice(
        queryset=Run.objects.none(),
        required=False,
        empty_label="the defaults",
        label="With the settings of",
        help_text="An earlier run that went well, or the defaults.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        done = Run.objects.filter(project=project, kind__in=loops.STEPS, state=Run.SUCCEEDED)
        self.fields["like"].queryset = done.defer("result", "traceback")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        like = data.pop("like", None)
        if like is not None and like.kind != data.get("step"):
            title = STAGES[data["step"]].title if data.get("step") else "that"
            self.add_error(
                "like",
                _("Run %(pk)s is no run of “%(title)s”: choose one, or the defaults.")
                % {"pk": like.pk, "title": title},
            )
        data["config"] = like.config if like is not None else {}
        return data
