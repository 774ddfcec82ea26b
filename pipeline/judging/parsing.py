"""A judge's reply by schema: a verdict that was given in exactly the form asked for, or none.

Nothing is guessed. A reply that only mentions a letter, gives two verdicts or is cut short is unparsable, because a
wrong annotation costs more than a missing one.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n\s*```\Z", re.DOTALL)
VERDICT_STARTS = re.compile(r'"verdict"\s*:\s*"')
SPELLED = re.compile(r'["\s,}]')  # what ends a verdict or a rating
RATING_STARTS = re.compile(r'"rating"\s*:\s*(?=\d)')
ROUNDING = 0.01
MOST_REASON = 2000  # characters kept


class Unparsable(Exception):
    """A reply holds no verdict in the form asked for; the message says what is wrong with it."""


@dataclass(frozen=True)
class Verdict:
    verdict: str
    reason: str


def parse(text: str, allowed: Sequence[str]) -> Verdict:
    """The verdict in a reply: one JSON object with `verdict` and perhaps `reason`, and nothing besides.

    Raises Unparsable.
    """
    found = fields_of(text, needed=("verdict",), others=("reason",))
    return Verdict(one_of(found, "verdict", allowed), text_in(found, "reason"))


def fields_of(text: str, needed: Sequence[str], others: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a reply that is one JSON object with these, each once, and no other.

    Tolerated around it: a leading <think> block of models that think aloud, one Markdown code fence, white space.
    Raises Unparsable.
    """
    body = THINKING.sub("", text).strip()
    fenced = FENCED.match(body)
    try:
        found = json.loads(fenced.group(1) if fenced else body, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise Unparsable(f"The reply is not one JSON object ({error}).") from None
    if not isinstance(found, dict) or not set(needed) <= set(found) <= {*needed, *others}:
        words = " and ".join(f"“{name}”" for name in (*needed, *others))
        raise Unparsable(f"The reply must be an object with {words} only.")
    return found


def one_of(found: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    """A field that must be one of these values. Raises Unparsable."""
    if found[name] not in allowed:
        raise Unparsable(f"The {name} is {found[name]!r:.80} and must be one of {', '.join(allowed)}.")
    return str(found[name])


def text_in(found: Mapping[str, Any], name: str, longest: int = MOST_REASON) -> str:
    """A field that must be text, empty where it is missing. Raises Unparsable."""
    said = found.get(name, "")
    if not isinstance(said, str):
        raise Unparsable(f"The {name} must be text.")
    return said.strip()[:longest]


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand there once each: two verdicts in one object are no verdict."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands there twice")
    return made


def verdict_logprobs(tokens: Sequence[Any], allowed: Sequence[str], reply: str) -> dict[str, float]:
    """Log-probability (nats) of each verdict, or rating, where the reply gives it, as far as the endpoint tells.

    `tokens` is `choices[0].logprobs.content` of the protocol: {"token", "logprob", "top_logprobs": […]} each. Empty
    where they are not told, do not have this form, are no probabilities, or are of another verdict than the `reply`'s.
    """
    readable = [token for token in tokens if is_candidate(token)]
    text = "".join(token["token"] for token in readable)
    opening = RATING_STARTS if allowed[0].isdigit() else VERDICT_STARTS
    starts = [found.end() for found in opening.finditer(text)]
    said = [SPELLED.split(reply[found.end() :], maxsplit=1)[0] for found in opening.finditer(reply)]
    if len(readable) < len(tokens) or not starts or not said:
        return {}
    begin = 0
    for token in readable:
        end = begin + len(token["token"])
        if end > starts[-1]:
            lead = token["token"][: starts[-1] - begin]
            return collected(token, lead, allowed) if named(token["token"], lead, allowed) == said[-1] else {}
        begin = end
    return {}


def collected(token: Mapping[str, Any], lead: str, allowed: Sequence[str]) -> dict[str, float]:
    """The candidates at one place by verdict; `lead` is what the token holds before the verdict begins (` "`)."""
    others = token.get("top_logprobs")
    candidates = others if isinstance(others, list) and others else [token]
    if not all(is_candidate(candidate) for candidate in candidates):
        return {}
    found: dict[str, float] = {}
    for candidate in candidates:
        verdict = named(candidate["token"], lead, allowed)
        if verdict:
            found[verdict] = found.get(verdict, 0.0) + math.exp(candidate["logprob"])
    if sum(found.values()) > 1 + ROUNDING:
        return {}
    return {verdict: math.log(share) for verdict, share in found.items() if share > 0}


def named(token: str, lead: str, allowed: Sequence[str]) -> str | None:
    """The one verdict that a token spells or begins to spell: `A"` → A, `ti` → tie."""
    if not token.startswith(lead):
        return None
    spelled = SPELLED.split(token[len(lead) :], maxsplit=1)[0]
    fitting = [verdict for verdict in allowed if spelled and verdict.startswith(spelled)]
    return fitting[0] if len(fitting) == 1 else None


def is_candidate(value: Any) -> bool:
    """A token with a log-probability: a number of at most 0, as far as rounding goes."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("token"), str)
        and isinstance(value.get("logprob"), int | float)
        and value["logprob"] <= ROUNDING
    )


def confidence(logprobs: Mapping[str, float], verdict: str) -> float | None:
    """The verdict's probability among the verdicts whose log-probability is known; None where its own is not."""
    return shares(logprobs)[verdict] if verdict in logprobs else None


def shares(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Probabilities that add up to 1, of values whose log-probabilities (nats) are known."""
    top = max(logprobs.values(), default=0.0)
    weights = {name: math.exp(value - top) for name, value in logprobs.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}
