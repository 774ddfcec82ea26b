"""A preference on the page: a scale from A on the left to B on the right, and the ways out of it."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name, whole
from annotate.questions import AnswerError, answer_at_level, level_of_answer, scale_points

# The words of `questions.preference.scale_points`, and what a screen reader says of such a point.
WORDS = {
    "equal": (gettext_lazy("equal"), gettext_lazy("equal")),
    "better": (gettext_lazy("better"), gettext_lazy("%(letter)s is better")),
    "slightly": (gettext_lazy("slightly"), gettext_lazy("%(letter)s is slightly better")),
    "clearly": (gettext_lazy("clearly"), gettext_lazy("%(letter)s is clearly better")),
    "much": (gettext_lazy("much"), gettext_lazy("%(letter)s is much better")),
    "very much": (gettext_lazy("very much"), gettext_lazy("%(letter)s is very much better")),
}
LETTERS = {"left": "A", "right": "B", "": ""}
OUTS = {"both_bad": (gettext_lazy("Both bad"), "b"), "unsure": (gettext_lazy("Cannot say"), "0")}


def control(question: Question, _shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    """The scale from left to right, and the ways out of it."""
    name, config = field_name(question), question.config
    points = [point for point in scale_points(config["points"]) if point["side"] or config.get("tie", True)]
    chosen = form.get(name, "")
    for point in points:
        word, spoken = WORDS[point["word"]]
        point |= {
            "word": word,
            "spoken": str(spoken) % {"letter": LETTERS[point["side"]]},
            "chosen": chosen == str(point["level"]),
        }
    outs = [
        {"value": value, "word": word, "key": key, "chosen": chosen == value}
        for value, (word, key) in OUTS.items()
        if config.get(value)
    ]
    return {"name": name, "points": points, "outs": outs}


def longest(_question: Question, places: tuple[int, ...], _count: int) -> int:
    return 0 if places else 20


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any] | None:
    value = form.get(field_name(question))
    if value is None:
        return None
    if value in OUTS:
        if not question.config.get(value):
            raise AnswerError(
                _("“%(title)s” does not offer “%(choice)s”.") % {"title": question.title, "choice": OUTS[value][0]}
            )
        return {"choice": value}
    given = answer_at_level(whole(value, question), question.config["points"], shown.order)
    if given["choice"] == "tie" and not question.config.get("tie", True):
        raise AnswerError(_("“%(title)s” has no middle: choose a side.") % {"title": question.title})
    return given


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    level = level_of_answer(answer, question.config["points"], shown.order)
    return {field_name(question): answer["choice"] if level is None else str(level)}


def lacks(question: Question, _shown: Shown, form: Mapping[str, str]) -> str:
    if field_name(question) in form:
        return ""
    return _("“%(title)s” still needs an answer.") % {"title": question.title}


def values_for(question: Question, choices: list[str], shown: Shown) -> list[str]:
    """The values of the field that give one of these choices."""
    levels = [str(point["level"]) for point in scale_points(question.config["points"])]
    values = [*levels, *(out for out in OUTS if question.config.get(out))]
    given = {
        value: answer(question, shown, {field_name(question): value}) for value in values if allowed(question, value)
    }
    return [value for value, said in given.items() if said and said["choice"] in choices]


def allowed(question: Question, value: str) -> bool:
    """Is the value on offer: the middle may not be."""
    centre = (question.config["points"] + 1) / 2
    return value in OUTS or float(value) != centre or bool(question.config.get("tie", True))
