"""Step: a response split into steps, each good, neutral, bad or not judged (None)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import AnswerError, Asked, Kind, QuestionError, Subject, check_names, per_response

GOOD, NEUTRAL, BAD = MARKS = ("good", "neutral", "bad")
SPLITS = ("paragraph", "line", "sentence")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
BLANK = re.compile(r"\n[ \t]*\n")
# The end of a sentence: its mark, perhaps a closing quote or bracket, then space and no small letter; or an East
# Asian mark, which no space follows. “e.g. this” and “3.5” do not end there.
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])\s*")  # noqa: RUF001 - these are meant
NOT_AN_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|cf|No|Fig|Eq)|\b[A-Z]|^\s*\d+)\.$", re.MULTILINE)


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`split`: what a step is."""
    check_names(config, "split")
    split = config.get("split", "paragraph")
    if split not in SPLITS:
        raise QuestionError(f"split is {str(split)[:40]!r}: use one of {', '.join(SPLITS)}.")
    return {"split": split}


def steps_of(text: str, split: str) -> list[str]:
    """The steps of a text, always the same for the same text: no step is blank, a fenced code block is whole."""
    steps: list[str] = []
    for block, is_code in blocks(text.replace("\r\n", "\n")):
        steps += [block] if is_code else parts(block, split)
    return [step.strip("\n") if FENCE.match(step) else step.strip() for step in steps if step.strip()]


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is a fenced code block. A fence that is never closed goes to the end."""
    held: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found = FENCE.match(line)
        if not fence and found:
            yield "\n".join(held), False
            held, fence = [line], found[1]
        elif fence and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            yield "\n".join([*held, line]), True
            held, fence = [], ""
        else:
            held.append(line)
    yield "\n".join(held), bool(fence)


def parts(block: str, split: str) -> list[str]:
    if split == "line":
        return block.split("\n")
    paragraphs = BLANK.split(block)
    return paragraphs if split == "paragraph" else [part for one in paragraphs for part in sentences(one)]


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph; a new line that starts a list entry starts a sentence too."""
    for piece in re.split(r"\n(?=\s*(?:[-*+]|\d+[.)])\s)", paragraph):
        start = 0
        for end in SENTENCE_END.finditer(piece):
            said = piece[start : end.end()]
            if not NOT_AN_END.search(said.rstrip()):
                yield said
                start = end.end()
        yield piece[start:]


def answer_of(question: Asked, answer: Any, subject: Subject) -> list[list[str | None]]:
    """For each response one mark a step; None where it is not judged."""
    marks = per_response(question, answer, subject)
    for place, of_response in enumerate(marks):
        if not isinstance(of_response, list | tuple) or any(mark not in (*MARKS, None) for mark in of_response):
            raise AnswerError(
                _("“%(title)s”: each step is %(marks)s or not judged.")
                % {"title": question.title, "marks": ", ".join(MARKS)}
            )
        if subject.texts is not None:
            check_count(question, len(of_response), subject.texts[place])
        if question.required and of_response and not any(of_response):
            raise AnswerError(_("“%(title)s” still needs a step of each answer judged.") % {"title": question.title})
    return [list(of_response) for of_response in marks]


def check_count(question: Asked, given: int, text: str) -> None:
    there = len(steps_of(text, question.config.get("split", "paragraph")))
    if given != there:
        raise AnswerError(
            _("“%(title)s”: there are %(given)s marks for %(there)s steps: give one a step.")
            % {"title": question.title, "given": given, "there": there}
        )


KIND = Kind("step", config_of, answer_of, reads_texts=True)
