"""What all kinds of questions share: what is known of a question and of what it is about, the two ways to be wrong,
and the checks that several kinds make of their settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.utils.translation import gettext as _

LETTERS = "abcdefghijklmnopqrstuvwxyz"  # of responses, in stored order


class QuestionError(ValueError):
    """A question's settings cannot be used; the message says which and what to set."""


class AnswerError(ValueError):
    """An answer does not fit its question; the message names the question and the remedy."""


class Asked(Protocol):
    """What these functions need to know of a question; the model and plain test objects both have it."""

    name: str
    kind: str
    title: str
    required: bool
    config: dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What is asked about: how many responses, and their texts in stored order where the caller knows them.

    The text of a response is its last assistant message as written; `step` and `span` are checked against it.
    """

    responses: int
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Kind:
    """One kind of question: its settings made whole, an answer to it checked, and how many responses it takes."""

    name: str
    config: Callable[[Mapping[str, Any]], dict[str, Any]]
    answer: Callable[[Asked, Any, Subject], Any]
    least: int = 1
    most: int = 26
    reads_texts: bool = False


def text_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of a response: its last assistant message; empty where it has none."""
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    return str(said[-1]) if said else ""


def check_names(config: Mapping[str, Any], *known: str) -> None:
    """Refuse a setting that the kind does not have, so that a slip of the pen does not go unseen."""
    for name in config:
        if name not in (*known, "when"):
            raise QuestionError(f"There is no setting {name!r} here: use {', '.join(known)} or when.")


def whole_number(config: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise QuestionError(f"{key} is {value!r}: set a whole number from {low} to {high}.")
    return value


def words(config: Mapping[str, Any], key: str, most: int, longest: int) -> list[str]:
    """A list of short texts, each once."""
    value = config.get(key, [])
    if not isinstance(value, list | tuple) or len(value) > most:
        raise QuestionError(f"{key} is {str(value)[:40]!r}: give a list of at most {most} texts.")
    found = [str(word).strip() for word in value]
    if any(not word or len(word) > longest for word in found):
        raise QuestionError(f"{key} has a text that is empty or too long: give each 1 to {longest} characters.")
    if len(set(found)) != len(found):
        raise QuestionError(f"{key} has a text twice: give each once.")
    return found


def per_response(question: Asked, answer: Any, subject: Subject) -> list[Any]:
    """The answer as a list with one entry for each response."""
    if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != subject.responses:
        raise AnswerError(
            _("“%(title)s”: give one entry for each of the %(answers)s answers.")
            % {"title": question.title, "answers": subject.responses}
        )
    return list(answer)
