"""Asks an OpenAI-compatible endpoint through the openai package.

Retries are not its business here: each request is reserved, paid and recorded by itself (`calls.py`). Requests run on
one event loop in a thread of its own, so that many can be under way, each with a time-out for the whole of it, while
the caller's thread keeps the database to itself. The package takes a second to import, so import this module where
somebody is about to be asked.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import httpx2  # what the openai package talks through
import openai

from pipeline.judging.exchange import (
    BUSY,
    DIALECT,
    DIALECTS,
    DOWN,
    REFUSED,
    REJECTED,
    Address,
    Reply,
    Trouble,
    kept,
    read_reply,
    request,
    retry_after,
)
from pipeline.runs import storable

NO_KEY = "none"  # the openai package insists on a key; servers that need none ignore it
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)
MOST_SENTENCE = 300  # characters kept of a complaint


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
