"""An item as an annotator sees it, and the form on the page turned into answers and back.

What a person sees and presses is in presented order: A is on the left. Answers are in stored order. The two meet
here, and only here. No model name passes through. Pure functions, no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.models import Item, Question, Response
from annotate.questions import AnswerError, answer_at_level, level_of_answer, scale_points

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RATING_KEYS = ("qwert", "yuiop")  # for the first and the second answer: one key a rating, from the lowest
ROLES = {"user": "Person", "assistant": "Assistant", "system": "Instructions", "tool": "Tool"}
LONGEST = 20_000  # characters of a reason
OUTS = {"both_bad": ("Both bad", "b"), "unsure": ("Cannot say", "0")}

Form = dict[str, str]

# --- The page -------------------------------------------------------------------------------------------------


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
    return [Turn(ROLES.get(message["role"], message["role"]), str(message["content"])) for message in messages]


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


def controls(questions: Iterable[Question], places: int, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page asks, with what is chosen already: one entry a question."""
    made = []
    for question in questions:
        is_preference = question.kind == Question.PREFERENCE
        parts = preference_control(question, form) if is_preference else rating_control(question, places, form)
        made.append({"question": question, "is_preference": is_preference, **parts})
    return made


def preference_control(question: Question, form: Mapping[str, str]) -> dict[str, Any]:
    """The scale from left to right, and the ways out of it."""
    name, config = field_name(question), question.config
    points = [point for point in scale_points(config["points"]) if point["side"] or config.get("tie", True)]
    chosen = form.get(name, "")
    for point in points:
        letter = {"left": "A is ", "right": "B is ", "": ""}[point["side"]]
        better = " better" if point["side"] and point["word"] != "better" else ""
        point |= {"spoken": letter + point["word"] + better, "chosen": chosen == str(point["level"])}
    outs = [
        {"value": value, "word": word, "key": key, "chosen": chosen == value}
        for value, (word, key) in OUTS.items()
        if config.get(value)
    ]
    return {"name": name, "points": points, "outs": outs}


def rating_control(question: Question, places: int, form: Mapping[str, str]) -> dict[str, Any]:
    """One group of ratings for each answer, from left to right, and the anchors."""
    low, high = question.config["min"], question.config["max"]
    anchors = question.config.get("anchors", {})
    groups = []
    for place in range(places):
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
    shown = sorted(anchors.items(), key=lambda pair: int(pair[0]))
    return {"groups": groups, "anchors": shown, "highest": high}


# --- The form -------------------------------------------------------------------------------------------------


def field_name(question: Question, place: int | None = None) -> str:
    """The name of a control: one a question, for ratings one a question and place."""
    return f"answer-{question.name}" if place is None else f"answer-{question.name}-{place}"


def field_names(questions: Iterable[Question], places: int) -> list[str]:
    names = []
    for question in questions:
        if question.kind == Question.PREFERENCE:
            names.append(field_name(question))
        else:
            names += [field_name(question, place) for place in range(places)]
    return names


def form_from(posted: Mapping[str, str], questions: Iterable[Question], places: int) -> Form:
    """Of what was posted, what belongs to the form; blanks left out. This is also what a draft holds."""
    values = {name: str(posted.get(name, ""))[:20] for name in field_names(questions, places)}
    reason = str(posted.get("reason", "")).replace("\x00", "")[:LONGEST]
    return {name: value for name, value in {**values, "reason": reason}.items() if value.strip()}


def answers_of(form: Mapping[str, str], questions: Iterable[Question], order: Sequence[int]) -> dict[str, Any]:
    """The answers, in stored order, that a form gives. Raises AnswerError for a value that is no choice."""
    answers = {}
    for question in questions:
        is_preference = question.kind == Question.PREFERENCE
        answer = preference_of(form, question, order) if is_preference else rating_of(form, question, order)
        if answer is not None:
            answers[question.name] = answer
    return answers


def preference_of(form: Mapping[str, str], question: Question, order: Sequence[int]) -> dict[str, Any] | None:
    value = form.get(field_name(question))
    if value is None:
        return None
    if value in OUTS:
        if not question.config.get(value):
            raise AnswerError(f"“{question.title}” does not offer “{OUTS[value][0]}”.")
        return {"choice": value}
    answer = answer_at_level(whole(value, question), question.config["points"], order)
    if answer["choice"] == "tie" and not question.config.get("tie", True):
        raise AnswerError(f"“{question.title}” has no middle: choose a side.")
    return answer


def rating_of(form: Mapping[str, str], question: Question, order: Sequence[int]) -> list[int | None] | None:
    ratings: list[int | None] = [None] * len(order)
    for place, position in enumerate(order):
        value = form.get(field_name(question, place))
        if value is not None:
            ratings[position] = whole(value, question)
    return ratings if any(rating is not None for rating in ratings) else None


def whole(value: str, question: Question) -> int:
    if not (value.isascii() and value.isdigit()):
        raise AnswerError(f"“{question.title}”: {value!r} is not one of its choices.")
    return int(value)


def form_of(answers: Mapping[str, Any], reason: str, questions: Iterable[Question], order: Sequence[int]) -> Form:
    """The form that gives these answers: what an item brought back is filled in with."""
    form = {"reason": reason} if reason else {}
    for question in questions:
        answer = answers.get(question.name)
        if answer is None:
            continue
        if question.kind == Question.PREFERENCE:
            level = level_of_answer(answer, question.config["points"], order)
            form[field_name(question)] = answer["choice"] if level is None else str(level)
            continue
        for place, position in enumerate(order):
            if answer[position] is not None:
                form[field_name(question, place)] = f"{answer[position]:g}"
    return form


def unanswered(form: Mapping[str, str], questions: Iterable[Question], places: int) -> str:
    """What a required question still lacks, as a sentence; empty where nothing does."""
    for question in questions:
        if not question.required:
            continue
        if question.kind == Question.PREFERENCE and field_name(question) not in form:
            return f"“{question.title}” still needs an answer."
        if question.kind == Question.RATING:
            lacking = [LETTERS[place] for place in range(places) if field_name(question, place) not in form]
            if lacking:
                return f"“{question.title}” still needs a rating for {' and '.join(lacking)}."
    return ""
