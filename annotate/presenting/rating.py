"""A rating on the page: one group of numbers for each answer, from left to right, and the anchors."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name, whole
from annotate.presenting.page import LETTERS

RATING_KEYS = ("qwert", "yuiop")  # for the first and the second answer: one key a rating, from the lowest


def control(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    low, high = question.config["min"], question.config["max"]
    anchors = question.config.get("anchors", {})
    groups = []
    for place in range(shown.places):
        name = field_name(question, place)
        keys = RATING_KEYS[place] if place < len(RATING_KEYS) else ""
        pips = [
            {
                "value": value,
                "key": keys[value - low] if value - low < len(keys) else "",
                "anchor": anchors.get(str(value), ""),
                "chosen": form.get(name) == str(value),
            }
            for value in range(low, high + 1)
        ]
        groups.append({"name": name, "letter": LETTERS[place], "pips": pips, "keys": f"{keys[:1]}–{keys[-1:]}"})
    by_rating = sorted(anchors.items(), key=lambda pair: int(pair[0]))
    return {"groups": groups, "anchors": by_rating, "highest": high}


def longest(_question: Question, places: tuple[int, ...], count: int) -> int:
    return 20 if len(places) == 1 and places[0] < count else 0


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> list[int | None] | None:
    ratings: list[int | None] = [None] * shown.places
    for place, position in enumerate(shown.order):
        value = form.get(field_name(question, place))
        if value is not None:
            ratings[position] = whole(value, question)
    return ratings if any(rating is not None for rating in ratings) else None


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    return {
        field_name(question, place): f"{answer[position]:g}"
        for place, position in enumerate(shown.order)
        if answer[position] is not None
    }


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    lacking = [LETTERS[place] for place in range(shown.places) if field_name(question, place) not in form]
    if not lacking:
        return ""
    letters = _(" and ").join(lacking)
    return _("“%(title)s” still needs a rating for %(letters)s.") % {"title": question.title, "letters": letters}
