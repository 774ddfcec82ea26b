"""Responses that are none, before a judge sees them: empty, one symbol, a bare opener (routing.md §3.7). Pure.

A judge can be fooled by a reply without content. A pair that holds one is never decided by a judge alone.
"""

import re
from collections.abc import Sequence

# Scripts that are written without spaces between words: each character counts as a word.
UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
WORD = re.compile(rf"{UNSPACED}|\w+")
OPENERS = re.compile(
    r"""\A\W*(?:
        (?:my\s+)?thought\s+process | (?:my\s+)?reasoning | (?:the\s+)?(?:final\s+)?(?:answer|solution) | analysis
      | explanation | response | sure | certainly | of\s+course | great\s+question | okay | ok
      | let(?:['’]?s|\s+us|\s+me)\s+(?:think|solve|work|go|look|start|begin|break|analy[sz]e|reason)
        (?:\s+(?:about|through|at|on|over))?(?:\s+(?:this|it|that|the\s+(?:problem|question)))?(?:\s+(?:out|down|through))?
        (?:\s+(?:step\s+by\s+step|carefully|together|first))?
      | step\s+(?:1|one|by\s+step) | here\s+(?:is|are)\s+(?:the|my|an?)\s+(?:answer|solution|response)
      | first\s+of\s+all | to\s+(?:answer|solve)\s+(?:this|the)\s+(?:question|problem)
    )\W*\Z""",
    re.IGNORECASE | re.VERBOSE,
)
EMPTY, SYMBOLS, OPENER, ONE_WORD = "empty", "symbols", "opener", "one word"


def flaw(text: str) -> str:
    """What is wrong with a response: empty, only symbols, a bare opener, one word; "" for nothing."""
    if not text.strip():
        return EMPTY
    words = WORD.findall(text)
    if not words:
        return SYMBOLS
    if OPENERS.match(text):
        return OPENER
    return ONE_WORD if len(words) < 2 else ""


def flaws(texts: Sequence[str]) -> list[str]:
    """The flaw of each response of an item. Where all of them are one word, the question asks for one: no flaw."""
    found = [flaw(text) for text in texts]
    return ["" for _ in found] if set(found) == {ONE_WORD} else found
