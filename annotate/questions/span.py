"""Span: passages of a response's text, each with a tag.

Offsets are in characters (Unicode code points) of the response's last assistant message as it was written;
`text` is that slice of it.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import AnswerError, Asked, Kind, QuestionError, Subject, check_names, words

MOST = 200  # passages in one answer
FIELDS = ("response", "start", "end")


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`tags`: what a passage may be marked as."""
    check_names(config, "tags")
    tags = words(config, "tags", 20, 40)
    if not tags:
        raise QuestionError("tags is empty: give at least one, for example “evidence”.")
    if any("[" in tag or "]" in tag for tag in tags):
        raise QuestionError("A tag has a bracket in it: leave out [ and ].")
    return {"tags": tags}


def answer_of(question: Asked, answer: Any, subject: Subject) -> list[dict[str, Any]]:
    """The passages by response and place, each once."""
    if not isinstance(answer, list | tuple) or len(answer) > MOST:
        raise AnswerError(
            _("“%(title)s”: give a list of at most %(most)s passages.") % {"title": question.title, "most": MOST}
        )
    if question.required and not answer:
        raise AnswerError(
            _("“%(title)s” still needs an answer: mark at least one passage.") % {"title": question.title}
        )
    passages = {
        tuple(passage.values()): passage for passage in (passage_of(question, each, subject) for each in answer)
    }
    return sorted(passages.values(), key=lambda passage: (passage["response"], passage["start"], passage["end"]))


def passage_of(question: Asked, given: Any, subject: Subject) -> dict[str, Any]:
    """One passage; its text is read from the response where that is known, else it must be as long as it says."""
    if not isinstance(given, Mapping) or any(type(given.get(field)) is not int for field in FIELDS):
        raise AnswerError(
            _("“%(title)s”: give each passage as response, start, end, text and tag.") % {"title": question.title}
        )
    response, start, end = (given[field] for field in FIELDS)
    if not 0 <= response < subject.responses:
        raise AnswerError(
            _("“%(title)s”: there is no response %(response)s: use 0 to %(last)s.")
            % {"title": question.title, "response": response, "last": subject.responses - 1}
        )
    tags = question.config.get("tags", [])
    if given.get("tag") not in tags:
        raise AnswerError(
            _("“%(title)s”: the tag is %(tag)s: use one of %(tags)s.")
            % {"title": question.title, "tag": repr(given.get("tag")), "tags": ", ".join(tags)}
        )
    text = given.get("text", "") if subject.texts is None else subject.texts[response][max(start, 0) : end]
    if not 0 <= start < end or len(text) != end - start:
        raise AnswerError(
            _("“%(title)s”: %(start)s to %(end)s is not a passage of the response's text.")
            % {"title": question.title, "start": start, "end": end}
        )
    if given.get("text", text) != text:
        raise AnswerError(
            _("“%(title)s”: the text from %(start)s to %(end)s is %(text)s: correct the offsets.")
            % {"title": question.title, "start": start, "end": end, "text": repr(text[:60])}
        )
    return {"response": response, "start": start, "end": end, "text": text, "tag": given["tag"]}


KIND = Kind("span", config_of, answer_of, reads_texts=True)
