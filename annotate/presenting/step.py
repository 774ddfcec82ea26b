"""Steps on the page: each answer's steps from top to bottom, each to be called good, neutral or bad."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name, own_fields
from annotate.presenting.page import LETTERS
from annotate.questions import AnswerError
from annotate.questions.step import BAD, GOOD, MARKS, NEUTRAL, steps_of

WORDS = {GOOD: gettext_lazy("good"), NEUTRAL: gettext_lazy("neutral"), BAD: gettext_lazy("bad")}
KEYS = dict(zip(MARKS, "123", strict=True))


def steps_at(question: Question, place: int, shown: Shown) -> list[str]:
    return steps_of(shown.text(place), question.config.get("split", "paragraph"))


def control(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    groups = []
    for place in range(shown.places):
        steps = []
        for number, text in enumerate(steps_at(question, place, shown)):
            name = field_name(question, place, number)
            marks = [
                {"value": mark, "word": WORDS[mark], "key": KEYS[mark], "chosen": form.get(name) == mark}
                for mark in MARKS
            ]
            steps.append({"name": name, "number": number + 1, "text": text, "marks": marks})
        groups.append({"letter": LETTERS[place], "steps": steps})
    return {"groups": groups}


def longest(_question: Question, places: tuple[int, ...], count: int) -> int:
    return 10 if len(places) == 2 and places[0] < count else 0


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> list[list[str | None]] | None:
    marks: list[list[str | None]] = [[None] * len(steps_of(text, split_of(question))) for text in shown.texts or ()]
    given = list(own_fields(form, question))
    for (place, number), mark in given:
        steps = marks[shown.order[place]]
        if number >= len(steps) or mark not in MARKS:
            raise AnswerError(
                _("“%(title)s”: step %(number)s cannot be called %(mark)s.")
                % {"title": question.title, "number": number + 1, "mark": repr(mark)}
            )
        steps[number] = mark
    return marks if given else None


def split_of(question: Question) -> str:
    return str(question.config.get("split", "paragraph"))


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    return {
        field_name(question, place, number): mark
        for place, position in enumerate(shown.order)
        for number, mark in enumerate(answer[position])
        if mark is not None
    }


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    judged = {places[0] for places, _mark in own_fields(form, question)}
    lacking = [
        LETTERS[place] for place in range(shown.places) if place not in judged and steps_at(question, place, shown)
    ]
    if not lacking:
        return ""
    letters = _(" and ").join(lacking)
    return _("“%(title)s” still needs a step of %(letters)s judged.") % {"title": question.title, "letters": letters}
