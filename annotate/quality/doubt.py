"""How much a reviewer's look at an item is worth. Pure functions.

    worth = P(the label is wrong) · (1 + ln(1 + priority))

where two or more people answered one question differently, taken of the question where it is highest; 0 elsewhere.
P(wrong) is 1 − the label's probability: after votes a, b it is 5/6 of a scale with four options, after a, a, b 4/7.
For ratings, which have no probability, it is half the widest spread between two people as a share of the scale.
The priority is the router's; one below 0 counts as 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log1p
from typing import Any, Protocol

from annotate.deciding import HUMAN, Aggregate, Asked, Opinion
from annotate.questions import SILENT

DIGITS = 3  # kept of a worth: items of like votes share one value, and are written together


class Stored(Asked, Protocol):
    """A question with its id."""

    pk: int


def voice(kind: str, answer: Any) -> Any:
    """What somebody said, as far as others can contradict it; None for silence and for kinds that are not voted on."""
    if answer is None:
        return None
    if kind == "preference":
        return None if answer["choice"] in SILENT else answer["choice"]
    return tuple(answer) if kind in ("choice", "ranking", "rating") else None


def voices(question: Asked, opinions: Iterable[Opinion]) -> list[Any]:
    """What each person said on the question."""
    said = (voice(question.kind, opinion.answers.get(question.name)) for opinion in opinions if opinion.kind == HUMAN)
    return [each for each in said if each is not None]


def spread(ratings: Sequence[Sequence[float | None]], config: Mapping[str, Any]) -> float:
    """The widest distance between two people's ratings of one response, as a share of the scale."""
    widest = 0.0
    for column in zip(*ratings, strict=False):
        known = [rating for rating in column if rating is not None]
        widest = max(widest, max(known) - min(known) if known else 0.0)
    return widest / (config.get("max", 5) - config.get("min", 1))


def chance_wrong(question: Asked, said: Sequence[Any], aggregate: Aggregate) -> float:
    if len(set(said)) < 2:
        return 0.0
    if question.kind == "rating":
        return spread(said, question.config) / 2
    return 1 - aggregate.probability if aggregate.probability is not None else 0.0


def worth(
    asked: Iterable[Stored], opinions: Sequence[Opinion], aggregates: Mapping[int, Aggregate], priority: float
) -> float:
    """What a look at the item is worth; `aggregates` holds what each question's label is to be, by its id."""
    chances = [
        chance_wrong(question, voices(question, opinions), aggregates[question.pk])
        for question in asked
        if question.pk in aggregates
    ]
    return round(max(chances, default=0.0) * (1 + log1p(max(0.0, priority))), DIGITS)
