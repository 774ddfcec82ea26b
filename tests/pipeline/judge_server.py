"""A server on loopback that speaks the OpenAI protocol, and misbehaves as it is told: for tests of judges."""

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What the default answer costs at the prices of the judge that the tests share: 100 tokens at 1.5 and 10 at 6 per
# million, 0.000210, in units.
PRICE = 210_000_000


def money(judge):
    """A judge's money as it stands: what is spent, reserved and unknown, in units."""
    judge.refresh_from_db()
    return judge.spent_units, judge.reserved_units, judge.unknown_units


@dataclass
class Answer:
    """What the server does with one request."""

    content: str | None = '{"verdict": "A", "reason": "clearer"}'
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: str | None = None  # the whole body, instead of a reply made from `content`
    wait: float = 0.0  # seconds before anything is sent
    cut: bool = False  # close the connection in the middle of the body
    usage: tuple[int, int] | None = (100, 10)
    logprobs: list | None = None
    finish_reason: str = "stop"

    def text(self) -> str:
        if self.body is not None:
            return self.body
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.content},
            "finish_reason": self.finish_reason,
            "logprobs": {"content": self.logprobs} if self.logprobs else None,
        }
        reply = {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}
        if self.usage:
            reply["usage"] = {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
        return json.dumps(reply)


def error(status: int, message: str, **more) -> Answer:
    headers = more.pop("headers", {})
    return Answer(status=status, headers=headers, body=json.dumps({"error": {"message": message, **more}}))


def says(verdict: str, reason: str = "clearer") -> str:
    return json.dumps({"verdict": verdict, "reason": reason})


class JudgeServer:
    """`respond(request) → Answer` decides; every request is kept in `requests`, headers in `headers`.

    `served` counts the answers that were sent whole, `most_at_once` how many were under way at a time.
    """

    def __init__(self):
        self.respond = lambda request: Answer()
        self.requests = []
        self.headers = []
        self.served = 0
        self.under_way = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def script(self, *answers, then=None):
        """Give these answers one after the other, then `then` (by default the last one) for ever."""
        rest = list(answers)
        last = then or answers[-1]

        def respond(request):
            with self.lock:
                return rest.pop(0) if rest else last

        self.respond = respond


def handler(server: JudgeServer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.requests.append(request)
                server.headers.append(dict(self.headers))
                server.under_way += 1
                server.most_at_once = max(server.most_at_once, server.under_way)
            try:
                self.answer(server.respond(request))
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with server.lock:
                    server.under_way -= 1

        def answer(self, answer):
            time.sleep(answer.wait)
            body = answer.text().encode()
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.cut:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(body)
            with server.lock:
                server.served += 1

        def log_message(self, *arguments):
            pass

    return Handler


@contextmanager
def running():
    server = JudgeServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def shown(request: dict) -> dict[str, str]:
    """What a request presents: {"conversation", "A", "B"}, as it stands between the fences."""
    text = request["messages"][-1]["content"]
    found = {}
    for name in ("conversation", "answer A", "answer B"):
        block = re.search(
            rf"^<<<{name} ([0-9a-f]+)>>>\n(.*?)\n<<<end of {name} \1>>>$", text, re.DOTALL | re.MULTILINE
        )
        found[name.removeprefix("answer ")] = block.group(2)
    return found
