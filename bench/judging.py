"""What a judge's work costs in throughput: questions a second through the worker's own function, beside bare clients.

    DATABASE_URL=postgres://root@127.0.0.1:5432/postgres python -m bench.judging
    DATABASE_URL=postgres://… python -m bench.judging --wait 0.05 0.2 --concurrency 8 32 --calls 1600 --rounds 3

A server in a process of its own answers after a fixed time. In turn, the openai package's and httpx's bare
asynchronous clients send requests like ours at the same concurrency, and `judge_items` (what the worker's task calls)
judges routed items: claims, asks, books money, keeps replies, writes annotations and labels. All within one run, in
turns, because the machine's load changes; the ratio of the medians is the figure.
"""

# ruff: noqa: E402, I001 - `prepare` sets the environment before Django is imported
import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench import _stack

WORDS = "The tide follows the moon, and a kettle on a hill boils sooner than one by the sea. "
REPLY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": json.dumps({"verdict": "A", "reason": "It is clearer."})},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 900, "completion_tokens": 14, "total_tokens": 914},
}


def serve(port: Any, ready: Any, waits: Any) -> None:
    """A server that answers every request after `waits.value` seconds, in as little CPU as it can."""
    body = json.dumps(REPLY).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(waits.value)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    asyncio.run(main())


async def in_turn(send: Callable[[], Any], calls: int, concurrency: int) -> float:
    """Requests a second, of so many at a time."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            await send()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return calls / (time.perf_counter() - began)


def body_like_ours() -> dict[str, Any]:
    messages = [{"role": "system", "content": WORDS * 18}, {"role": "user", "content": WORDS * 14}]
    return {
        "model": "m", "messages": messages, "temperature": 0, "max_tokens": 300, "logprobs": True, "top_logprobs": 5,
    }  # fmt: skip


def bare_openai(url: str, calls: int, concurrency: int) -> float:
    import openai

    async def run() -> float:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await in_turn(lambda: client.chat.completions.create(**body_like_ours()), calls, concurrency)

    return asyncio.run(run())


def bare_httpx(url: str, calls: int, concurrency: int) -> float:
    import httpx2

    async def run() -> float:
        async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=60) as client:

            async def send() -> None:
                response = await client.post(f"{url}/chat/completions", json=body_like_ours())
                json.loads(response.text)

            return await in_turn(send, calls, concurrency)

    return asyncio.run(run())


def ours(url: str, calls: int, concurrency: int) -> float:
    """The worker's function over `calls` / 2 items in both orders; everything that it promises is checked after."""
    from annotate.models import Annotation
    from pipeline.judging import judge_items
    from pipeline.models import JudgeCall

    judge, items = routed_items(url, calls // 2, concurrency)
    began = time.perf_counter()
    counts = judge_items(judge=judge)
    speed = calls / (time.perf_counter() - began)
    judge.refresh_from_db()
    price = 900 * 1_500_000 + 14 * 6_000_000
    held = Annotation.objects.filter(rater=judge.rater).count(), judge.spent_units, judge.reserved_units
    if held != (2 * items, 2 * items * price, 0) or counts["answered"] != 2 * items:
        raise SystemExit(f"The books do not add up: {held}, {counts}.")
    JudgeCall.objects.filter(judge=judge).update(annotation=None)
    return speed


def routed_items(url: str, count: int, concurrency: int) -> tuple[Any, int]:
    """A new project with a judge, and so many pairs routed to it."""
    from annotate import projects
    from annotate.importing import take_in
    from annotate.models import Item, User
    from pipeline.judging import setup
    from pipeline.models import Route

    number = str(time.time_ns())
    user, _ = User.objects.get_or_create(username="bench", email="bench@example.org")
    project = projects.create_project(name="Bench", slug=f"bench-{number}", by=user, guidelines=WORDS * 8)
    judge = setup.create_endpoint_judge(
        project=project, name="judge", base_url=url, model="m", price_input="1.5", price_output="6",
        concurrency=concurrency, spend_cap="1000",
    )  # fmt: skip
    rows = [
        {
            "id": f"pair-{place}",
            "prompt": [{"role": "user", "content": f"{place}. {WORDS}"}],
            "responses": [
                {"model": name, "messages": [{"role": "assistant", "content": f"{place} {name}. {WORDS * 6}"}]}
                for name in ("one", "two")
            ],
        }
        for place in range(count)
    ]
    take_in(project=project, items=rows)
    items = Item.objects.filter(project=project)
    items.update(route=Item.JUDGE, slots_open=0, overlap=0)
    Route.objects.bulk_create(
        Route(item_id=pk, decision=Item.JUDGE, reason="bench", propensity=1.0, policy="bench", policy_version="1")
        for pk in items.values_list("pk", flat=True)
    )
    return judge, count


def main() -> int:
    options = parse()
    _stack.prepare("plumbline_bench_judging")
    port, waits, ready = multiprocessing.Value("i"), multiprocessing.Value("d"), multiprocessing.Event()
    server = multiprocessing.Process(target=serve, args=(port, ready, waits), daemon=True)
    server.start()
    ready.wait(30)
    url = f"http://127.0.0.1:{port.value}/v1"
    rows = []
    for wait in options.wait:
        for concurrency in options.concurrency:
            waits.value = wait
            rows.append(measure(url, wait, concurrency, options.calls, options.rounds))
            print(line(rows[-1]), flush=True)
    server.terminate()
    if options.json:
        print(json.dumps(rows))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, nargs="+", default=[0.05, 0.2], help="seconds until an answer")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8], help="requests at a time")
    parser.add_argument("--calls", type=int, default=800, help="requests of each kind, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(url: str, wait: float, concurrency: int, calls: int, rounds: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {"openai": [], "httpx": [], "ours": []}
    load = os.getloadavg()[0]
    for _ in range(rounds):
        found["openai"].append(bare_openai(url, calls, concurrency))
        found["ours"].append(ours(url, calls, concurrency))
        found["httpx"].append(bare_httpx(url, calls, concurrency))
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    ratios = {f"ratio_{name}": medians["ours"] / medians[name] for name in ("openai", "httpx")}
    return {"wait": wait, "concurrency": concurrency, "load": load, **medians, **ratios, "all": found}


def line(row: dict[str, Any]) -> str:
    return (
        f"answers after {1000 * row['wait']:.0f} ms, {row['concurrency']} at a time: ours {row['ours']:.1f}/s, "
        f"openai {row['openai']:.1f}/s (ratio {row['ratio_openai']:.3f}), httpx {row['httpx']:.1f}/s "
        f"(ratio {row['ratio_httpx']:.3f}); load before {row['load']:.1f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
