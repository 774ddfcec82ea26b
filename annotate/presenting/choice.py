"""A choice on the page: one of the options, or any of them, each with a key."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name

KEYS = "1234567890"


def option_field(question: Question, number: int) -> str:
    """One field for the question, or one for each option where several may be chosen."""
    return field_name(question, number) if question.config.get("multiple", False) else field_name(question)


def control(question: Question, _shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    free = iter(key for key in KEYS if key not in {option.get("key") for option in question.config["options"]})
    options = [
        {
            "name": option_field(question, number),
            "value": option["value"],
            "label": option["label"],
            "key": option.get("key") or next(free, ""),
            "chosen": form.get(option_field(question, number)) == option["value"],
        }
        for number, option in enumerate(question.config["options"])
    ]
    return {"options": options, "multiple": question.config.get("multiple", False)}


def longest(question: Question, places: tuple[int, ...], _count: int) -> int:
    if not question.config.get("multiple", False):
        return 0 if places else 40
    return 40 if len(places) == 1 and places[0] < len(question.config["options"]) else 0


def answer(question: Question, _shown: Shown, form: Mapping[str, str]) -> list[str] | None:
    names = dict.fromkeys(option_field(question, number) for number in range(len(question.config["options"])))
    return [form[name] for name in names if name in form] or None


def fill(question: Question, answer: Any, _shown: Shown) -> Form:
    values = [option["value"] for option in question.config["options"]]
    return {option_field(question, values.index(value)): value for value in answer if value in values}


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    if answer(question, shown, form) is not None:
        return ""
    return _("“%(title)s” still needs an answer.") % {"title": question.title}
