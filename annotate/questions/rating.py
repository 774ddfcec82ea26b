"""Rating: one number for each response on one criterion, with anchors that say what a number looks like."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import (
    AnswerError,
    Asked,
    Kind,
    QuestionError,
    Subject,
    check_names,
    per_response,
    whole_number,
)


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`min` and `max` of the scale, and `anchors`: what a rating looks like, by rating, for some or all."""
    check_names(config, "min", "max", "anchors")
    low = whole_number(config, "min", 1, 0, 10)
    high = whole_number(config, "max", 5, low + 1, 10)
    anchors = {str(rating): str(text) for rating, text in dict(config.get("anchors", {})).items() if str(text).strip()}
    for rating in anchors:
        if not rating.isdigit() or not low <= int(rating) <= high:
            raise QuestionError(f"There is an anchor for {rating}, but the scale goes from {low} to {high}.")
    return {"min": low, "max": high, "anchors": anchors}


def answer_of(question: Asked, answer: Any, subject: Subject) -> list[float | None]:
    """One number for each response; None where it is not rated, if the question may be left out."""
    low, high = question.config.get("min", 1), question.config.get("max", 5)
    ratings = per_response(question, answer, subject)
    for rating in ratings:
        if rating is None and not question.required:
            continue
        if isinstance(rating, bool) or not isinstance(rating, int | float) or not low <= rating <= high:
            raise AnswerError(
                _("“%(title)s”: %(rating)s is not a rating from %(low)s to %(high)s.")
                % {"title": question.title, "rating": repr(rating), "low": low, "high": high}
            )
    return ratings


KIND = Kind("rating", config_of, answer_of)
