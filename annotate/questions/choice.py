"""Choice: one or several of a question's own options."""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import AnswerError, Asked, Kind, QuestionError, Subject, check_names

MOST = 40
VALUE = re.compile(r"[\w-]{1,40}")
OPTION_FIELDS = {"value", "label", "key"}


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`options`: [{value, label, key}], and `multiple`: may several be chosen. A key is one letter or digit."""
    check_names(config, "options", "multiple")
    given = config.get("options", [])
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= MOST:
        raise QuestionError(f"options is {str(given)[:40]!r}: give a list of 2 to {MOST} options.")
    options = [option_of(option) for option in given]
    for field in ("value", "key"):
        said = [option[field] for option in options if field in option]
        if len(set(said)) != len(said):
            raise QuestionError(f"Two options have the same {field}: give each its own.")
    return {"options": options, "multiple": bool(config.get("multiple", False))}


def option_of(option: Any) -> dict[str, str]:
    """One option, whole; a bare text is a value that is its own label."""
    option = {"value": option} if isinstance(option, str) else option
    if not isinstance(option, Mapping) or not set(option) <= OPTION_FIELDS:
        raise QuestionError(f"The option {str(option)[:60]!r} cannot be read: give value, label and perhaps key.")
    value, key = str(option.get("value", "")), str(option.get("key") or "").lower()
    if not VALUE.fullmatch(value):
        raise QuestionError(f"The option's value {value[:60]!r} cannot be used: letters, digits, - and _, at most 40.")
    if key and not (len(key) == 1 and key.isascii() and key.isalnum()):
        raise QuestionError(f"The key {key[:20]!r} of {value!r} cannot be pressed: give one letter or digit.")
    label = str(option.get("label") or value.replace("_", " ")).strip()[:160]
    return {"value": value, "label": label, **({"key": key} if key else {})}


def answer_of(question: Asked, answer: Any, _subject: Subject) -> list[str]:
    """The values of the chosen options, in the options' order."""
    offered = [option["value"] for option in question.config.get("options", [])]
    if not isinstance(answer, list | tuple) or not answer or any(value not in offered for value in answer):
        raise AnswerError(
            _("“%(title)s”: give a list of values from %(options)s.")
            % {"title": question.title, "options": ", ".join(offered)}
        )
    if len(set(answer)) > 1 and not question.config.get("multiple", False):
        raise AnswerError(
            _("“%(title)s” takes one choice, not %(given)s: keep one.")
            % {"title": question.title, "given": len(set(answer))}
        )
    return [value for value in offered if value in answer]


KIND = Kind("choice", config_of, answer_of)
