"""Critique: what is good or bad about an item or each response, in free words, with reasons to pick."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import (
    AnswerError,
    Asked,
    Kind,
    Subject,
    check_names,
    per_response,
    whole_number,
    words,
)

LONGEST = 20_000  # characters of a text
MOST_REASONS, LONGEST_REASON = 20, 80


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`min_characters` of a text; `reasons` to pick; `each`: one critique for each response, else one in all."""
    check_names(config, "min_characters", "reasons", "each")
    return {
        "min_characters": whole_number(config, "min_characters", 0, 0, 5000),
        "reasons": words(config, "reasons", MOST_REASONS, LONGEST_REASON),
        "each": bool(config.get("each", False)),
    }


def answer_of(question: Asked, answer: Any, subject: Subject) -> Any:
    """`{"text", "reasons"}`, or with `each` a list of them; None there for a response that nothing is said about."""
    if not question.config.get("each", False):
        return critique_of(question, answer)
    critiques = per_response(question, answer, subject)
    if question.required and None in critiques:
        raise AnswerError(_("“%(title)s” still needs a critique of each answer.") % {"title": question.title})
    return [None if critique is None else critique_of(question, critique) for critique in critiques]


def critique_of(question: Asked, answer: Any) -> dict[str, Any]:
    """One critique: a text that is long enough, the reasons picked, or both."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("text", ""), str):
        raise AnswerError(_("“%(title)s”: give a text and the reasons picked.") % {"title": question.title})
    text, reasons = answer.get("text", "").strip()[:LONGEST], answer.get("reasons", [])
    offered = question.config.get("reasons", [])
    if not isinstance(reasons, list) or any(reason not in offered for reason in reasons):
        raise AnswerError(
            _("“%(title)s”: pick reasons from %(options)s.")
            % {"title": question.title, "options": ", ".join(offered) or "–"}
        )
    if not text and not reasons:
        raise AnswerError(_("“%(title)s” still needs an answer.") % {"title": question.title})
    least = question.config.get("min_characters", 0)
    if len(text) < least:
        raise AnswerError(
            _("“%(title)s” has %(length)d of at least %(least)d characters: say a little more.")
            % {"title": question.title, "length": len(text), "least": least}
        )
    return {"text": text, "reasons": [reason for reason in offered if reason in reasons]}


KIND = Kind("critique", config_of, answer_of)
