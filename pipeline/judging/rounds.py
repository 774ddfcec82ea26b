"""One worker's work for one judge: claim ahead, let the outbox ask, settle what has come back, until nothing is due.

One thread talks to the database (this one, through its books), another to the network (the outbox). Up to
`concurrency` requests are under way; as many again and more are reserved ahead, and replies are settled in batches,
so that asking does not wait for the database.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from pipeline.judging import calls, evidence, voices
from pipeline.judging.books import Books, Result
from pipeline.judging.config import protocol_of
from pipeline.judging.exchange import Reply, Trouble
from pipeline.judging.outbox import MINUTE, Limit, Outbox
from pipeline.models import Judge, JudgeCall, JudgeReply

RENEW = 5.0  # seconds between signs of life, and the longest look away from `stop`
PATIENCE = 30.0  # seconds that a worker waits for a judge that rests; a longer rest it leaves to the next worker
FAREWELL = 3.0  # seconds that replies under way still have when the worker must go
GLANCE = 0.25  # seconds between looks at `stop` while waiting
GATHER = 0.05  # seconds in which replies are gathered before they are settled together
AHEAD = 0.5  # seconds of asking, at the pace of late, for which requests are reserved ahead
LEAST_AHEAD, MOST_AHEAD = 2, 128
FIRST_PACE = 10.0  # replies a second, of each that may be under way, until it is known


class Round:
    """`horizon` is the last call that it may ask; without one, it makes the calls of further items as it goes."""

    def __init__(
        self,
        judge: Judge,
        token: str,
        horizon: int | None,
        deadline: float | None,
        stop: Callable[[], bool],
        report: Callable[[dict[str, Any]], None] | None,
        counts: Counter[str],
    ) -> None:
        judge.refresh_from_db()
        self.judge = judge
        self.token = token
        self.horizon = horizon
        self.deadline = deadline
        self.stop = stop
        self.report = report
        self.counts = counts
        self.books = Books(judge.pk, token)
        self.outbox = outbox_of(judge)
        self.exhausted = horizon is not None  # no further items to make calls for
        self.renewed = self.collected = time.monotonic()
        self.pace = FIRST_PACE * judge.concurrency  # replies a second of late
        self.asked_first = False

    def run(self) -> None:
        with self.outbox:
            try:
                self.work()
            finally:
                self.books.abandon()
                self.tell()

    def work(self) -> None:
        while not self.stop():
            self.renew()
            if self.over():
                self.take_back()
            else:
                self.fill()
            if not self.books.asking and (self.over() or not self.rest()):
                return
            self.collect(GLANCE)
        self.part()

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def renew(self) -> None:
        if time.monotonic() - self.renewed > RENEW:
            calls.renew_lease(self.judge.pk, self.token)
            self.renewed = time.monotonic()

    def fill(self) -> None:
        """Reserve as many requests as may be under way, and some ahead."""
        most = self.judge.concurrency + round(min(max(LEAST_AHEAD, self.pace * AHEAD), MOST_AHEAD))
        while (room := most - len(self.books.asking)) > 0 and not self.stop() and not self.over():
            self.renew()  # what is kept already is answered at once, however much it is
            claimed = self.books.claim(room, self.horizon)
            self.send()
            if claimed:
                continue
            if self.exhausted or self.judge_rests():
                return
            # The first items get their calls at once, since nothing is under way meanwhile.
            if not calls.plan(judge=self.judge, items=calls.PLAN if self.asked_first else min(most, calls.PLAN)):
                self.exhausted = True

    def send(self) -> None:
        """Let leave what the books have reserved."""
        letters, self.books.outgoing = self.books.outgoing, []
        if letters:
            if not self.asked_first:
                self.asked_first, self.collected = True, time.monotonic()
            self.outbox.send([(letter, dict(letter.judge.dialect)) for letter in letters])

    def judge_rests(self) -> bool:
        """Did nothing come because the judge may not be asked now, or because nothing is due?"""
        self.judge.refresh_from_db()
        resting = not calls.may_ask(self.judge, timezone.now()) or self.judge.failures >= calls.BREAKER
        return resting or self.books.is_capped

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
        """Settle what has come back. A trouble holds everything, until the judge's state says whether to go on."""
        results = self.outbox.wait(seconds)
        if results and len(results) < len(self.books.asking):
            time.sleep(GATHER)
            results += self.outbox.wait(0)
        if not results:
            return
        now = time.monotonic()
        self.pace = (self.pace + len(results) / max(now - self.collected, 0.001)) / 2
        self.collected = now
        self.books.settle([usable(result) for result in results])
        if any(isinstance(result, Trouble) for _, result in results):
            self.take_back()
            self.outbox.go_on()
        self.send()
        self.tell()

    def take_back(self) -> None:
        """What has not been sent is due again, for later."""
        self.books.take_back(self.outbox.withdraw())

    def tell(self) -> None:
        self.counts["asked"] = self.outbox.count
        self.counts.update(self.books.settled)
        self.books.settled.clear()
        if self.report:
            self.report({"asked": self.counts["asked"], "answered": self.counts[JudgeCall.ANSWERED]})

    def part(self) -> None:
        """The worker must go: take in what comes within a few seconds, and ask nothing more."""
        self.books.is_leaving = True
        self.take_back()
        until = time.monotonic() + FAREWELL
        while self.books.asking and time.monotonic() < until:
            self.collect(GLANCE)


def usable(result: tuple[Any, Any]) -> Result:
    """A result as the books take it. Raises what is neither reply nor trouble: a crash."""
    letter, what = result
    if isinstance(what, Reply | Trouble):
        return letter, what
    raise what


def outbox_of(judge: Judge) -> Outbox:
    """The outbox for a judge, which counts what it and its members were asked a moment ago. Raises EvidenceError."""
    members = voices.members_of(judge)
    tools = [evidence.tools_of(protocol_of(each.protocol)) for each in (judge, *members)]
    kin = calls.kin(judge)
    limits = [limit_of(judge, 0, kin), *(limit_of(member, member.pk, kin) for member in members)]
    return Outbox(
        concurrency=judge.concurrency,
        limits=limits,
        tools={name: tool for each in tools for name, tool in each.items()},
    )


def limit_of(asked: Judge, holds_for: int, kin: Sequence[int]) -> Limit:
    """The limits of the judge whose model is asked, which any of its kin may have asked a moment ago."""
    recent: tuple[float, ...] = ()
    if asked.per_minute is not None:
        now = timezone.now()
        replies = JudgeReply.objects.filter(created_at__gt=now - timedelta(seconds=MINUTE), judge__in=kin)
        if asked.kind in Judge.OF_MEMBERS:
            replies = replies.filter(judge=asked).exclude(step__startswith="tool ")
        else:
            replies = replies.filter(model=asked.model)
        recent = tuple((now - at).total_seconds() for at in replies.values_list("created_at", flat=True))
    return Limit(holds_for, concurrency=asked.concurrency, per_minute=asked.per_minute, recent=recent)
