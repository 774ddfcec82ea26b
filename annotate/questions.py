"""The question types: what a question may be set to, what an answer may be, how a scale maps onto stored order.

Answers are always in stored order (`a` is the first response, `b` the second); only the scale that a person
presses is in presented order. Pure functions, no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

PREFERENCE, RATING = "preference", "rating"
CHOICES = ("a", "b", "tie", "both_bad", "unsure", "unparsable")
SILENT = frozenset({"unsure", "unparsable"})  # recorded, but not votes


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


def whole_number(config: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise QuestionError(f"{key} is {value!r}: set a whole number from {low} to {high}.")
    return value


def preference_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`points` 2 to 9; an even number has no tie. `tie`, `both_bad`, `unsure` say which ways out are offered."""
    points = whole_number(config, "points", 7, 2, 9)
    tie = bool(config.get("tie", points % 2 == 1))
    if tie and points % 2 == 0:
        raise QuestionError(f"A scale of {points} points has no middle: choose an odd number of points, or no tie.")
    return {
        "points": points,
        "tie": tie,
        "both_bad": bool(config.get("both_bad", True)),
        "unsure": bool(config.get("unsure", False)),
        "reasons": [str(reason) for reason in config.get("reasons", [])],
    }


def rating_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`min` and `max` of the scale, and `anchors`: what a rating looks like, by rating, for some or all."""
    low = whole_number(config, "min", 1, 0, 10)
    high = whole_number(config, "max", 5, low + 1, 10)
    anchors = {str(rating): str(text) for rating, text in dict(config.get("anchors", {})).items() if str(text).strip()}
    for rating in anchors:
        if not rating.isdigit() or not low <= int(rating) <= high:
            raise QuestionError(f"There is an anchor for {rating}, but the scale goes from {low} to {high}.")
    return {"min": low, "max": high, "anchors": anchors}


CONFIGS = {PREFERENCE: preference_config, RATING: rating_config}


def check_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a question of this kind, whole and checked. Raises QuestionError."""
    if kind not in CONFIGS:
        raise QuestionError(f"{kind!r} is not a kind of question: use one of {', '.join(CONFIGS)}.")
    return CONFIGS[kind](config)


def steps(points: int) -> int:
    """How many steps of strength a scale has on either side of its centre."""
    return points // 2


def preference_answer(question: Asked, answer: Any, responses: int) -> dict[str, Any]:
    if not isinstance(answer, Mapping) or answer.get("choice") not in CHOICES:
        raise AnswerError(f"“{question.title}”: choose one of {', '.join(CHOICES)}.")
    if responses != 2:
        raise AnswerError(f"“{question.title}” compares two answers, but the item has {responses}.")
    choice, strength = answer["choice"], answer.get("strength")
    if choice not in ("a", "b") or strength is None:
        return {"choice": choice}
    most = steps(question.config.get("points", 7))
    if isinstance(strength, bool) or not isinstance(strength, int) or not 1 <= strength <= most:
        raise AnswerError(f"“{question.title}”: the strength is {strength!r}, and must be from 1 to {most}.")
    return {"choice": choice, "strength": strength}


def rating_answer(question: Asked, answer: Any, responses: int) -> list[float | None]:
    low, high = question.config.get("min", 1), question.config.get("max", 5)
    if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != responses:
        raise AnswerError(f"“{question.title}”: give one rating for each of the {responses} answers.")
    for rating in answer:
        if rating is None and not question.required:
            continue
        if isinstance(rating, bool) or not isinstance(rating, int | float) or not low <= rating <= high:
            raise AnswerError(f"“{question.title}”: {rating!r} is not a rating from {low} to {high}.")
    return list(answer)


ANSWERS = {PREFERENCE: preference_answer, RATING: rating_answer}


def check_answers(questions: Iterable[Asked], answers: Mapping[str, Any], responses: int) -> dict[str, Any]:
    """All answers of one annotation, checked and made uniform.

    `answers` is question name → answer; `responses` the number of responses of the item. A required question
    without an answer, an answer that does not fit, or one to a question that is not asked raises AnswerError.
    """
    known = {question.name: question for question in questions}
    for name in answers:
        if name not in known:
            raise AnswerError(f"There is no question {name!r} here: the questions are {', '.join(known) or 'none'}.")
    checked = {}
    for name, question in known.items():
        answer = answers.get(name)
        if answer is None:
            if question.required:
                raise AnswerError(f"“{question.title}” still needs an answer.")
            continue
        checked[name] = ANSWERS[question.kind](question, answer, responses)
    return checked


def answer_at_level(level: int, points: int, order: Sequence[int]) -> dict[str, Any]:
    """What pressing point `level` (1 is the left end) of a scale means in stored order.

    `order` is the presented order, left to right. Level 6 of 7 shown as [1, 0]: the right one, so `a`, strength 2.
    """
    if not 1 <= level <= points:
        raise AnswerError(f"{level} is not a point of a scale from 1 to {points}.")
    centre = (points + 1) / 2
    if level == centre:
        return {"choice": "tie"}
    shown = order[0] if level < centre else order[1]
    distance = abs(level - centre)
    return {"choice": "ab"[shown], "strength": int(distance + 0.5)}


def level_of_answer(answer: Mapping[str, Any], points: int, order: Sequence[int]) -> int | None:
    """The point of the scale that shows this answer; None where the scale has no point for it."""
    choice = answer.get("choice")
    if choice == "tie":
        return (points + 1) // 2 if points % 2 else None
    if choice not in ("a", "b"):
        return None
    distance = int(answer.get("strength") or 1)
    left = "ab"[order[0]] == choice
    centre = (points + 1) / 2
    away = distance if points % 2 else distance - 0.5
    return int(centre - away) if left else int(centre + away)


SCALE_WORDS = ["slightly", "clearly", "much", "very much"]


def scale_points(points: int) -> list[dict[str, Any]]:
    """The points of a preference scale from left to right: number, word, and which side it favours."""
    centre = (points + 1) / 2
    shown = []
    for level in range(1, points + 1):
        distance = int(abs(level - centre) + 0.5) if level != centre else 0
        side = "" if not distance else ("left" if level < centre else "right")
        word = "equal" if not distance else ("better" if points < 4 else SCALE_WORDS[distance - 1])
        shown.append({"level": level, "word": word, "side": side})
    return shown
