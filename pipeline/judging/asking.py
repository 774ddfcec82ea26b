"""Ask a judge what is due: `judge_items`, for a worker's task and for the command.

One thread talks to the database, and the endpoint's event loop to the network; up to `concurrency` questions are
under way. Whatever ends this process, the next one goes on where it stopped (`calls.py`).
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from pipeline.judging import calls, local, settling
from pipeline.judging.calls import Claimed
from pipeline.judging.exchange import Address, Reply, Trouble
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError, decrypt
from pipeline.models import Judge, JudgeCall

if TYPE_CHECKING:
    from pipeline.judging.client import Endpoint

RENEW = 5.0  # seconds between signs of life, and the longest look away from `stop`
PATIENCE = 30.0  # seconds that a worker waits for a judge that rests; a longer rest it leaves to the next worker
FAREWELL = 3.0  # seconds that replies under way still have when the worker must go
GLANCE = 0.25  # seconds between looks at `stop` while waiting


def never() -> bool:
    return False


def judge_items(
    *,
    judge: Judge,
    limit: int | None = None,
    seconds: float | None = None,
    again: bool = False,
    stop: Callable[[], bool] = never,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Ask the judge about items routed to it until nothing is due, it must rest, or a bound is reached.

    At most `limit` items and about `seconds` seconds (None: no bound). `again` asks at once a judge that rests or has
    stopped. A local judge is asked by a run, which is queued here. Returns counts of what happened, and the judge's
    state: {"asked", "answered", "unparsable", "failed", "pending", "state", "message", "run"}. Returns at once while
    another worker asks for this judge.
    """
    if again:
        settling.resume(judge=judge)
    if judge.kind == Judge.LOCAL:
        run = local.start(judge=judge, limit=limit, again=again)
        return summary(judge, Counter(), run.pk if run else None)
    token = calls.take_lease(judge.pk)
    if token is None:
        return summary(judge, Counter())
    try:
        deadline = None if seconds is None else time.monotonic() + seconds
        return summary(judge, ask_endpoint(judge, token, limit, deadline, stop, report))
    finally:
        calls.give_back(judge.pk, token)


def ask_endpoint(
    judge: Judge,
    token: str,
    limit: int | None,
    deadline: float | None,
    stop: Callable[[], bool],
    report: Callable[[dict[str, Any]], None] | None,
) -> Counter[str]:
    """Counts by what became of the questions. Stops the judge where it cannot be asked at all."""
    from pipeline.judging.client import Endpoint  # here, because it takes a second to import

    judge.refresh_from_db()
    counts: Counter[str] = Counter()
    try:
        horizon = None if limit is None else calls.horizon(judge=judge, items=limit)
        with Endpoint(address_of(judge)) as endpoint:
            Round(judge, token, endpoint, horizon, deadline, stop, report, counts).run()
    except (SecretError, ProtocolError) as error:
        settling.halt(judge=judge, message=str(error))
    except calls.LeaseLost:
        return counts  # whoever has the lease goes on
    return counts


def address_of(judge: Judge) -> Address:
    """Where to ask this judge and how. Raises SecretError."""
    return Address(
        base_url=judge.base_url,
        key=decrypt(judge.encrypted_key),
        model=judge.model,
        max_tokens=judge.max_tokens,
        timeout=float(judge.timeout_seconds),
    )


def summary(judge: Judge, counts: Counter[str], run: int | None = None) -> dict[str, Any]:
    judge.refresh_from_db()
    return {
        "asked": counts["asked"],
        "answered": counts[JudgeCall.ANSWERED],
        "unparsable": counts[JudgeCall.UNPARSABLE],
        "failed": counts[JudgeCall.FAILED],
        "pending": calls.pending(judge).count(),
        "state": judge.state,
        "message": judge.message,
        "run": run,
    }


class Round:
    """One worker's work for one judge: which questions are under way, and what became of the others.

    `horizon` is the last call that this round may ask; without one, it makes the calls of further items as it goes.
    """

    def __init__(
        self,
        judge: Judge,
        token: str,
        endpoint: "Endpoint",
        horizon: int | None,
        deadline: float | None,
        stop: Callable[[], bool],
        report: Callable[[dict[str, Any]], None] | None,
        counts: Counter[str],
    ) -> None:
        self.judge = judge
        self.token = token
        self.endpoint = endpoint
        self.horizon = horizon
        self.deadline = deadline
        self.stop = stop
        self.report = report
        self.counts = counts
        self.under_way: dict[Future[Reply], Claimed] = {}
        self.exhausted = horizon is not None  # no further items to make calls for
        self.renewed = time.monotonic()

    def run(self) -> None:
        try:
            while not self.stop():
                self.renew()
                if not self.over():
                    self.fill()
                if not self.under_way and (self.over() or not self.rest()):
                    return
                self.collect(GLANCE)
            self.part()
        finally:
            for claimed in self.under_way.values():
                settling.abandon(claimed=claimed)

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def renew(self) -> None:
        if time.monotonic() - self.renewed > RENEW:
            calls.renew_lease(self.judge.pk, self.token)
            self.renewed = time.monotonic()

    def fill(self) -> None:
        """Send out as many questions as may be under way."""
        while (room := self.judge.concurrency - len(self.under_way)) > 0:
            claimed = self.claim(room)
            for each in claimed:
                self.under_way[self.endpoint.ask(each.messages, each.judge.dialect)] = each
            self.counts["asked"] += len(claimed)
            if not claimed and (self.exhausted or self.judge_rests()):
                return
            if not claimed and not calls.plan(judge=self.judge):
                self.exhausted = True

    def claim(self, room: int) -> list[Claimed]:
        return calls.claim(
            judge_id=self.judge.pk,
            token=self.token,
            most=room,
            under_way=len(self.under_way),
            horizon=self.horizon,
        )

    def judge_rests(self) -> bool:
        """Did nothing come because the judge may not be asked now, or because nothing is due?"""
        self.judge.refresh_from_db()
        return not calls.may_ask(self.judge, timezone.now()) or self.judge.failures >= calls.BREAKER

    def rest(self) -> bool:
        """Wait a moment if something is due soon; False if there is nothing to wait for."""
        self.judge.refresh_from_db()
        if not self.judge.enabled or self.judge.state == Judge.STOPPED:
            return False
        pause = calls.next_due(self.judge, timezone.now(), self.horizon)
        if pause is None or pause > PATIENCE:
            return False
        time.sleep(min(pause, GLANCE))
        return True

    def collect(self, seconds: float) -> None:
        """Settle what has been answered."""
        done, _ = wait(self.under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            claimed = self.under_way[future]
            try:
                state = settling.answered(claimed=claimed, reply=future.result())
            except Trouble as trouble:
                state = settling.troubled(claimed=claimed, trouble=trouble)
            del self.under_way[future]
            self.counts[state] += 1
        if done and self.report:
            self.report({"asked": self.counts["asked"], "answered": self.counts[JudgeCall.ANSWERED]})

    def part(self) -> None:
        """The worker must go: take in what comes within a few seconds."""
        until = time.monotonic() + FAREWELL
        while self.under_way and time.monotonic() < until:
            self.collect(GLANCE)
