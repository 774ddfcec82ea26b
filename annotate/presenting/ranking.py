"""A ranking on the page: a rank for each answer. Nothing is ranked until somebody says so, so that an order which
nobody touched is not taken for an answer.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name, whole
from annotate.presenting.page import LETTERS
from annotate.questions import AnswerError
from annotate.questions.ranking import dense

KEYS = {"10": "rank-10"}  # the others are the digits


def control(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    ranks = [str(rank) for rank in range(1, shown.places + 1)]
    rows = [
        {
            "name": field_name(question, place),
            "letter": LETTERS[place],
            "pick": f"pick-{LETTERS[place].lower()}",
            "ranks": [
                {"value": rank, "key": KEYS.get(rank, rank), "chosen": form.get(field_name(question, place)) == rank}
                for rank in ranks
            ],
        }
        for place in range(shown.places)
    ]
    return {"rows": rows, "ties": question.config.get("ties", True)}


def longest(_question: Question, places: tuple[int, ...], count: int) -> int:
    return 2 if len(places) == 1 and places[0] < count else 0


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> list[int] | None:
    given = [form.get(field_name(question, place)) for place in range(shown.places)]
    if not any(given):
        return None
    ranks = [0] * shown.places
    for place, value in enumerate(given):
        if value is None:
            raise AnswerError(lacks(question, shown, form))
        ranks[shown.order[place]] = whole(value, question)
    return dense(ranks) if all(1 <= rank <= shown.places for rank in ranks) else ranks


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    return {field_name(question, place): str(answer[position]) for place, position in enumerate(shown.order)}


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    lacking = [LETTERS[place] for place in range(shown.places) if field_name(question, place) not in form]
    if not lacking:
        return ""
    if len(lacking) == shown.places:
        return _("“%(title)s” still needs an order: rank the answers, or say that they stand right as they are.") % {
            "title": question.title
        }
    letters = _(" and ").join(lacking)
    return _("“%(title)s” still needs a rank for %(letters)s.") % {"title": question.title, "letters": letters}
