"""The editor of questions: one form a kind, its fields turned into the kind's settings and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from annotate import questions
from annotate.models import Question
from annotate.questions.conditions import DECIDING, values_of

# Settings that give answers their meaning: another value, and those that are there no longer say what they said.
MEANINGS = ("points", "min", "max", "split", "tags", "options", "ties", "each", "multiple")


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows})


class QuestionForm(forms.Form):
    """What all kinds have; `kind`, `settings` and `filled` are the kind's own.

    `others` are the project's other questions; `editing` is the one that is changed, None for a new one;
    `is_answered` says that somebody has answered it.
    """

    kind = ""
    own: Sequence[str] = ()  # fields that are settings
    columns: Sequence[str] = ()  # fields that are the question's own

    title = forms.CharField(max_length=160, label=_("Question"))
    description = forms.CharField(required=False, widget=area(2), label=_("Explanation"))
    required = forms.BooleanField(required=False, initial=True, label=_("Must be answered"))
    when = forms.MultipleChoiceField(
        required=False,
        label=_("Ask only where another question has this answer"),
        help_text=_("Nothing chosen: always asked. Several answers of one question: any of them."),
    )
    name = forms.SlugField(
        required=False,
        max_length=60,
        label=_("Key in files"),
        help_text=_("Made from the question if blank. It stays."),
    )
    confirm = forms.BooleanField(
        required=False, label=_("Change what the answers mean although there are some"), widget=forms.HiddenInput
    )

    def __init__(
        self,
        *args: Any,
        others: Sequence[Question],
        editing: Question | None = None,
        is_answered: bool = False,
        **more: Any,
    ) -> None:
        if editing is not None:
            more.setdefault("initial", initial_of(editing, self.filled(editing.config)))
        super().__init__(*args, **more)
        self.others, self.editing, self.is_answered = others, editing, is_answered
        deciding = [question for question in others if question.kind in DECIDING]
        self.fields["when"].choices = [  # type: ignore[attr-defined]
            (question.title, [(f"{question.name}={value}", value.replace("_", " ")) for value in values_of(question)])
            for question in deciding
        ]
        self.fields["when"].widget.attrs["size"] = min(8, 1 + sum(1 + len(values_of(each)) for each in deciding))
        if not deciding:
            del self.fields["when"]
        if editing is not None:
            del self.fields["name"]
        if is_answered:
            self.fields["confirm"].widget = forms.CheckboxInput()
        self.order_fields(["title", "description", *self.own, *self.columns, "required", "when", "name", "confirm"])

    def settings(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The kind's settings from its own fields."""
        return {name: data[name] for name in self.own}

    @staticmethod
    def filled(config: Mapping[str, Any]) -> dict[str, Any]:
        """The kind's own fields from its settings."""
        return dict(config)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        name = self.editing.name if self.editing else data.get("name") or slugify(data["title"])[:60].strip("-")
        if not name:
            raise forms.ValidationError(_("The question needs a letter or a digit for its key in files."))
        if any(question.name == name for question in self.others):
            raise forms.ValidationError(
                _("There is a question of this key already: give another under “Key in files”.")
            )
        try:
            self.question = self.made(name, data)
            questions.check_together([*self.others, self.question])
        except questions.QuestionError as error:
            raise forms.ValidationError(str(error)) from None
        self.check_meaning(data)
        return data

    def made(self, name: str, data: Mapping[str, Any]) -> Question:
        """The question as it would be, not saved."""
        config = self.settings(data)
        if data.get("when"):
            config["when"] = when_from(data["when"])
        before = self.editing.config if self.editing else {}
        kept = {key: before[key] for key in ("reasons",) if key in before and key not in config}
        return Question(
            name=name,
            kind=self.kind,
            title=data["title"],
            description=data["description"],
            required=data["required"],
            **{column: data[column] for column in self.columns},
            position=self.editing.position if self.editing else len(self.others),
            config=questions.check_config(self.kind, {**kept, **config}),
        )

    def check_meaning(self, data: Mapping[str, Any]) -> None:
        """What answers mean is changed only on purpose."""
        if self.editing is None or not self.is_answered or data.get("confirm"):
            return
        before, after = self.editing.config, self.question.config
        changed = [name for name in MEANINGS if before.get(name) != after.get(name)]
        if changed:
            raise forms.ValidationError(
                _("“%(title)s” has answers, and %(names)s gives them their meaning. If that is meant, tick the box.")
                % {"title": self.editing.title, "names": ", ".join(changed)}
            )

    def values(self) -> dict[str, Any]:
        """What `projects.change_question` takes."""
        names = ("kind", "title", "description", "required", "config", *self.columns)
        return {name: self.question.__dict__[name] for name in names}


def when_from(chosen: Sequence[str]) -> dict[str, Any]:
    """["better=tie", "better=both_bad"] → the condition."""
    pairs = [one.split("=", 1) for one in chosen]
    if len({name for name, _value in pairs}) > 1:
        raise questions.QuestionError("The condition names two questions: choose answers of one.")
    return {"question": pairs[0][0], "is": [value for _name, value in pairs]}


def initial_of(question: Question, own: Mapping[str, Any]) -> dict[str, Any]:
    when = question.config.get("when")
    return {
        **own,
        "title": question.title,
        "description": question.description,
        "required": question.required,
        "weight": question.weight,
        "is_veto": question.is_veto,
        "when": [f"{when['question']}={value}" for value in when["is"]] if when else [],
    }


class PreferenceKind(QuestionForm):
    kind = questions.PREFERENCE
    own = ("points", "tie", "both_bad", "unsure", "criterion")

    points = forms.TypedChoiceField(coerce=int, choices=[(n, n) for n in range(2, 10)], initial=7, label=_("Points"))
    tie = forms.BooleanField(required=False, initial=True, label=_("A middle point: about equal"))
    both_bad = forms.BooleanField(required=False, initial=True, label=_("“Both bad” is offered"))
    unsure = forms.BooleanField(required=False, label=_("“Cannot say” is offered"))
    criterion = forms.CharField(
        required=False,
        max_length=80,
        label=_("Criterion"),
        help_text=_("What is compared, where it is not the whole."),
    )


class RatingKind(QuestionForm):
    kind = questions.RATING
    own = ("min", "max", "anchors")
    columns = ("weight", "is_veto")

    min = forms.TypedChoiceField(coerce=int, choices=[(0, 0), (1, 1)], initial=1, label=_("From"))
    max = forms.TypedChoiceField(coerce=int, choices=[(n, n) for n in range(2, 11)], initial=5, label=_("To"))
    anchors = forms.CharField(
        required=False,
        widget=area(4),
        label=_("What a rating looks like"),
        help_text=_("A line each: 1: wrong or harmful"),
    )

    weight = forms.FloatField(
        min_value=0, max_value=100, initial=1, label=_("Weight"), help_text=_("What it counts for in the total.")
    )
    is_veto = forms.BooleanField(required=False, label=_("A failing rating here outweighs all others"))

    def settings(self, data: Mapping[str, Any]) -> dict[str, Any]:
        pairs = [line.partition(":") for line in lines_of(data["anchors"])]
        return {
            "min": data["min"],
            "max": data["max"],
            "anchors": {key.strip(): text.strip() for key, _sign, text in pairs},
        }

    @staticmethod
    def filled(config: Mapping[str, Any]) -> dict[str, Any]:
        anchors = sorted(config["anchors"].items(), key=lambda pair: int(pair[0]))
        return {**config, "anchors": "\n".join(f"{rating}: {text}" for rating, text in anchors)}


class RankingKind(QuestionForm):
    kind = questions.RANKING
    own = ("ties",)

    ties = forms.BooleanField(required=False, initial=True, label=_("Answers may share a rank"))


class CritiqueKind(QuestionForm):
    kind = questions.CRITIQUE
    own = ("min_characters", "reasons", "each")

    min_characters = forms.IntegerField(min_value=0, max_value=5000, initial=0, label=_("Characters at least"))
    reasons = forms.CharField(required=False, widget=area(4), label=_("Reasons to pick"), help_text=_("One a line."))
    each = forms.BooleanField(required=False, label=_("One for each answer"))

    def settings(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().settings(data), "reasons": lines_of(data["reasons"])}

    @staticmethod
    def filled(config: Mapping[str, Any]) -> dict[str, Any]:
        return {**config, "reasons": "\n".join(config["reasons"])}


class ChoiceKind(QuestionForm):
    kind = questions.CHOICE
    own = ("options", "multiple")

    options = forms.CharField(
        widget=area(5),
        label=_("Options"),
        help_text=_("A line each: value | words on the screen | key. The value is enough."),
    )
    multiple = forms.BooleanField(required=False, label=_("Several may be chosen"))

    def settings(self, data: Mapping[str, Any]) -> dict[str, Any]:
        rows = [[part.strip() for part in line.split("|")] for line in lines_of(data["options"])]
        named = [dict(zip(("value", "label", "key"), row, strict=False)) for row in rows]
        return {"options": named, "multiple": data["multiple"]}

    @staticmethod
    def filled(config: Mapping[str, Any]) -> dict[str, Any]:
        parts = [[option["value"], option["label"], option.get("key", "")] for option in config["options"]]
        return {**config, "options": "\n".join(" | ".join(part for part in row if part) for row in parts)}


class StepKind(QuestionForm):
    kind = questions.STEP
    own = ("split",)

    split = forms.ChoiceField(
        choices=[("paragraph", _("a paragraph")), ("line", _("a line")), ("sentence", _("a sentence"))],
        label=_("A step is"),
    )


class SpanKind(QuestionForm):
    kind = questions.SPAN
    own = ("tags",)

    tags = forms.CharField(widget=area(3), initial="evidence", label=_("Tags"), help_text=_("One a line."))

    def settings(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": lines_of(data["tags"])}

    @staticmethod
    def filled(config: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": "\n".join(config["tags"])}


FORMS: dict[str, type[QuestionForm]] = {
    form.kind: form for form in (PreferenceKind, RatingKind, RankingKind, CritiqueKind, ChoiceKind, StepKind, SpanKind)
}
