"""Cheap signs of trouble in conversations and traces of agents: they need no label, no judge and no model. Pure.

    sign             points  it fires where
    tool failed      1       a tool's result is an error: a traceback, “error:”, an HTTP 4xx or 5xx, an exit code not 0
    loop             1       an assistant does or says the same three times
    user corrects    1       after an answer a user says that it is wrong, or asks again
    user dislikes    1       a thumbs-down in the conversation, or `feedback` of the metadata is down, bad or negative
    refusal          1       a response refuses
    breaks off       ½       a response ends in the middle: an open code block, `finish_reason` length, mid-sentence
    very long        ½       thirty messages or six thousand words

They stand beside the signs of a wrong judge (`policies/judged.py`) in the triage score. The points follow the rule
score's halves and wholes; they are chosen, not measured. Words are English and German.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from annotate.questions import text_of

POINTS = {
    "a tool call failed": 1.0,
    "the same action again and again": 1.0,
    "a user corrects the assistant": 1.0,
    "a user dislikes it": 1.0,
    "a response refuses": 1.0,
    "a response breaks off": 0.5,
    "a very long trace": 0.5,
}
FAILED, LOOP, CORRECTED, DISLIKED, REFUSED, BROKEN, LONG = POINTS
TIMES, TURNS, WORDS = 3, 30, 6000
LOOKED_AT = 4000  # characters of a tool's result, from its start and from its end
SENTENCE = 400  # characters from which an answer without an end of a sentence has broken off


def any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)


ERRORS = any_of(
    r"Traceback \(most recent",
    r"^[\s*#>\[]*(?:error|failed|failure|fatal)\b(?!\s*[:=]\s*0\b)",
    r"\b\w+(?:Error|Exception)\b\s*[:(]",
    r'"errors?"\s*:(?!\s*(?:null\b|false\b|0\b|""|\[\s*\]|\{\s*\}))',
    r'"(?:success|ok)"\s*:\s*false',
    r"\b(?:exit|status|return)[ _]?code\"?\s*[:=]?\s*(?!0\b|[123]\d\d\b)\d+",
    r"\bHTTP[\s/\d.]*\s[45]\d\d\b",
    r"\b(?:timed out|permission denied|no such file|command not found|connection refused)\b",
)
CORRECTS = any_of(
    r"\A\W*no\b(?! (?:problem|worries|thanks))",
    r"\A\W*(?:wrong|nope|nein|falsch|try again)\b",
    r"\b(?:that|this|it)(?:['’]s| is| was) (?:still )?(?:wrong|incorrect|not (?:right|correct|true|what i))",
    r"\byou(?:['’]re| are) (?:wrong|mistaken)",
    r"\byou (?:forgot|missed|ignored|misunderstood|didn['’]t)",
    r"\bi (?:said|meant|asked (?:for|you))\b",
    r"\bstill (?:not|wrong|broken|doesn['’]t|fails)",
    r"\bdas (?:ist|war) (?:immer noch )?(?:falsch|nicht (?:richtig|was ich))",
    r"\bdas stimmt nicht\b",
    r"\bich (?:meinte|wollte|sagte)\b",
)
DISLIKES = re.compile(r"👎|:thumbsdown:|:-1:")
DOWN = frozenset({"down", "thumbs_down", "thumbs-down", "bad", "negative", "dislike", "-1", "👎"})
FEEDBACK = ("feedback", "user_feedback", "thumbs")
SORRY = (
    r"(?:(?:i['’]?m|i am) (?:really |very )?sorry,? (?:but )?|sorry,? (?:but )?|unfortunately,? |as an ai[\w ]*,? )*"
)
REFUSES = any_of(
    rf"\A\W*{SORRY}i (?:can(?:['’]t|not| not)|won['’]t|will not|am (?:not able|unable)|must decline)",
    rf"\A\W*{SORRY}i['’]m (?:not able|unable)",
    r"\A\W*(?:(?:es )?tut mir leid,? (?:aber )?)?(?:leider )?(?:dabei )?(?:ich kann|kann ich)\b[\w ]{0,40}nicht\b",
)
CALL = re.compile(r"^(Calls `[^`]+`)(?: \([^)]*\))?:\n\n```json\n(.*?)\n```", re.MULTILINE | re.DOTALL)

Messages = Sequence[Mapping[str, Any]]
Responses = Sequence[tuple[Messages, Mapping[str, Any]]]


def signs(prompt: Messages, responses: Responses, facts: Mapping[str, Any]) -> list[str]:
    """The signs of an item, keys of POINTS in their order: `responses` are (messages, metadata), `facts` its own."""
    found = {
        FAILED: any(failed(turn["content"]) for turn in turns_of(prompt, responses, "tool")),
        LOOP: any(repeats([*prompt, *messages]) for messages, _ in responses),
        CORRECTED: any(CORRECTS.search(said[:LOOKED_AT]) for said in afterwards(prompt)),
        DISLIKED: any(DISLIKES.search(said) for said in afterwards(prompt)) or disliked(facts),
        REFUSED: any(REFUSES.match(text_of(messages)[:LOOKED_AT]) for messages, _ in responses),
        BROKEN: any(breaks_off(text_of(messages), own) for messages, own in responses),
        LONG: any(is_long([*prompt, *messages]) for messages, _ in responses),
    }
    return [name for name, fires in found.items() if fires]


def turns_of(prompt: Messages, responses: Responses, role: str) -> list[Mapping[str, Any]]:
    turns = [*prompt, *(turn for messages, _ in responses for turn in messages)]
    return [turn for turn in turns if turn["role"] == role]


def failed(result: str) -> bool:
    """Does a tool's result tell of an error? What is long is looked at from both ends."""
    short = result if len(result) <= 2 * LOOKED_AT else f"{result[:LOOKED_AT]}\n{result[-LOOKED_AT:]}"
    return bool(ERRORS.search(short))


def repeats(turns: Messages) -> bool:
    """Does an assistant call a tool with the same arguments, or say the same, TIMES times?"""
    done: Counter[str] = Counter()
    for turn in turns:
        if turn["role"] == "assistant":
            calls = [f"{name}{given}" for name, given in CALL.findall(turn["content"])]
            done.update(calls or [turn["content"].strip()])
    return any(count >= TIMES for action, count in done.items() if action)


def afterwards(prompt: Messages) -> list[str]:
    """What users say after the first answer of a conversation."""
    first = next((place for place, turn in enumerate(prompt) if turn["role"] == "assistant"), len(prompt))
    return [turn["content"] for turn in prompt[first:] if turn["role"] == "user"]


def disliked(facts: Mapping[str, Any]) -> bool:
    return any(str(facts.get(name, "")).strip().lower() in DOWN for name in FEEDBACK)


def breaks_off(text: str, metadata: Mapping[str, Any]) -> bool:
    """Does a response end in the middle?"""
    if metadata.get("finish_reason") == "length" or text.count("```") % 2:
        return True
    end = text.rstrip()
    return len(end) >= SENTENCE and bool(re.search(r"[\w,;(\-–]\Z", end)) and len(end.splitlines()[-1].split()) > 5


def is_long(turns: Messages) -> bool:
    return len(turns) >= TURNS or sum(turn["content"].count(" ") for turn in turns) >= WORDS
