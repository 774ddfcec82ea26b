"""One request for each kind of question: its messages, the form of its reply, and how a reply is read.

A reply is read into an answer as `annotate.questions` checks it, in the order in which the responses were presented;
`plans.py` maps it back to stored order. Whatever does not have the form asked for raises Unparsable.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.questions import text_of
from annotate.questions.step import MARKS, steps_of
from pipeline.judging import parsing, protocol
from pipeline.judging.parsing import Unparsable
from pipeline.judging.protocol import JSON_ONLY, LETTERS, AskedQuestion, Brief, Message, Shown

MOST_REFERENCE = 20_000  # characters kept of a judge's own answer
MOST_PASSAGES = 50
FAILS = ("A", "B", "both", "none")
CUT = "The reply was cut at the longest length that is set for replies. "


@dataclass(frozen=True)
class Form:
    """What is sent, and how what comes back is read. `allowed` are the verdicts or ratings whose log-probabilities
    matter.

    `is_free` is text that looks whole even where it was cut.
    """

    messages: list[dict[str, str]]
    read: Callable[[str], Any]
    allowed: tuple[str, ...] = ()
    is_free: bool = False


@dataclass(frozen=True)
class Verdict:
    """Which of two answers is better, as presented; which of them fail a veto; why."""

    verdict: str
    reason: str
    fails: str = "none"


@dataclass(frozen=True)
class Rating:
    rating: int
    reason: str


# --- Two answers ----------------------------------------------------------------------------------------------
def preference(brief: Brief, shown: Shown, *, critique: bool, question: AskedQuestion | None = None) -> Form:
    """Which is better, all in all, or on the question's own criterion."""
    own = question.config.get("criterion", "") if question else ""
    kind, title = ("criterion" if own else "preference"), question.title if question else brief.title
    allowed = ("A", "B", "tie") if may_tie(brief, question) else ("A", "B")
    criteria = [protocol.Criterion(own, question.description if question else "", (), False)] if own else None
    reply = verdict_reply(allowed, critique)
    messages = protocol.write(brief, kind, shown, reply, f"{title} {JSON_ONLY}", question=question, criteria=criteria)
    return Form(messages, lambda text: read_verdict(text, allowed, critique), allowed)


def may_tie(brief: Brief, question: AskedQuestion | None) -> bool:
    return question.config.get("tie", brief.tie) if question else brief.tie


def criterion(brief: Brief, asked: AskedQuestion, shown: Shown, *, critique: bool) -> Form:
    """Which is better on one criterion of the rubric; a veto also asks which answers fail it."""
    allowed = ("A", "B", "tie")
    messages = protocol.write(
        brief,
        "criterion",
        shown,
        verdict_reply(allowed, critique, fails=asked.is_veto),
        f"Which answer is better on “{asked.title}”? {JSON_ONLY}",
        question=asked,
        criteria=[asked.criterion],
    )
    return Form(messages, lambda text: read_verdict(text, allowed, critique, fails=asked.is_veto), allowed)


def verdict_reply(allowed: Sequence[str], critique: bool, fails: bool = False) -> str:
    """The form of a reply with a verdict. A critique comes first, so that the verdict follows from it."""
    extra = f', "fails": {protocol.spoken(FAILS)}' if fails else ""
    if critique:
        return (
            "One JSON object and nothing else, a critique of both answers in a few sentences, then the verdict:\n"
            f'{{"critique": "…", "verdict": {protocol.spoken(allowed)}{extra}}}'
        )
    if not fails:
        return protocol.REPLIES[protocol.JSON_REPLY].format(verdicts=protocol.spoken(allowed))
    return (
        "One JSON object and nothing else, the verdict first, then which answers fail the criterion outright, then "
        f'the reason in one sentence:\n{{"verdict": {protocol.spoken(allowed)}{extra}, "reason": "…"}}'
    )


def read_verdict(text: str, allowed: Sequence[str], critique: bool, fails: bool = False) -> Verdict:
    needed = [*(["critique"] if critique else []), "verdict", *(["fails"] if fails else [])]
    found = parsing.fields_of(text, needed, () if critique else ("reason",))
    if critique and next(iter(found)) != "critique":
        raise Unparsable("The critique must come before the verdict.")
    verdict = parsing.one_of(found, "verdict", allowed)
    failing = parsing.one_of(found, "fails", FAILS) if fails else "none"
    return Verdict(verdict, parsing.text_in(found, "critique" if critique else "reason"), failing)


# --- One answer -----------------------------------------------------------------------------------------------
def rating(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """One answer on one criterion, as a whole number of its scale."""
    low, high = asked.config.get("min", 1), asked.config.get("max", 5)
    reply = (
        "One JSON object and nothing else, the rating first, then the reason in one sentence:\n"
        f'{{"rating": a whole number from {low} to {high}, "reason": "…"}}'
    )
    closing = f"How good is the answer on “{asked.title}”, from {low} to {high}? {JSON_ONLY}"
    messages = protocol.write(brief, "rating", shown, reply, closing, question=asked, criteria=[asked.criterion])
    scale = tuple(str(value) for value in range(low, high + 1))
    return Form(messages, lambda text: read_rating(text, low, high), scale)


def read_rating(text: str, low: int, high: int) -> Rating:
    found = parsing.fields_of(text, ["rating"], ["reason"])
    value = found["rating"]
    if type(value) is not int or not low <= value <= high:
        raise Unparsable(f"The rating is {value!r:.80} and must be a whole number from {low} to {high}.")
    return Rating(value, parsing.text_in(found, "reason"))


def step(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """A mark for each step of one answer. The steps are counted here, so that marks and steps cannot come apart."""
    _, answer = shown.answers[0]
    steps = steps_of(text_of(answer), asked.config.get("split", "paragraph"))
    numbered = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(steps, 1))
    split = Shown(shown.prompt, [("answer in steps", [{"role": "assistant", "content": numbered}])], shown.extras)
    reply = (
        f"One JSON object and nothing else, with one mark for each of the {len(steps)} steps, in their order:\n"
        f'{{"marks": [{protocol.spoken(MARKS)}, …]}}'
    )
    messages = protocol.write(brief, "step", split, reply, f"{asked.title} {JSON_ONLY}", question=asked)
    return Form(messages, lambda text: read_marks(text, len(steps)))


def read_marks(text: str, count: int) -> list[str]:
    marks = parsing.fields_of(text, ["marks"], ["reason"])["marks"]
    if not isinstance(marks, list) or len(marks) != count or any(mark not in MARKS for mark in marks):
        raise Unparsable(f"The marks must be {count} of {', '.join(MARKS)}, one a step.")
    return marks


def span(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """Passages of one answer, quoted word for word, each with a tag."""
    _, answer = shown.answers[0]
    tags = asked.config.get("tags", [])
    reply = (
        "One JSON object and nothing else. Quote each passage word for word as it stands in the answer; `nth` "
        "says which of several equal passages is meant, from 1:\n"
        f'{{"passages": [{{"quote": "…", "nth": 1, "tag": {protocol.spoken(tags)}}}, …]}}'
    )
    options = "\n".join(f"- {tag}" for tag in tags)
    messages = protocol.write(
        brief, "span", shown, reply, f"{asked.title} {JSON_ONLY}", question=asked, options=options
    )
    return Form(messages, lambda text: read_passages(text, text_of(answer), tags))


def read_passages(text: str, source: str, tags: Sequence[str]) -> list[dict[str, Any]]:
    """Passages with offsets into the response's text. A quote that does not stand there makes all unparsable."""
    passages = parsing.fields_of(text, ["passages"])["passages"]
    if not isinstance(passages, list) or len(passages) > MOST_PASSAGES:
        raise Unparsable(f"The passages must be a list of at most {MOST_PASSAGES}.")
    return [passage_of(passage, source, tags) for passage in passages]


def passage_of(passage: Any, source: str, tags: Sequence[str]) -> dict[str, Any]:
    if not isinstance(passage, Mapping) or not {"quote", "tag"} <= set(passage) <= {"quote", "tag", "nth"}:
        raise Unparsable("Each passage must be an object with “quote”, “tag” and perhaps “nth” only.")
    quote, nth, tag = passage["quote"], passage.get("nth", 1), passage["tag"]
    if not isinstance(quote, str) or not quote or type(nth) is not int or not 1 <= nth <= len(source) + 1:
        raise Unparsable("A quote must be text, and nth a whole number from 1.")
    if tag not in tags:
        raise Unparsable(f"The tag is {tag!r:.80} and must be one of {', '.join(tags)}.")
    presented, start = protocol.harmless(source), -1  # the same length: quotes are of what was presented
    for _ in range(nth):
        start = presented.find(protocol.harmless(quote), start + 1)
        if start < 0:
            raise Unparsable(f"The quote {quote[:60]!r} does not stand in the answer {nth} times.")
    end = start + len(quote)
    return {"start": start, "end": end, "text": source[start:end], "tag": tag}


# --- Several answers ------------------------------------------------------------------------------------------
def ranking(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """A rank for each answer as presented; 1 is the best."""
    letters = LETTERS[: len(shown.answers)]
    ties = asked.config.get("ties", True)
    example = json.dumps(dict(zip(letters, range(1, len(letters) + 1), strict=True)))
    reply = (
        "One JSON object and nothing else, first a rank for each answer (1 is the best; "
        f"{'equally good answers share a rank' if ties else 'no two share a rank'}), then the reason:\n"
        f'{{"ranks": {example}, "reason": "…"}}'
    )
    messages = protocol.write(brief, "ranking", shown, reply, f"{asked.title} {JSON_ONLY}", question=asked)
    return Form(messages, lambda text: read_ranks(text, letters, ties))


def read_ranks(text: str, letters: str, ties: bool) -> list[int]:
    found = parsing.fields_of(text, ["ranks"], ["reason"])
    ranks = found["ranks"]
    if not isinstance(ranks, dict) or set(ranks) != set(letters):
        raise Unparsable(f"The ranks must be an object with {', '.join(letters)} only.")
    values = [ranks[letter] for letter in letters]
    if any(type(value) is not int or not 1 <= value <= len(letters) for value in values):
        raise Unparsable(f"Each rank must be a whole number from 1 to {len(letters)}.")
    if not ties and len(set(values)) < len(values):
        raise Unparsable("No two answers may share a rank.")
    return values


def critique(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """A critique of what is shown: all answers, or one."""
    reasons = asked.config.get("reasons", [])
    picked = f', "reasons": [those that fit, of {", ".join(map(json.dumps, reasons))}]' if reasons else ""
    reply = f'One JSON object and nothing else:\n{{"text": "…"{picked}}}'
    messages = protocol.write(brief, "critique", shown, reply, f"{asked.title} {JSON_ONLY}", question=asked)
    return Form(messages, lambda text: read_critique(text, reasons))


def read_critique(text: str, reasons: Sequence[str]) -> dict[str, Any]:
    found = parsing.fields_of(text, ["text"], ["reasons"])
    said, picked = parsing.text_in(found, "text", MOST_REFERENCE), found.get("reasons", [])
    if not isinstance(picked, list) or any(reason not in reasons for reason in picked):
        raise Unparsable(f"The reasons must be some of {', '.join(reasons) or 'none'}.")
    if not said:
        raise Unparsable("The critique must have a text.")
    return {"text": said, "reasons": picked}


def choice(brief: Brief, asked: AskedQuestion, shown: Shown) -> Form:
    """One or several of the question's options."""
    offered, several = asked.config.get("options", []), asked.config.get("multiple", False)
    values = [option["value"] for option in offered]
    options = "\n".join(f"- {json.dumps(option['value'])}: {option['label']}" for option in offered)
    number = "the values of all that fit" if several else "the value of exactly one"
    reply = f'One JSON object and nothing else, {number}, then the reason:\n{{"values": ["…"], "reason": "…"}}'
    messages = protocol.write(
        brief, "choice", shown, reply, f"{asked.title} {JSON_ONLY}", question=asked, options=options
    )
    return Form(messages, lambda text: read_values(text, values, several))


def read_values(text: str, values: Sequence[str], several: bool) -> list[str]:
    found = parsing.fields_of(text, ["values"], ["reason"])["values"]
    if not isinstance(found, list) or not found or any(value not in values for value in found):
        raise Unparsable(f"The values must be a list of some of {', '.join(values)}.")
    if len(found) > 1 and not several:
        raise Unparsable("Exactly one value must be chosen.")
    return found


# --- Before a verdict -----------------------------------------------------------------------------------------
def reference(brief: Brief, prompt: Sequence[Message]) -> Form:
    """The judge's own answer to the conversation."""
    messages = protocol.write(
        brief, "reference", Shown(prompt), "Your answer itself and nothing else.", "Write your answer."
    )
    return Form(messages, read_reference, is_free=True)


def read_reference(text: str) -> str:
    said = parsing.THINKING.sub("", text).strip()
    if not said:
        raise Unparsable("The judge gave no answer of its own.")
    return said[:MOST_REFERENCE]
