"""The form's fields: their names and what may stand in them.

A form is plain: name → text, in presented order. It is what the page posts, what a draft keeps, and what fills the
page again. A question's fields are called `answer-NAME`, or `answer-NAME-1-2` where it has several.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.questions import AnswerError, Subject

Form = dict[str, str]


@dataclass(frozen=True)
class Shown:
    """How an item is presented: `order` from left to right, and the responses' texts in stored order where known."""

    order: tuple[int, ...]
    texts: tuple[str, ...] | None = None

    @property
    def places(self) -> int:
        return len(self.order)

    @property
    def subject(self) -> Subject:
        return Subject(len(self.order), self.texts)

    def text(self, place: int) -> str:
        """The text of the response at a place, from left to right."""
        if self.texts is None:
            raise ValueError("These questions point into texts, and the texts were not given.")
        return self.texts[self.order[place]]


class Presenter(Protocol):
    """What each kind of question gives: its control on the page, and its part of the form read and filled."""

    def control(self, question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
        """What the question's template needs besides the question."""

    def longest(self, question: Question, places: tuple[int, ...], count: int) -> int:
        """How many characters the field with these numbers may have, for `count` responses; 0 if there is none."""

    def answer(self, question: Question, shown: Shown, form: Mapping[str, str]) -> Any:
        """The answer in stored order; None where nothing is filled in. Raises AnswerError."""

    def fill(self, question: Question, answer: Any, shown: Shown) -> Form:
        """The fields that give this answer."""

    def lacks(self, question: Question, shown: Shown, form: Mapping[str, str]) -> str:
        """What is still to be filled in, as a sentence; empty where nothing is."""


def field_name(question: Question, *places: int) -> str:
    return "-".join(["answer", question.name, *map(str, places)])


def places_of(name: str, question: Question) -> tuple[int, ...] | None:
    """The numbers in the name of a field of this question; None for a field that is not its own."""
    rest = name.removeprefix(field_name(question))
    if rest == name or not re.fullmatch(r"(?:-\d{1,4})*", rest, re.ASCII):
        return None
    return tuple(int(number) for number in rest.split("-")[1:])


def own_fields(form: Mapping[str, str], question: Question) -> Iterable[tuple[tuple[int, ...], str]]:
    """The question's filled-in fields: numbers and text."""
    for name, value in form.items():
        places = places_of(name, question)
        if places is not None:
            yield places, value


def whole(value: str, question: Question) -> int:
    """A whole number that was pressed."""
    if not (value.isascii() and value.isdigit()):
        raise AnswerError(
            _("“%(title)s”: %(value)s is not one of its choices.") % {"title": question.title, "value": repr(value)}
        )
    return int(value)
