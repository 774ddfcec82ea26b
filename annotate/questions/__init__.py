"""The question types: what a question may be set to, what an answer may be, and which are asked. One file a kind.

Answers are always in stored order. Pure functions, no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions import choice, critique, preference, ranking, rating, span, step
from annotate.questions.asking import AnswerError, Asked, Kind, QuestionError, Subject, text_of
from annotate.questions.conditions import asked_now, check_together, when_of
from annotate.questions.preference import SILENT, answer_at_level, level_of_answer, scale_points, steps

__all__ = [
    "CHOICE", "CRITIQUE", "KINDS", "PREFERENCE", "RANKING", "RATING", "SILENT", "SPAN", "STEP",
    "AnswerError", "Asked", "Kind", "QuestionError", "Subject",
    "answer_at_level", "asked_now", "can_ask", "check_answer", "check_answers", "check_config", "check_together",
    "level_of_answer", "reads_texts", "scale_points", "steps", "text_of",
]  # fmt: skip

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND for module in (preference, rating, ranking, critique, choice, step, span)
}
PREFERENCE, RATING, RANKING, CRITIQUE, CHOICE, STEP, SPAN = KINDS


def check_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a question of this kind, whole and checked. Raises QuestionError."""
    if kind not in KINDS:
        raise QuestionError(f"{kind!r} is not a kind of question: use one of {', '.join(KINDS)}.")
    if not isinstance(config, Mapping):
        raise QuestionError(f"config is {str(config)[:40]!r}: write it as an object, {{“setting”: value}}.")
    when = when_of(config)
    return {**KINDS[kind].config(config), **({"when": when} if when else {})}


def can_ask(questions: Sequence[Asked], responses: int) -> list[str]:
    """The names of those that an item with so many responses can be asked: a preference compares two.

    A question that waits for one that cannot be asked cannot be asked either.
    """
    fit = [question for question in questions if KINDS[question.kind].least <= responses <= KINDS[question.kind].most]
    names = {question.name for question in fit}
    waiting = [question for question in fit if (question.config.get("when") or {}).get("question", question.name)
               not in names]  # fmt: skip
    if not waiting:
        return [question.name for question in fit]
    return can_ask([question for question in fit if question not in waiting], responses)


def reads_texts(questions: Iterable[Asked]) -> bool:
    """Do the answers to any of these point into the responses' texts?"""
    return any(KINDS[question.kind].reads_texts for question in questions)


def check_answer(question: Asked, answer: Any, subject: Subject) -> Any:
    """One answer, checked and made uniform. Raises AnswerError."""
    return KINDS[question.kind].answer(question, answer, subject)


def check_answers(
    questions: Iterable[Asked], answers: Mapping[str, Any], responses: int, texts: Sequence[str] | None = None
) -> dict[str, Any]:
    """All answers of one annotation, checked and made uniform.

    `answers` is question name → answer; `responses` the number of responses of the item, `texts` their texts where
    known. A required question without an answer, an answer that does not fit, or one to a question that is not
    asked raises AnswerError. A question whose condition is not met is not asked.
    """
    known = {question.name: question for question in questions}
    for name in answers:
        if name not in known:
            raise AnswerError(
                _("There is no question %(name)s here: the questions are %(options)s.")
                % {"name": repr(name), "options": ", ".join(known) or "–"}
            )
    subject = Subject(responses, tuple(texts) if texts is not None else None)
    asked = asked_now(known.values(), answers)
    checked = {}
    for name, question in known.items():
        answer = answers.get(name)
        if answer is None:
            if question.required and name in asked:
                raise AnswerError(_("“%(title)s” still needs an answer.") % {"title": question.title})
            continue
        if name not in asked:
            raise AnswerError(
                _("“%(title)s” is not asked after these answers: leave its answer out.") % {"title": question.title}
            )
        checked[name] = check_answer(question, answer, subject)
    return checked
