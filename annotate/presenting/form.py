"""The form on the page turned into answers and back: what a person presses is in presented order, answers are not."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from annotate.models import Question
from annotate.presenting import choice, critique, preference, ranking, rating, span, step
from annotate.presenting.fields import Form, Presenter, Shown, field_name, own_fields, places_of
from annotate.questions import CHOICE, CRITIQUE, PREFERENCE, RANKING, RATING, SPAN, STEP, AnswerError, asked_now

LONGEST = 20_000  # characters of a reason
PRESENTERS: dict[str, Presenter] = {
    PREFERENCE: preference,
    RATING: rating,
    RANKING: ranking,
    CRITIQUE: critique,
    CHOICE: choice,
    STEP: step,
    SPAN: span,
}


def controls(questions: Sequence[Question], shown: Shown, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page asks, with what is chosen already: one entry a question, in order."""
    asked = asked_in(form, questions, shown)
    by_name = {question.name: question for question in questions}
    titled = sum(question.kind != RATING for question in questions) > 1  # one preference alone needs no heading
    return [
        {
            "question": question,
            "kind": question.kind,
            "group": "ratings" if question.kind == RATING else question.name,
            "is_titled": titled or question.kind != PREFERENCE,
            "is_asked": question.name in asked,
            "when": condition(question, by_name, shown),
            **PRESENTERS[question.kind].control(question, shown, form),
        }
        for question in questions
    ]


def condition(question: Question, by_name: Mapping[str, Question], shown: Shown) -> dict[str, Any] | None:
    """When the question is asked, as the page's script can tell: a question's field, and values in presented order."""
    when = question.config.get("when")
    deciding = by_name.get(when["question"]) if when else None
    if when is None or deciding is None:
        return None
    values = when["is"]
    if deciding.kind == PREFERENCE:
        values = preference.values_for(deciding, values, shown)
    return {"title": deciding.title, "name": field_name(deciding), "values": "|".join(values)}


def asked_in(form: Mapping[str, str], questions: Sequence[Question], shown: Shown) -> set[str]:
    """The names of the questions that are asked, with the form as it is."""
    waited_for = {question.config["when"]["question"] for question in questions if question.config.get("when")}
    decided = {}
    for question in questions:
        if question.name in waited_for:
            try:
                decided[question.name] = PRESENTERS[question.kind].answer(question, shown, form)
            except AnswerError:
                continue  # what cannot be read decides nothing; it is refused where the answer is taken
    return set(asked_now(questions, decided))


def form_from(posted: Mapping[str, str], questions: Sequence[Question], shown: Shown) -> Form:
    """Of what was posted, what belongs to the form; blanks left out. This is also what a draft holds."""
    form = {}
    for name, value in posted.items():
        most = LONGEST if name == "reason" else longest(name, questions, shown.places)
        kept = str(value).replace("\x00", "")[:most]
        if kept.strip():
            form[name] = kept
    return form


def longest(name: str, questions: Iterable[Question], count: int) -> int:
    """How many characters of a field are kept; 0 where it is no question's."""
    for question in questions:
        places = places_of(name, question)
        if places is not None:
            return PRESENTERS[question.kind].longest(question, places, count)
    return 0


def answers_of(form: Mapping[str, str], questions: Sequence[Question], shown: Shown) -> dict[str, Any]:
    """The answers, in stored order, that a form gives. Raises AnswerError for a value that is no choice.

    What stands in fields of questions that are not asked any more is left out.
    """
    asked = asked_in(form, questions, shown)
    answers = {}
    for question in questions:
        if question.name in asked:
            answer = PRESENTERS[question.kind].answer(question, shown, form)
            if answer is not None:
                answers[question.name] = answer
    return answers


def form_of(answers: Mapping[str, Any], reason: str, questions: Iterable[Question], shown: Shown) -> Form:
    """The form that gives these answers: what an item brought back is filled in with."""
    form = {"reason": reason} if reason else {}
    for question in questions:
        answer = answers.get(question.name)
        if answer is not None:
            form |= PRESENTERS[question.kind].fill(question, answer, shown)
    return form


def unanswered(form: Mapping[str, str], questions: Sequence[Question], shown: Shown) -> str:
    """What is still to be filled in, as a sentence; empty where nothing is.

    A required question must be answered; one that is optional may be left alone, but not half filled in.
    """
    asked = asked_in(form, questions, shown)
    for question in questions:
        begun = question.kind in (RANKING,) and any(own_fields(form, question))
        if question.name in asked and (question.required or begun):
            lacking = PRESENTERS[question.kind].lacks(question, shown, form)
            if lacking:
                return lacking
    return ""
