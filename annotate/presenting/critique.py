"""A critique on the page: a text and reasons to pick, once or for each answer."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name
from annotate.presenting.page import LETTERS
from annotate.questions.critique import LONGEST, LONGEST_REASON

KEYS = "1234567890"


def control(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    least = question.config.get("min_characters", 0)
    parts = []
    for start, letter in starts(question, shown):
        name = field_name(question, *start)
        text = form.get(name, "")
        chips = [
            {
                "name": field_name(question, *start, number),
                "word": reason,
                "key": KEYS[number] if number < len(KEYS) else "",
                "chosen": form.get(field_name(question, *start, number)) == reason,
            }
            for number, reason in enumerate(question.config.get("reasons", []))
        ]
        parts.append({"name": name, "letter": letter, "text": text, "length": len(text.strip()), "chips": chips})
    return {"parts": parts, "least": least, "longest": LONGEST}


def starts(question: Question, shown: Shown) -> list[tuple[tuple[int, ...], str]]:
    """The numbers that each critique's fields begin with, and the letter of what it is about."""
    if question.config.get("each", False):
        return [((place,), LETTERS[place]) for place in range(shown.places)]
    return [((), "")]


def longest(question: Question, places: tuple[int, ...], count: int) -> int:
    own = places
    if question.config.get("each", False):
        if not places or places[0] >= count:
            return 0
        own = places[1:]
    if not own:
        return LONGEST
    return LONGEST_REASON if len(own) == 1 and own[0] < len(question.config.get("reasons", [])) else 0


def critique_at(question: Question, start: tuple[int, ...], form: Mapping[str, str]) -> dict[str, Any] | None:
    text = form.get(field_name(question, *start), "").strip()
    numbers = range(len(question.config.get("reasons", [])))
    reasons = [form[name] for name in (field_name(question, *start, n) for n in numbers) if name in form]
    return {"text": text, "reasons": reasons} if text or reasons else None


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> Any:
    given = [critique_at(question, start, form) for start, _letter in starts(question, shown)]
    if not any(given):
        return None
    if not question.config.get("each", False):
        return given[0]
    stored: list[dict[str, Any] | None] = [None] * shown.places
    for place, position in enumerate(shown.order):
        stored[position] = given[place]
    return stored


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    each = question.config.get("each", False)
    said = [answer[position] for position in shown.order] if each else [answer]
    reasons = question.config.get("reasons", [])
    form: Form = {}
    for (start, _letter), critique in zip(starts(question, shown), said, strict=True):
        if critique is None:
            continue
        if critique["text"]:
            form[field_name(question, *start)] = critique["text"]
        for reason in critique["reasons"]:
            if reason in reasons:
                form[field_name(question, *start, reasons.index(reason))] = reason
    return form


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    least = question.config.get("min_characters", 0)
    for start, letter in starts(question, shown):
        title = f"{question.title}, {letter}" if letter else question.title
        critique = critique_at(question, start, form)
        if critique is None:
            return _("“%(title)s” still needs an answer.") % {"title": title}
        if len(critique["text"]) < least:
            return too_short(title, len(critique["text"]), least)
    return ""


def too_short(title: str, length: int, least: int) -> str:
    return _("“%(title)s” has %(length)d of %(least)d characters: say a little more.") % {
        "title": title,
        "length": length,
        "least": least,
    }
