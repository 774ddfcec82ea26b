"""The item itself as an annotator sees it: the conversation, and the answers from left to right.

No model name passes through. Pure functions, no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy

from annotate.models import Item, Response

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROLES = {
    "user": gettext_lazy("Person"),
    "assistant": gettext_lazy("Assistant"),
    "system": gettext_lazy("Instructions"),
    "tool": gettext_lazy("Tool"),
}


@dataclass(frozen=True)
class Turn:
    """One message: who speaks, and what, as Markdown."""

    role: str
    text: str


@dataclass(frozen=True)
class Side:
    """One answer as presented: its letter, its length, its messages."""

    letter: str
    words: int
    turns: list[Turn]


def turns(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    return [Turn(str(ROLES.get(message["role"], message["role"])), str(message["content"])) for message in messages]


def sides(responses: Sequence[Response], order: Sequence[int]) -> list[Side]:
    """The answers from left to right."""
    stored = {response.position: response for response in responses}
    shown = [stored[position] for position in order]
    return [
        Side(letter, response.words, turns(response.messages))
        for letter, response in zip(LETTERS, shown, strict=False)
    ]


def conversation(item: Item) -> tuple[list[Turn], list[Turn]]:
    """The prompt in two parts: what went before, and the last turn, which the answers answer."""
    said = turns(item.prompt)
    return said[:-1], said[-1:]
