"""One request to an OpenAI-compatible endpoint, and what became of it: a Reply, or a Trouble that says what to do.

The openai package does the talking. Retries are not its business here: each request is reserved, paid and recorded by
itself (`calls.py`). Requests run on one event loop in a thread of its own, so that many can be under way, each with a
time-out for the whole of it, while the caller's thread keeps the database to itself.
"""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx2  # what the openai package talks through
import openai

from pipeline.runs import storable

NO_KEY = "none"  # the openai package insists on a key; servers that need none ignore it
TOP_LOGPROBS = 5  # the most that every server with log-probabilities gives
LONGEST_WAIT = 3600.0  # seconds; an endpoint that asks for more is asked again after an hour
MOST_SENTENCE, MOST_BODY = 300, 100_000  # characters kept of what an endpoint says

# What became of a request that got no usable reply.
BUSY = "busy"  # asked to slow down
DOWN = "down"  # no answer, or an answer that breaks the protocol: try again later
REFUSED = "refused"  # key, model or address are wrong, or the account is empty: a person must act
REJECTED = "rejected"  # this request will not be answered; another one may
DIALECT = "dialect"  # a parameter of ours is not taken here: ask again without it

# What to leave off, or to call otherwise, when an endpoint will not take a parameter.
DIALECTS = {"logprobs": None, "temperature": None, "max_tokens": "max_completion_tokens"}
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)


@dataclass(frozen=True)
class Reply:
    """What the endpoint answered. Token counts are the endpoint's own; None where it does not count."""

    text: str
    finish_reason: str
    logprobs: Sequence[Any]
    tokens_input: int | None
    tokens_output: int | None
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
        tokens: tuple[int, int] | None = None,
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


def request(address: Address, messages: Sequence[Mapping[str, str]], dialect: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request: temperature 0, and the log-probabilities of its tokens, as far as `dialect` allows."""
    wanted: dict[str, Any] = {"temperature": 0, "max_tokens": address.max_tokens, "logprobs": True}
    body: dict[str, Any] = {"model": address.model, "messages": list(messages)}
    for name, value in wanted.items():
        taken = dialect.get(name, name)
        if taken is not None:
            body[taken] = value
    if "logprobs" in body:
        body["top_logprobs"] = TOP_LOGPROBS
    return body


class Endpoint:
    """An open connection to an endpoint: `with Endpoint(address) as endpoint: endpoint.ask(…).result()`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="judge endpoint", daemon=True)
        self.client: openai.AsyncOpenAI | None = None

    def __enter__(self) -> Self:
        self.thread.start()
        self.client = asyncio.run_coroutine_threadsafe(self.connect(), self.loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.disconnect(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def connect(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.address.base_url,
            api_key=self.address.key or NO_KEY,
            timeout=self.address.timeout,
            max_retries=0,
        )

    async def disconnect(self) -> None:
        """Give up what is under way, and close."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self.client is not None:
            await self.client.close()

    def ask(self, messages: Sequence[Mapping[str, str]], dialect: Mapping[str, Any]) -> "Future[Reply]":
        """Send one request; the future holds a Reply or raises Trouble."""
        body = request(self.address, messages, dialect)
        return asyncio.run_coroutine_threadsafe(self.send(body), self.loop)

    async def send(self, body: dict[str, Any]) -> Reply:
        assert self.client is not None
        begin = time.monotonic()
        try:
            async with asyncio.timeout(self.address.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(**body)
        except (TimeoutError, openai.APIConnectionError) as error:
            raise self.unanswered(error) from None
        except openai.APIStatusError as error:
            trouble = trouble_of(error, body)
            trouble.sentence, trouble.body = self.without_key(trouble.sentence), self.without_key(trouble.body)
            raise trouble from None
        return read_reply(self.without_key(raw.http_response.text), time.monotonic() - begin)

    def unanswered(self, error: Exception) -> Trouble:
        """No reply came: nobody there (costs nothing), or lost on the way (may have been paid)."""
        if isinstance(error.__cause__, NEVER_SENT):
            return Trouble(DOWN, f"Nobody answers at {self.address.base_url} ({error.__cause__}).")
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            return Trouble(DOWN, f"No answer within {self.address.timeout:g} s.", maybe_charged=True)
        return Trouble(DOWN, f"The answer broke off ({error.__cause__ or error}).", maybe_charged=True)

    def without_key(self, text: str) -> str:
        """Some endpoints repeat the key in what they say: it must not get into the database or onto a page."""
        return text.replace(self.address.key, "•••") if self.address.key else text


def read_reply(body: str, seconds: float) -> Reply:
    """A reply by the protocol's schema. Raises Trouble, with the tokens it used if it says so."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise broken("its reply is not JSON", body) from None
    tokens = used(data)
    try:
        choice = data["choices"][0]
        text = choice["message"].get("content")
    except (TypeError, KeyError, IndexError, AttributeError):
        raise broken("its reply holds no choices[0].message", body, tokens) from None
    if text is not None and not isinstance(text, str):
        raise broken("the content of its reply is not text", body, tokens)
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    return Reply(
        text=storable(text or ""),
        finish_reason=str(choice.get("finish_reason") or ""),
        logprobs=content if isinstance(content, list) else [],
        tokens_input=tokens[0] if tokens else None,
        tokens_output=tokens[1] if tokens else None,
        seconds=seconds,
        body=kept(body),
    )


def broken(how: str, body: str, tokens: tuple[int, int] | None = None) -> Trouble:
    sentence = f"The endpoint does not keep to the protocol: {how}. Does the URL end in /v1?"
    return Trouble(DOWN, sentence, maybe_charged=tokens is None, tokens=tokens, body=kept(body))


def used(data: Any) -> tuple[int, int] | None:
    """(input, output) tokens as a reply counts them; None where it does not."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**31 for count in counts):
        return counts[0], counts[1]  # type: ignore[return-value]
    return None


def trouble_of(error: openai.APIStatusError, body: Mapping[str, Any]) -> Trouble:
    """What an error status means for this request and for the next."""
    status, said = error.status_code, complaint(error)
    wait = retry_after(error.response.headers)
    text = f"The endpoint says {status}: {said}"
    whole = kept(error.response.text)
    if status == 429 and "insufficient_quota" in whole:
        return Trouble(REFUSED, f"{text} Fill up the account, then go on.", body=whole)
    if status == 429 or (status == 503 and wait is not None):
        return Trouble(BUSY, text, retry_after=wait, body=whole)
    if status >= 500 or status in (408, 409, 425):
        return Trouble(DOWN, text, retry_after=wait, maybe_charged=status == 504, body=whole)
    if status < 400 or status in (401, 403, 404, 405):
        return Trouble(REFUSED, f"{text} Check URL, key and model in the judge's settings.", body=whole)
    change = other_dialect(error, body)
    return Trouble(DIALECT if change else REJECTED, text, dialect=change, body=whole)


def complaint(error: openai.APIStatusError) -> str:
    """What the endpoint says about it, as one short sentence."""
    said = error.body.get("message") if isinstance(error.body, dict) else None
    text = " ".join(str(said or error.response.text or "no reason given").split())
    return storable(text if len(text) <= MOST_SENTENCE else text[:MOST_SENTENCE] + "…")


def other_dialect(error: openai.APIStatusError, body: Mapping[str, Any]) -> dict[str, str | None]:
    """The one parameter that the endpoint complains about, if we can do without it or call it otherwise."""
    named = error.body.get("param") if isinstance(error.body, dict) else None
    complained = named if isinstance(named, str) else complaint(error)
    for name, otherwise in DIALECTS.items():
        if name in body and name in complained:
            return {name: otherwise}
    return {}


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
