"""Passages on the page: one line each in one field, `A [tag] 12-40`, which the script writes from what is marked.

Who has no script writes `A [tag] "the words"`, and the first place where the answer says so is meant. The numbers
are offsets in the source text of the answer that stands there.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Question
from annotate.presenting.fields import Form, Shown, field_name
from annotate.presenting.page import LETTERS
from annotate.questions import AnswerError
from annotate.questions.aligning import align, runs_as_text, text_of_html
from annotate.questions.span import MOST
from annotate.rendering import to_html

LONGEST = MOST * 120  # characters
LINE = re.compile(r'([A-Za-z])\s*\[([^\[\]]+)\]\s*(?:(\d{1,7})\s*-\s*(\d{1,7})|["“”](.+?)["“”]?)\s*')


def control(question: Question, shown: Shown, form: Mapping[str, str]) -> dict[str, Any]:
    name = field_name(question)
    tags = [{"word": tag, "key": str(number)} for number, tag in enumerate(question.config["tags"][:9], start=1)]
    tags += [{"word": tag, "key": ""} for tag in question.config["tags"][9:]]
    texts = [text_map(shown.text(place), LETTERS[place]) for place in range(shown.places)]
    return {"name": name, "tags": tags, "lines": form.get(name, ""), "longest": LONGEST, "texts": texts}


def text_map(source: str, letter: str) -> dict[str, Any]:
    """How the text on the page lies on its source: the script marks the one and writes offsets of the other."""
    rendered = text_of_html(to_html(source))
    return {
        "letter": letter,
        "length": len(rendered),
        "source": len(source),
        "runs": runs_as_text(align(rendered, source)),
    }


def longest(_question: Question, places: tuple[int, ...], _count: int) -> int:
    return 0 if places else LONGEST


def answer(question: Question, shown: Shown, form: Mapping[str, str]) -> list[dict[str, Any]] | None:
    lines = [line for line in form.get(field_name(question), "").splitlines() if line.strip()]
    return [passage_in(line.strip(), question, shown) for line in lines] or None


def passage_in(line: str, question: Question, shown: Shown) -> dict[str, Any]:
    found = LINE.fullmatch(line)
    place = LETTERS.find(found[1].upper()) if found else -1
    if not found or not 0 <= place < shown.places:
        raise AnswerError(
            _('“%(title)s”: %(line)s cannot be read: write it as A [tag] "words".')
            % {"title": question.title, "line": repr(line[:60])}
        )
    text = shown.text(place)
    start, end = (int(found[3]), int(found[4])) if found[3] else quoted(found[5], text)
    if not 0 <= start < end <= len(text):
        raise AnswerError(
            _("“%(title)s”: %(line)s is not in the answer: quote it as it was written.")
            % {"title": question.title, "line": repr(line[:60])}
        )
    return {
        "response": shown.order[place],
        "start": start,
        "end": end,
        "text": text[start:end],
        "tag": found[2].strip(),
    }


def quoted(words: str, text: str) -> tuple[int, int]:
    """Where a text says these words first, whatever white space is between them; (-1, -1) where it does not."""
    found = re.search(r"\s+".join(map(re.escape, words.split())), text)
    return found.span() if found else (-1, -1)


def fill(question: Question, answer: Any, shown: Shown) -> Form:
    place_of = {position: place for place, position in enumerate(shown.order)}
    lines = [
        f"{LETTERS[place_of[passage['response']]]} [{passage['tag']}] {passage['start']}-{passage['end']}"
        for passage in answer
    ]
    return {field_name(question): "\n".join(lines)} if lines else {}


def lacks(question: Question, shown: Shown, form: Mapping[str, str]) -> str:
    if form.get(field_name(question), "").strip():
        return ""
    return _("“%(title)s” still needs an answer: mark at least one passage.") % {"title": question.title}
