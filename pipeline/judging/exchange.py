"""One exchange with an endpoint: what is sent, a Reply by the protocol's schema, or a Trouble that says what to do.

Nothing here talks to anybody (`client.py` does), so it costs nothing to import.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeGuard

from pipeline.runs import storable

TOP_LOGPROBS = 5  # the most that every server with log-probabilities gives
LONGEST_WAIT = 3600.0  # seconds; an endpoint that asks for more is asked again after an hour
# Ways to end in which a reply is no answer, whatever stands in it.
UNSAID = {
    "content_filter": "The endpoint's filter cut the reply.",
    "refusal": "The model refused to judge.",
    "tool_calls": "The model called a tool that nobody had offered.",
    "function_call": "The model called a function that nobody had offered.",
}
MOST_BODY = 100_000  # characters kept of what an endpoint says

# What became of a request that got no usable reply.
BUSY = "busy"  # asked to slow down
DOWN = "down"  # no answer, or an answer that breaks the protocol: try again later
REFUSED = "refused"  # key, model or address are wrong, or the account is empty: a person must act
REJECTED = "rejected"  # this request will not be answered; another one may
DIALECT = "dialect"  # a parameter of ours is not taken here: ask again without it

# What to leave off, or to call otherwise, when an endpoint will not take a parameter.
DIALECTS = {"logprobs": None, "temperature": None, "max_tokens": "max_completion_tokens"}


class Tokens(NamedTuple):
    """What a request used, as the endpoint counts it. `cached` are those of `read` that it had read before."""

    read: int
    written: int
    cached: int = 0


@dataclass(frozen=True)
class Reply:
    """What the endpoint answered. `tokens` are None where it does not count, or counts what cannot be."""

    text: str
    finish_reason: str
    logprobs: Sequence[Any]
    tokens: Tokens | None
    seconds: float
    body: str


class Trouble(Exception):
    """A request without a usable reply: its kind, a sentence for people, and whether it may cost money.

    `maybe_charged` is True where the request was sent and its cost is not known; `tokens` are what an unusable reply
    says it used.
    """

    def __init__(
        self,
        kind: str,
        sentence: str,
        *,
        retry_after: float | None = None,
        maybe_charged: bool = False,
        tokens: Tokens | None = None,
        dialect: Mapping[str, str | None] | None = None,
        body: str = "",
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.retry_after = retry_after
        self.maybe_charged = maybe_charged
        self.tokens = tokens
        self.dialect = dict(dialect or {})
        self.body = body


@dataclass(frozen=True)
class Address:
    """Where to ask and how: the part of a request that is the same for every item."""

    base_url: str
    key: str
    model: str
    max_tokens: int
    timeout: float  # seconds for one whole request


def request(
    address: Address,
    messages: Sequence[Mapping[str, str]],
    dialect: Mapping[str, Any],
    heat: float = 0.0,
    logprobs: bool = True,
) -> dict[str, Any]:
    """The body of a request: temperature `heat`, log-probabilities of its tokens, as far as `dialect` allows."""
    wanted: dict[str, Any] = {"temperature": heat, "max_tokens": address.max_tokens, "logprobs": logprobs or None}
    body: dict[str, Any] = {"model": address.model, "messages": list(messages)}
    for name, value in wanted.items():
        taken = dialect.get(name, name)
        if taken is not None and value is not None:
            body[taken] = value
    if "logprobs" in body:
        body["top_logprobs"] = TOP_LOGPROBS
    return body


def read_reply(body: str, seconds: float) -> Reply:
    """A reply by the protocol's schema. Raises Trouble, with the tokens it used if it says so."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise broken("its reply is not JSON", body) from None
    tokens = used(data)
    try:
        choice, *others = data["choices"]
        message = choice["message"]
        text, refusal = text_of(message.get("content")), message.get("refusal")
    except (TypeError, KeyError, ValueError, AttributeError):
        raise without_choices(data, body, tokens) from None
    if others:
        raise broken("it gives several answers to one question", body, tokens)
    if text is None:
        raise broken("the content of its reply is not text", body, tokens)
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    finish = "refusal" if refusal else "tool_calls" if message.get("tool_calls") else choice.get("finish_reason")
    return Reply(
        text=storable(text or (refusal if isinstance(refusal, str) else "")),
        finish_reason=str(finish or ""),
        logprobs=content if isinstance(content, list) else [],
        tokens=tokens,
        seconds=seconds,
        body=kept(body),
    )


def text_of(content: Any) -> str | None:
    """A message's content as text: a text, nothing, or a list of parts that are all text. None for anything else."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    said = [text for text in texts if isinstance(text, str)]
    return "".join(said) if len(said) == len(parts) else None


def without_choices(data: Any, body: str, tokens: Tokens | None) -> Trouble:
    """A reply without an answer: some endpoints say with it that all is well, and tell an error."""
    said = data.get("error") if isinstance(data, dict) else None
    if not said:
        return broken("its reply holds no choices[0].message", body, tokens)
    words = str(said.get("message") or said) if isinstance(said, dict) else str(said)
    sentence = f"The endpoint says: {storable(words)[:300]}"
    return Trouble(DOWN, sentence, maybe_charged=tokens is None, tokens=tokens, body=kept(body))


def broken(how: str, body: str, tokens: Tokens | None = None) -> Trouble:
    sentence = f"The endpoint does not keep to the protocol: {how}. Does the URL end in /v1?"
    return Trouble(DOWN, sentence, maybe_charged=tokens is None, tokens=tokens, body=kept(body))


def used(data: Any) -> Tokens | None:
    """Tokens as a reply counts them; None where it does not."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not is_count(read) or not is_count(written):
        return None
    told = usage.get("prompt_tokens_details")
    cached = told.get("cached_tokens", 0) if isinstance(told, dict) else 0
    return Tokens(read, written, cached if is_count(cached) and cached <= read else 0)


def is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait: Retry-After as a number or a date; None where it does not ask."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), LONGEST_WAIT) if seconds == seconds else None  # NaN is no number of seconds


def kept(body: str) -> str:
    """As much of a body as is shown and stored."""
    return storable(body[:MOST_BODY])
