"""A server that speaks the chat protocol and misbehaves in every way it knows, and keeps a ledger of what it bills.

    python -m tests.pipeline.adversary PORT LEDGER [--seed 7] [--trouble 0.5] [--only MODE ...]

Standard library only, bytes straight onto the socket, so that no framework mends what it breaks. Each request is put
into the ledger (one JSON line, written before a byte of the reply leaves) with what it is billed, so a ledger outlives
a server that is killed. `MODES` are its ways; each says whether the model has worked, which is what is billed,
whatever the reply says of usage.

Items are marked: an answer that says “quality 4” is better than one that says “quality 2”. A reply in the form asked
for says the truth; a reply in any other form names the worse answer, so that one read leniently is a wrong annotation.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import random
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

PRICES = {"small": (0.5, 2.0), "dear": (3.0, 12.0)}  # per million tokens read and written, by how the name begins
UNIT = 10**6  # units (10⁻¹² of the currency) a token at a price of 1 per million
BLOCK = re.compile(r"<<<(answer[^>\n]*?) ([0-9a-f]{12})>>>\n(.*?)\n<<<end of \1 \2>>>", re.DOTALL)
QUALITY = re.compile(r"\bquality (\d)\b")
ITEM = re.compile(r"\bITEM-(\d+)\b")
HOME = "127.0.0.1"
OTHER_HOST = "http://127.0.0.2:{port}/v1/chat/completions"


def price(model: str) -> tuple[float, float]:
    return next((of for name, of in PRICES.items() if model.startswith(name)), (1.0, 4.0))


@dataclass
class Asked:
    """One request as the server understands it."""

    body: dict[str, Any]
    raw: bytes
    item: int
    qualities: dict[str, int]  # of each answer as presented
    truth: str  # A, B or tie
    form: str  # the part of the instructions on the reply

    @property
    def read(self) -> int:
        return sum(len(message["content"].split()) for message in self.body["messages"])

    def right(self, verdict: str = "") -> str:
        return self.reply(verdict or self.truth, self.rating)

    def wrong(self) -> str:
        return self.reply({"A": "B", "B": "A"}.get(self.truth, "A"), 6 - self.rating if self.rating != 3 else 5)

    @property
    def rating(self) -> int:
        return next(iter(self.qualities.values()), 3)

    def reply(self, verdict: str, rating: int) -> str:
        if '"rating"' in self.form:
            return json.dumps({"rating": rating, "reason": "It says so."})
        if '"critique"' in self.form:
            return json.dumps({"critique": "One is plainer than the other.", "verdict": verdict})
        if '"verdict"' not in self.form:
            return "An answer of my own."
        return json.dumps({"verdict": verdict, "reason": "It says so."})


def understood(raw: bytes) -> Asked:
    body = json.loads(raw)
    system, user = (next(m["content"] for m in body["messages"] if m["role"] == role) for role in ("system", "user"))
    found = {name: int(QUALITY.search(text)[1]) for name, _, text in BLOCK.findall(user) if QUALITY.search(text)}
    first, second = found.get("answer A", 3), found.get("answer B", 3)
    item = ITEM.search(user)
    return Asked(
        body,
        raw,
        int(item[1]) if item else -1,
        found,
        "A" if first > second else "B" if second > first else "tie",
        system.rpartition("# Your reply")[2],
    )


# --- Replies --------------------------------------------------------------------------------------------------
def completion(asked: Asked, text: Any, *, finish: str = "stop", usage: Any = ..., logprobs: Any = None, **message):
    words = len(str(text or "x").split())
    counted = {"prompt_tokens": asked.read, "completion_tokens": words, "total_tokens": asked.read + words}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.body["model"],
        "system_fingerprint": f"fp_{random.randrange(9)}",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
                "logprobs": logprobs,
            }
        ],
        **({} if usage is None else {"usage": counted if usage is ... else usage}),
    }


def tokens_of(text: str, other: float = 0.1) -> list[dict[str, Any]]:
    """Log-probabilities as the protocol has them, for a reply with a verdict: another one has probability `other`."""
    found = re.search(r'"verdict": "(A|B|tie)', text)
    if not found:
        return []
    verdict = found[1]
    others = {"A": "B", "B": "A", "tie": "A"}[verdict]
    import math

    here = {"token": verdict, "logprob": math.log(1 - other), "bytes": None}
    top = [here | {}, {"token": others, "logprob": math.log(other), "bytes": None}]
    plain = lambda part: {"token": part, "logprob": -0.01, "bytes": None, "top_logprobs": []}  # noqa: E731
    return [plain(text[: found.start(1)]), here | {"top_logprobs": top}, plain(text[found.end(1) :])]


def head(status: str, headers: dict[str, Any]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode()


def whole(data: Any, status: str = "200 OK", **headers: Any) -> bytes:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head(status, {"content-type": "application/json", "content-length": len(body), **named}) + body


def error(status: str, message: str = "no", **headers: Any) -> bytes:
    return whole({"error": {"message": message, "type": "server_error", "code": None}}, status, **headers)


# --- Modes ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Mode:
    """A way to answer: bytes, or a function that writes by itself. `works`: the model has worked, and bills."""

    make: Callable[..., Any]
    works: bool
    weight: float = 1.0
    needs_person: bool = False


MODES: dict[str, Mode] = {}


def mode(works: bool, weight: float = 1.0, needs_person: bool = False):
    def keep(function):
        MODES[function.__name__] = Mode(function, works, weight, needs_person)
        return function

    return keep


@mode(True, 0)
def plain(asked):
    return whole(completion(asked, asked.right()))


@mode(False, 3)
def slow_down_seconds(asked):
    return error("429 Too Many Requests", "slow down", retry_after="1")


@mode(False)
def slow_down_date(asked):
    return error("429 Too Many Requests", "slow down", retry_after=formatdate(time.time() + 2, usegmt=True))


@mode(False)
def slow_down_silently(asked):
    return error("429 Too Many Requests", "slow down")


@mode(False)
def slow_down_zero(asked):
    return error("429 Too Many Requests", "slow down", retry_after="0")


@mode(False)
def slow_down_nonsense(asked):
    return error("429 Too Many Requests", "slow down", retry_after=random.choice(["soon", "-5", "nan", "1e-9", ""]))


@mode(False, 2)
def failing(asked):
    return error("500 Internal Server Error")


@mode(True)
def gateway(asked):
    return whole(b"<html>Bad gateway</html>", "502 Bad Gateway", content_type="text/html")


@mode(True)
def gateway_late(asked):
    return whole(b"", "504 Gateway Timeout")


@mode(False)
def overloaded(asked):
    return error("503 Service Unavailable", "overloaded")


@mode(False)
def overloaded_seconds(asked):
    return error("503 Service Unavailable", "overloaded", retry_after="1")


@mode(True)
async def reset_before(asked, writer):
    reset(writer)


@mode(True)
async def reset_in_head(asked, writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
    await writer.drain()
    reset(writer)


@mode(True)
async def reset_in_body(asked, writer):
    said = whole(completion(asked, asked.right()))
    writer.write(said[: len(said) - 40])
    await writer.drain()
    await asyncio.sleep(0.02)
    reset(writer)


@mode(True)
async def closed_in_body(asked, writer):
    said = whole(completion(asked, asked.right()))
    writer.write(said[: len(said) - 9])
    await writer.drain()
    writer.close()


@mode(True, 0.3)
async def stalled(asked, writer):
    said = whole(completion(asked, asked.right()))
    writer.write(said[: len(said) // 2])
    await writer.drain()
    await asyncio.sleep(60)


@mode(True, 0.2)
async def dripping(asked, writer):
    for byte in whole(completion(asked, asked.right())):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


@mode(True)
async def chunks_cut(asked, writer):
    said = json.dumps(completion(asked, asked.right())).encode()
    half = said[: len(said) // 2]
    writer.write(head("200 OK", {"content-type": "application/json", "transfer-encoding": "chunked"}))
    writer.write(b"%x\r\n%s\r\n" % (len(half), half))
    await writer.drain()
    writer.close()


@mode(True)
async def chunks_whole(asked, writer):
    said = json.dumps(completion(asked, asked.right())).encode()
    writer.write(head("200 OK", {"content-type": "application/json", "transfer-encoding": "chunked"}))
    for start in range(0, len(said), 50):
        part = said[start : start + 50]
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    writer.write(b"0\r\n\r\n")
    await writer.drain()


@mode(True)
async def chunk_garbage(asked, writer):
    writer.write(head("200 OK", {"content-type": "application/json", "transfer-encoding": "chunked"}))
    writer.write(b"zz\r\nnonsense\r\n")
    await writer.drain()


@mode(True)
def gzip_broken(asked):
    return whole(b"\x1f\x8bnot gzip at all", content_encoding="gzip")


@mode(True)
def gzip_whole(asked):
    return whole(gzip.compress(json.dumps(completion(asked, asked.right())).encode()), content_encoding="gzip")


@mode(True, 0.05)
def gzip_bomb(asked):
    return whole(gzip.compress(b" " * 60_000_000), content_encoding="gzip")


@mode(True, 0.05)
def enormous(asked):
    return whole(completion(asked, "A" * 50_000_000))


@mode(False)
def page(asked):
    return whole(b"<html><body>Sign in</body></html>", content_type="text/html")


@mode(False)
def error_with_success(asked):
    return whole({"error": {"message": "the model is loading", "code": 503}})


@mode(True)
def empty(asked):
    return whole(b"")


@mode(True)
def no_content(asked):
    return head("204 No Content", {})


@mode(True)
def nonsense_line(asked):
    return b"SPDY/9 yes\r\n\r\n"


@mode(True)
def not_unicode(asked):
    return whole(json.dumps(completion(asked, asked.wrong())).encode()[:-3] + b"\xff\xfe\xff")


@mode(True)
def two_bytes_a_letter(asked):
    return whole(json.dumps(completion(asked, asked.right())).encode("utf-16"), content_type="text/plain")


@mode(True)
def marked(asked):
    return whole(b"\xef\xbb\xbf" + json.dumps(completion(asked, asked.right())).encode())


@mode(True)
def deep(asked):
    return whole(b"[" * 100_000)


@mode(True)
def long_number(asked):
    return whole(b'{"choices": ' + b"9" * 10_000 + b"}")


@mode(True)
def no_choices(asked):
    return whole(completion(asked, asked.wrong()) | {"choices": []})


@mode(True)
def choices_by_name(asked):
    return whole(completion(asked, asked.wrong()) | {"choices": {"0": {"message": {"content": asked.wrong()}}}})


@mode(True)
def two_choices(asked):
    said = completion(asked, asked.wrong())
    said["choices"].append({"index": 1, "message": {"content": asked.right()}, "finish_reason": "stop"})
    return whole(said)


@mode(True)
def a_list(asked):
    return whole([completion(asked, asked.wrong())])


@mode(True)
def nothing_said(asked):
    return whole(completion(asked, None))


@mode(True)
def in_parts(asked):
    return whole(completion(asked, [{"type": "text", "text": asked.right()}]))


@mode(True)
def parts_of_other_kinds(asked):
    return whole(completion(asked, [{"type": "image_url", "text": asked.wrong()}]))


@mode(True)
def refusing(asked):
    return whole(completion(asked, None, refusal="I will not judge this."))


@mode(True)
def refusing_and_saying(asked):
    return whole(completion(asked, asked.wrong(), refusal="I will not judge this."))


@mode(True)
def cut_short(asked):
    return whole(completion(asked, asked.wrong()[:-4], finish="length"))


@mode(True)
def filtered(asked):
    return whole(completion(asked, asked.wrong(), finish="content_filter"))


@mode(True)
def by_tool(asked):
    call = {"id": "1", "type": "function", "function": {"name": "verdict", "arguments": asked.wrong()}}
    return whole(completion(asked, None, finish="tool_calls", tool_calls=[call]))


@mode(True)
def said_and_called(asked):
    call = {"id": "1", "type": "function", "function": {"name": "verdict", "arguments": asked.right()}}
    return whole(completion(asked, asked.wrong(), finish="tool_calls", tool_calls=[call]))


@mode(True, 2)
def uncounted(asked):
    return whole(completion(asked, asked.right(), usage=None))


@mode(True, 2)
def counted_wrongly(asked):
    usages = [
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": 2**31 - 1, "completion_tokens": 2**31 - 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": "120", "completion_tokens": "7"},
        {"prompt_tokens": 12.5, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": False},
        {"completion_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": None},
        [], "many", 7, {},
    ]  # fmt: skip
    return whole(completion(asked, asked.right(), usage=random.choice(usages)))


@mode(True)
def with_probabilities(asked):
    return whole(completion(asked, asked.right(), logprobs={"content": tokens_of(asked.right())}))


@mode(True, 2)
def odd_probabilities(asked):
    told = tokens_of(asked.right()) or [{}]
    odd = [
        None, [], "yes", {"content": None}, {"content": "A"}, {"content": [None, 3, "x"]}, {"content": {}},
        {"content": [told[0] | {"logprob": float("nan")}]},
        {"content": [{"token": asked.right(), "logprob": float("-inf"), "top_logprobs": None}]},
        {"content": [{"token": asked.right(), "logprob": 1e308, "top_logprobs": [1]}]},
        {"content": [{"token": 'x"verdict": "', "logprob": 0}, {"token": "Q", "logprob": -1, "top_logprobs": []}]},
        {"content": tokens_of(asked.wrong())},
    ]  # fmt: skip
    return whole(completion(asked, asked.right(), logprobs=random.choice(odd)))


@mode(True)
def fenced(asked):
    return whole(completion(asked, f"```json\n{asked.right()}\n```"))


@mode(True)
def thinking_first(asked):
    return whole(completion(asked, f"<think>It could be {asked.wrong()}</think>\n{asked.right()}"))


@mode(True)
def with_prose(asked):
    return whole(completion(asked, f"Sure! Here is my verdict: {asked.wrong()}"))


@mode(True)
def twice(asked):
    return whole(completion(asked, f"{asked.wrong()}\n{asked.right()}"))


@mode(True)
def key_twice(asked):
    return whole(completion(asked, '{"verdict": "A", "verdict": "B", "rating": 1, "rating": 5, "reason": "x"}'))


@mode(True)
def look_alike(asked):
    said = asked.wrong().replace('"A"', '"Α"').replace('"B"', '"Β"').replace('"tie"', '"tіe"')  # noqa: RUF001
    return whole(completion(asked, re.sub(r'"rating": \d', '"rating": "５"', said)))  # noqa: RUF001


@mode(True)
def out_of_range(asked):
    odd = ['"C"', '"a"', '"A "', '"A\\u200b"', "null", "NaN", "1", '["A"]', '{"A": 1}', '""', '"AB"']
    said = re.sub(r'"verdict": "\w+"', f'"verdict": {random.choice(odd)}', asked.wrong())
    said = re.sub(
        r'"rating": \d', f'"rating": {random.choice(["99", "-1", "NaN", "4.5", "true", "null", "1e9"])}', said
    )
    return whole(completion(asked, said))


@mode(True)
def schema_only(asked):
    return whole(completion(asked, asked.form.splitlines()[-1]))


@mode(True)
def other_model(asked):
    return whole(completion(asked, asked.right()) | {"model": "quite-another-model"})


@mode(True)
def too_long_header(asked):
    return whole(completion(asked, asked.right()), x_padding="y" * 300_000)


@mode(True)
async def longer_than_said(asked, writer):
    said = json.dumps(completion(asked, asked.right())).encode()
    writer.write(head("200 OK", {"content-type": "application/json", "content-length": len(said)}) + said + b"{} junk")
    await writer.drain()
    writer.close()


@mode(True)
async def until_closed(asked, writer):
    said = json.dumps(completion(asked, asked.right())).encode()
    writer.write(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + said)
    await writer.drain()
    writer.close()


@mode(False, 0.1, needs_person=True)
def elsewhere(asked):
    kind = random.choice(["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
    return whole(b"", kind, location=OTHER_HOST.format(port=Adversary.port))


@mode(False, 0.1, needs_person=True)
def key_refused(asked):
    return error("401 Unauthorized", "Incorrect API key provided: sk-secret-1234")


@mode(False, 0.1, needs_person=True)
def forbidden(asked):
    return error("403 Forbidden")


@mode(False, 0.1, needs_person=True)
def account_empty(asked):
    return error("402 Payment Required", "Insufficient credits")


@mode(False, 0.1)
def too_large(asked):
    return error("413 Payload Too Large")


@mode(False, 0.1)
def unprocessable(asked):
    return error("422 Unprocessable Entity", "the request has no good shape")


@mode(False, 0.5)
def too_early(asked):
    return error(random.choice(["408 Request Timeout", "409 Conflict", "425 Too Early"]))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a machine does that has lost its memory."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- The server -----------------------------------------------------------------------------------------------
@dataclass
class Adversary:
    """What every connection shares. `trouble` is how often a request meets anything but a plain reply."""

    port = 0
    ledger: int
    trouble: float
    only: list[str]
    wait: float
    burst: tuple[float, str] = (0.0, "")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def way(self, asked: Asked) -> str:
        if asked.item % 13 == 6:
            return "unprocessable"  # never taken
        if asked.item % 11 == 5:
            return "with_prose"  # never readable
        now = time.monotonic()
        if now < self.burst[0]:
            return self.burst[1]
        if random.random() < 0.004 and not self.only:
            self.burst = now + random.uniform(0.2, 2.0), random.choice(["slow_down_seconds", "failing", "overloaded"])
        if random.random() >= self.trouble:
            return "plain"
        names = self.only or list(MODES)
        return random.choices(names, [MODES[name].weight or 1e-9 for name in names])[0]

    def note(self, asked: Asked, name: str, host: str) -> None:
        reply = whole(completion(asked, asked.right()))
        written = len(asked.right().split())
        read_price, write_price = price(asked.body["model"])
        works = MODES[name].works
        row = {
            "mode": name,
            "item": asked.item,
            "model": asked.body["model"],
            "sha": hashlib.sha256(asked.raw).hexdigest()[:16],
            "elsewhere": host != HOME,
            "units": round((asked.read * read_price + written * write_price) * UNIT) if works else 0,
            "at": time.time(),
            "size": len(reply),
        }
        os.write(self.ledger, json.dumps(row).encode() + b"\n")

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                top = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: *(\d+)", top, re.IGNORECASE)[1]) if b"POST" in top else 0
                raw = await reader.readexactly(length)
                if not await self.answer(top, raw, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def answer(self, top: bytes, raw: bytes, writer: asyncio.StreamWriter) -> bool:
        if b"POST" not in top:
            models = [{"id": name, "object": "model"} for name in PRICES]
            writer.write(whole({"object": "list", "data": models}))
            return True
        asked = understood(raw)
        name = self.way(asked)
        await asyncio.sleep(self.wait * random.uniform(0.5, 1.5))
        self.note(asked, name, writer.get_extra_info("sockname")[0])
        made = MODES[name].make
        if asyncio.iscoroutinefunction(made):
            await made(asked, writer)
            return name == "chunks_whole"
        said = self.contradicting(asked) if name == "plain" else made(asked)
        writer.write(said)
        await writer.drain()
        return True

    def contradicting(self, asked: Asked) -> bytes:
        """Of some items it names the first answer, whatever the order."""
        text = asked.right("A") if asked.item % 7 == 3 else asked.right()
        return whole(completion(asked, text))


async def serve(options: argparse.Namespace) -> None:
    random.seed(options.seed)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    state = Adversary(os.open(options.ledger, flags), options.trouble, options.only, options.wait)
    server = await asyncio.start_server(state.handle, options.host, options.port, limit=1 << 24)
    Adversary.port = server.sockets[0].getsockname()[1]
    print(Adversary.port, flush=True)
    await server.serve_forever()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("ledger")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trouble", type=float, default=0.5)
    parser.add_argument("--wait", type=float, default=0.02)
    parser.add_argument("--only", nargs="*", default=[])
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
