"""Answers and labels in words, in stored order: a and b are the first and the second response."""

from typing import Any

from django import template

register = template.Library()

CHOICES = {"a": "a", "b": "b", "tie": "tie", "both_bad": "both bad", "unsure": "unsure", "unparsable": "unparsable"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@register.filter
def answer(value: Any) -> str:
    """{"choice": "a", "strength": 2} → “a, by 2”; [4, None] → “a 4 · b –”; a bare choice → its word."""
    if isinstance(value, dict):
        strength = value.get("strength")
        return choice(value.get("choice")) + (f", by {strength}" if strength else "")
    return ratings(value) if isinstance(value, list) else choice(value)


def choice(value: Any) -> str:
    return CHOICES.get(value, str(value))


def ratings(values: list[float | None]) -> str:
    """Each response's rating beside its letter, with as many decimals as it needs."""
    shown = ("–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") for value in values)
    return " · ".join(f"{letter} {text}" for letter, text in zip(LETTERS, shown, strict=False))


@register.filter
def letter(position: int) -> str:
    """The letter of a response's stored position: 0 → a."""
    return LETTERS[position]


@register.filter
def presented(order: list[int]) -> str:
    """A presented order as letters, left to right: [1, 0] → b a."""
    return " ".join(LETTERS[position] for position in order)
