"""Sends letters: so many at a time, so many a minute, and none after a trouble until told to go on.

All of it happens on the endpoint's event loop, so that the next letter leaves the moment a reply is there, whatever
the database is doing. What came of each letter is in `back`, for the thread that owns the database.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from pipeline.judging.client import Endpoint
from pipeline.judging.exchange import Reply, Tokens, Trouble
from pipeline.judging.plans import Ask, Use
from pipeline.judging.works import Letter

MINUTE = 60.0
WHEN_ONE_IS_BACK = math.inf
Tool = Callable[[str], str]
Result = tuple[Letter, Reply | Trouble | BaseException]


class Limit:
    """How many requests may be with one judge's model at a time, and how many may be sent in any minute.

    `judge` 0 is whoever is asked; `recent` are how long ago (seconds) requests of the last minute were made, by
    whoever asked before.
    """

    def __init__(
        self, judge: int, *, concurrency: int, per_minute: int | None = None, recent: Sequence[float] = ()
    ) -> None:
        self.judge = judge
        self.concurrency = concurrency
        self.per_minute = per_minute
        self.under_way = 0
        now = time.monotonic()
        self.sent_at = deque(now - ago for ago in sorted(recent, reverse=True))

    def holds_for(self, letter: Letter) -> bool:
        return isinstance(letter.request, Ask) and self.judge in (0, letter.judge.pk)

    def begin(self) -> None:
        self.under_way += 1
        if self.per_minute is not None:
            self.sent_at.append(time.monotonic())

    def pause(self) -> float:
        """Seconds until one more may be sent."""
        if self.under_way >= self.concurrency:
            return WHEN_ONE_IS_BACK
        since = time.monotonic() - MINUTE
        while self.sent_at and self.sent_at[0] <= since:
            self.sent_at.popleft()
        if self.per_minute is None or len(self.sent_at) < self.per_minute:
            return 0.0
        return self.sent_at[-self.per_minute] - since


class Outbox:
    """`with Outbox(concurrency=…) as outbox: outbox.send(letter, dialect)`, then `outbox.wait(seconds)`.

    `limits` are of judges whose models are asked, by their id: those of the one that asks hold for all requests.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        limits: Sequence["Limit"] = (),
        tools: Mapping[str, Tool] | None = None,
    ) -> None:
        self.endpoint = Endpoint()
        self.concurrency = concurrency
        self.limits = limits
        self.tools = dict(tools or {})
        self.back: SimpleQueue[Result] = SimpleQueue()
        self.unsent: deque[tuple[Letter, Mapping[str, Any]]] = deque()
        self.count = 0  # requests that were sent
        self.free = concurrency
        self.is_held = False
        self.pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="judge tool")

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.endpoint.__exit__(kind, error, trace)
        self.pool.shutdown(wait=False, cancel_futures=True)

    # --- From the thread of the database ----------------------------------------------------------------------
    def send(self, letters: list[tuple[Letter, Mapping[str, Any]]]) -> None:
        """Letters, each with its endpoint's dialect, in the order in which they leave."""
        self.endpoint.loop.call_soon_threadsafe(self.accept, letters)

    def go_on(self) -> None:
        """Send again, after a trouble."""
        self.endpoint.loop.call_soon_threadsafe(self.release)

    def withdraw(self) -> list[Letter]:
        """Take back what has not been sent."""
        return self.endpoint.run(self.give_back()).result()

    def wait(self, seconds: float) -> list[Result]:
        """What has come back, after at most so many seconds if nothing has yet."""
        found: list[Result] = []
        try:
            found.append(self.back.get(timeout=seconds))
            while True:
                found.append(self.back.get_nowait())
        except Empty:
            return found

    # --- On the event loop ------------------------------------------------------------------------------------
    def accept(self, letters: list[tuple[Letter, Mapping[str, Any]]]) -> None:
        self.unsent.extend(letters)
        self.start()

    def release(self) -> None:
        self.is_held = False
        self.start()

    async def give_back(self) -> list[Letter]:
        letters = [letter for letter, _ in self.unsent]
        self.unsent.clear()
        return letters

    def start(self) -> None:
        """Let leave what may leave now. What must wait for one member's limit does not hold up the others."""
        held: deque[tuple[Letter, Mapping[str, Any]]] = deque()
        pauses = []
        while self.unsent and self.free and not self.is_held:
            letter, dialect = self.unsent.popleft()
            limits = [limit for limit in self.limits if limit.holds_for(letter)]
            pause = max((limit.pause() for limit in limits), default=0.0)
            if pause > 0:
                held.append((letter, dialect))
                pauses.append(pause)
                if len(self.limits) == 1:
                    break  # it holds for all of them
                continue
            for limit in limits:
                limit.begin()
            self.free -= 1
            self.endpoint.loop.create_task(self.exchange(letter, dialect, limits))
        self.unsent.extendleft(reversed(held))
        if pauses and min(pauses) < WHEN_ONE_IS_BACK:
            self.endpoint.loop.call_later(min(pauses), self.start)

    async def exchange(self, letter: Letter, dialect: Mapping[str, Any], limits: Sequence["Limit"]) -> None:
        result: Reply | Trouble | BaseException
        try:
            result = await self.answer(letter, dialect)
        except Trouble as trouble:
            result = trouble
            self.is_held = True  # whether to go on is for the judge's state to say
        except asyncio.CancelledError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for it
            result = error
        self.free += 1
        for limit in limits:
            limit.under_way -= 1
        self.back.put((letter, result))
        self.start()

    async def answer(self, letter: Letter, dialect: Mapping[str, Any]) -> Reply:
        request = letter.request
        if isinstance(request, Use):
            return await self.use(request)
        assert isinstance(request, Ask)
        assert letter.address is not None
        self.count += 1
        return await self.endpoint.ask_now(
            letter.address, request.form.messages, dialect, heat=request.heat, logprobs=request.logprobs
        )

    async def use(self, request: Use) -> Reply:
        begin = time.monotonic()
        found = await self.endpoint.loop.run_in_executor(self.pool, self.tools[request.tool], request.text)
        return Reply(found, "stop", [], Tokens(0, 0), time.monotonic() - begin, "")
