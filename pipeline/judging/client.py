"""Asks OpenAI-compatible endpoints over HTTP.

Through httpx2, which is what the openai package talks through: the protocol is one POST, and without the package a
request takes half the CPU (0.75 instead of 1.6 ms, measured), which is what a judge's own work has to fit into.
Retries are not its business here: each request is reserved, paid and recorded by itself (`rounds.py`). Requests run on
one event loop in a thread of its own, so that many can be under way, each with a time-out for the whole of it, while
the caller's thread keeps the database to itself.
"""

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

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

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.PoolTimeout)
MOST_SENTENCE = 300  # characters kept of a complaint
BYTES_A_REPLY, BYTES_A_TOKEN = 1 << 20, 4096  # the longest reply taken: a token with its candidates takes about 1,000
MOST_BYTES = 1 << 25
T = TypeVar("T")


class Endpoint:
    """An open connection: `with Endpoint() as endpoint: endpoint.ask(address, …).result()`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="judge endpoint", daemon=True)
        self.clients: dict[bool, httpx2.AsyncClient] = {}  # by whether they speak TLS

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.disconnect()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Do this on the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def client(self, address: Address) -> httpx2.AsyncClient:
        """The client for an address, made when it is first needed.

        Reading the certificates takes longer than a request, so one that speaks no TLS does without. No redirect is
        followed: an item's text goes nowhere but to the address that a person has entered. Replies are asked for as
        they are, since a small one that is compressed can hide an enormous one.
        """
        secure = address.base_url.startswith("https:")
        if secure not in self.clients:
            unlimited = httpx2.Limits(max_connections=None, max_keepalive_connections=256)
            self.clients[secure] = httpx2.AsyncClient(
                limits=unlimited,
                timeout=None,
                follow_redirects=False,
                verify=secure,
                headers={"accept-encoding": "identity"},
            )
        return self.clients[secure]

    async def disconnect(self) -> None:
        """Give up what is under way, and close."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for client in self.clients.values():
            await client.aclose()

    def ask(
        self, address: Address, messages: Sequence[Mapping[str, str]], dialect: Mapping[str, Any], **sampling: Any
    ) -> "Future[Reply]":
        """Send one request; the future holds a Reply or raises Trouble. `sampling` is of `exchange.request`."""
        return self.run(self.ask_now(address, messages, dialect, **sampling))

    async def ask_now(
        self, address: Address, messages: Sequence[Mapping[str, str]], dialect: Mapping[str, Any], **sampling: Any
    ) -> Reply:
        """The same on the event loop itself."""
        return await self.send(address, request(address, messages, dialect, **sampling))

    async def send(self, address: Address, body: dict[str, Any]) -> Reply:
        """One exchange. Raises Trouble."""
        begin = time.monotonic()
        keys = {"authorization": f"Bearer {address.key}"} if address.key else {}
        most = min(BYTES_A_REPLY + BYTES_A_TOKEN * address.max_tokens, MOST_BYTES)
        try:
            async with asyncio.timeout(address.timeout):
                url = f"{address.base_url}/chat/completions"
                async with self.client(address).stream("POST", url, json=body, headers=keys) as response:
                    whole = await body_of(response, most)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise unanswered(error, address) from None
        text = without_key(whole.decode("utf-8", "replace"), address.key)
        if not response.is_success:
            raise trouble_of(response.status_code, text, response.headers, body)
        return read_reply(text, time.monotonic() - begin)


async def body_of(response: httpx2.Response, most: int) -> bytes:
    """The bytes of a reply. Raises Trouble where there are more than `most`."""
    found = bytearray()
    async for part in response.aiter_bytes():
        found += part
        if len(found) > most:
            sentence = f"The answer is longer than {most >> 20} MB, and no reply of this length was asked for."
            raise Trouble(DOWN, sentence, maybe_charged=True)
    return bytes(found)


def unanswered(error: Exception, address: Address) -> Trouble:
    """No reply came: nobody there (costs nothing), or lost on the way (may have been paid)."""
    if isinstance(error, (*NEVER_SENT, httpx2.InvalidURL)):
        return Trouble(DOWN, f"Nobody answers at {address.base_url} ({error}).")
    if isinstance(error, TimeoutError):
        return Trouble(DOWN, f"No answer within {address.timeout:g} s.", maybe_charged=True)
    return Trouble(DOWN, f"The answer broke off ({error or type(error).__name__}).", maybe_charged=True)


def without_key(text: str, key: str) -> str:
    """Some endpoints repeat the key in what they say: it must not get into the database or onto a page."""
    return text.replace(key, "•••") if key else text


# What stands before a model says these when the model's reply got lost behind it: it may have been paid.
GATEWAYS = (502, 504, *range(520, 528))


def trouble_of(status: int, text: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Trouble:
    """What a status that is no success means for this request and for the next."""
    said, whole, wait = error_in(text), kept(text), retry_after(headers)
    sentence = f"The endpoint says {status}: {complaint(said, text)}"
    if status == 429 and "insufficient_quota" in whole:
        return Trouble(REFUSED, f"{sentence} Fill up the account, then go on.", body=whole)
    if status == 429 or (status == 503 and wait is not None):
        return Trouble(BUSY, sentence, retry_after=wait, body=whole)
    if status >= 500 or status in (408, 409, 425):
        return Trouble(DOWN, sentence, retry_after=wait, maybe_charged=status in GATEWAYS, body=whole)
    if status == 402:
        return Trouble(REFUSED, f"{sentence} Fill up the account, then go on.", body=whole)
    if status < 400 and headers.get("location"):
        where = storable(headers["location"])[:MOST_SENTENCE]
        sentence = f"The endpoint sends us on to {where}. If you trust that address, enter it in the judge's settings."
        return Trouble(REFUSED, sentence, body=whole)
    if status < 400 or status in (401, 403, 404, 405):
        return Trouble(REFUSED, f"{sentence} Check URL, key and model in the judge's settings.", body=whole)
    change = other_dialect(said, complaint(said, text), body)
    return Trouble(DIALECT if change else REJECTED, sentence, dialect=change, body=whole)


def error_in(text: str) -> dict[str, Any]:
    """The error object of a reply by the protocol's schema; empty where it has none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    said = data.get("error", data) if isinstance(data, dict) else None
    return said if isinstance(said, dict) else {}


def complaint(said: Mapping[str, Any], whole: str) -> str:
    """What the endpoint says about it, as one short sentence."""
    text = " ".join(str(said.get("message") or whole or "no reason given").split())
    return storable(text if len(text) <= MOST_SENTENCE else text[:MOST_SENTENCE] + "…")


def other_dialect(said: Mapping[str, Any], sentence: str, body: Mapping[str, Any]) -> dict[str, str | None]:
    """The one parameter that the endpoint complains about, if we can do without it or call it otherwise."""
    named = said.get("param")
    complained = named if isinstance(named, str) else sentence
    for name, otherwise in DIALECTS.items():
        if name in body and name in complained:
            return {name: otherwise}
    return {}
