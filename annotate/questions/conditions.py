"""Conditions: a question that is asked only where another one has a certain answer.

`question.config["when"] = {"question": name, "is": [values]}`: asked where the answer to `name` is one of the
values: the choice of a preference, or one of the values chosen of a choice.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from annotate.questions.asking import Asked, QuestionError
from annotate.questions.preference import CHOICES

DECIDING = ("preference", "choice")  # kinds that a condition may look at


def when_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The condition in a question's settings, in one form; None where it is always asked."""
    when = config.get("when")
    if when is None or when == {}:
        return None
    if not isinstance(when, Mapping) or set(when) != {"question", "is"} or not isinstance(when["question"], str):
        raise QuestionError(f'when is {str(when)[:60]!r}: write {{"question": name, "is": [values]}}.')
    values = when["is"]
    if not isinstance(values, list | tuple) or not values or not all(isinstance(value, str) for value in values):
        raise QuestionError(f"when names no values of {when['question']!r}: list at least one under “is”.")
    return {"question": when["question"], "is": list(dict.fromkeys(values))}


def check_together(questions: Sequence[Asked]) -> None:
    """Do these questions fit together: names, and conditions that can come true. Raises QuestionError."""
    check_names_apart([question.name for question in questions])
    known = {question.name: question for question in questions}
    for question in questions:
        check_condition(question, known)
    for question in questions:
        check_no_circle(question, known)


def check_names_apart(names: Sequence[str]) -> None:
    """No name twice, and none that is another's with a number: their fields on the page would be the same."""
    for name in names:
        if names.count(name) > 1:
            raise QuestionError(f"Two questions are called {name!r}: give each its own name.")
        if any(re.match(re.escape(other) + r"-\d", name) for other in names):
            raise QuestionError(f"The name {name!r} is another question's with a number: choose a different name.")


def check_condition(question: Asked, known: Mapping[str, Asked]) -> None:
    when = question.config.get("when")
    if when is None:
        return
    deciding = known.get(when["question"])
    if deciding is None:
        others = ", ".join(name for name in known if name != question.name) or "none"
        raise QuestionError(
            f"“{question.title}” depends on {when['question']!r}, which is not asked: the others are {others}."
        )
    possible = values_of(deciding)
    if not possible:
        raise QuestionError(
            f"“{question.title}” depends on “{deciding.title}”, which is neither a preference nor a choice: "
            "choose one that is."
        )
    for value in when["is"]:
        if value not in possible:
            raise QuestionError(
                f"“{question.title}” waits for {value!r}, which “{deciding.title}” never is: "
                f"use {', '.join(possible)}."
            )


def values_of(question: Asked) -> list[str]:
    """The values that a condition may wait for."""
    if question.kind == "choice":
        return [option["value"] for option in question.config["options"]]
    if question.kind != "preference":
        return []
    outs = {"tie": True, "both_bad": True, "unsure": False}
    return [choice for choice in CHOICES[:-1] if question.config.get(choice, outs.get(choice, True))]


def check_no_circle(question: Asked, known: Mapping[str, Asked]) -> None:
    seen = [question.name]
    while (when := known[seen[-1]].config.get("when")) is not None:
        if when["question"] in seen:
            raise QuestionError(f"“{question.title}” depends on itself ({' → '.join(seen)}): take a condition away.")
        seen.append(when["question"])


def asked_now(questions: Iterable[Asked], answers: Mapping[str, Any]) -> list[str]:
    """The names of those that are asked, given the answers so far.

    A condition on a question that is not among these is met: whoever left it out knows why.
    """
    known = {question.name: question for question in questions}
    return [name for name in known if is_asked(name, known, answers)]


def is_asked(name: str, known: Mapping[str, Asked], answers: Mapping[str, Any]) -> bool:
    """A question whose deciding question is itself not asked is not asked either."""
    when = known[name].config.get("when")
    if when is None or when["question"] not in known:
        return True
    return is_asked(when["question"], known, answers) and is_met(when, answers.get(when["question"]))


def is_met(when: Mapping[str, Any], answer: Any) -> bool:
    if isinstance(answer, Mapping):
        return answer.get("choice") in when["is"]
    return isinstance(answer, list | tuple) and any(value in when["is"] for value in answer)
