"""Answers and labels in words, in stored order: a and b are the first and the second response."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import template

register = template.Library()

CHOICES = {"a": "a", "b": "b", "tie": "tie", "both_bad": "both bad", "unsure": "unsure", "unparsable": "unparsable"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARKS = {"good": "✓", "neutral": "○", "bad": "✗", None: "·"}
LONGEST_QUOTE = 80  # characters of a passage


@register.filter
def answer(value: Any) -> str:
    """An answer of any kind of question, told by its shape, in words.

    {"choice": "a", "strength": 2} → “a, by 2”; [4, None] → “a 4 · b –”; a bare choice → its word;
    {"text", "reasons"} → “reasons: text”; [["good", "bad"]] → “a ✓✗”; a list of passages → “b tag “words””.
    """
    if isinstance(value, Mapping):
        return critique(value) if "text" in value else preference(value)
    if isinstance(value, list):
        return of_responses(value)
    return choice(value)


def preference(value: Mapping[str, Any]) -> str:
    strength = value.get("strength")
    return choice(value.get("choice")) + (f", by {strength}" if strength else "")


def critique(value: Mapping[str, Any]) -> str:
    return ": ".join(part for part in (", ".join(value.get("reasons", [])), value["text"]) if part)


def of_responses(value: list[Any]) -> str:
    """A list: numbers, steps or critiques by response, else passages or chosen options."""
    said = [one for one in value if one is not None]
    if said and all(isinstance(one, str) for one in said):
        return ", ".join(str(one).replace("_", " ") for one in said)
    if said and all(isinstance(one, Mapping) and "response" in one for one in said):
        return " · ".join(passage(one) for one in said)
    if said and all(isinstance(one, list) for one in said):
        return by_letter([None if one is None else "".join(MARKS.get(mark, "?") for mark in one) for one in value])
    if said and all(isinstance(one, Mapping) for one in said):
        return by_letter([None if one is None else critique(one) for one in value])
    return by_letter([None if one is None else f"{one:.2f}".rstrip("0").rstrip(".") for one in value])


def passage(value: Mapping[str, Any]) -> str:
    words = " ".join(str(value["text"]).split())
    quote = words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"
    return f"{LETTERS[value['response']]} {value['tag']} “{quote}”"


def choice(value: Any) -> str:
    return CHOICES.get(value, str(value))


def by_letter(shown: Sequence[str | None]) -> str:
    """What is said of each response beside its letter."""
    return " · ".join(f"{letter} {text or '–'}" for letter, text in zip(LETTERS, shown, strict=False))


@register.filter
def ranked(value: Any) -> str:
    """Ranks as an order: [2, 1, 2] → “b > a = c”; anything else in its own words."""
    if not isinstance(value, list) or not all(type(rank) is int for rank in value):
        return answer(value)
    places = [[LETTERS[n] for n, rank in enumerate(value) if rank == place] for place in sorted(set(value))]
    return " > ".join(" = ".join(letters) for letters in places)


@register.simple_tag
def said(name: str, value: Any, questions: Mapping[str, Any]) -> str:
    """An answer in words; ranks read as an order, where the project still asks the question (name → question)."""
    question = questions.get(name)
    return ranked(value) if question is not None and question.kind == "ranking" else answer(value)


@register.filter
def letter(position: int) -> str:
    """The letter of a response's stored position: 0 → a."""
    return LETTERS[position]


@register.filter
def presented(order: list[int]) -> str:
    """A presented order as letters, left to right: [1, 0] → b a."""
    return " ".join(LETTERS[position] for position in order)
