"""How far a stage has come: rows and tokens counted, written to the events at a readable pace."""

from __future__ import annotations

import time

from pipeline.ml import stopping
from pipeline.ml.records import Events, Stopped
from pipeline.ml.trainers.callbacks import memory_bytes

PACE = 2.0  # seconds between two progress events: live for a reader, small for the file


class Meter:
    """Progress over `total` rows, of which `done` were there before this process began.

    `add` also is the place where a stage that was asked to stop breaks off.
    """

    def __init__(self, events: Events, total: int, doing: str, done: int = 0) -> None:
        self._events = events
        self._total = total
        self._doing = doing
        self._done = done
        self._already = done
        self._underway = 0.0
        self._tokens = 0
        self._began = time.monotonic()
        self._reported = 0.0
        self.report()

    def add(self, *, rows: int = 0, tokens: int = 0, underway: float = 0.0) -> None:
        """Count work; report it when the last report is old enough; raise Stopped when a stop was asked for.

        `underway` is what the rows begun and not counted yet are worth, in rows: the time left is known before the
        first batch is whole.
        """
        self._done += rows
        self._underway = underway
        self._tokens += tokens
        if time.monotonic() - self._reported >= PACE or self._done == self._total:
            self.report()
        if stopping.requested():
            raise Stopped(f"stopped while {self._doing}", step=self._done)

    @property
    def tokens_per_second(self) -> float:
        """Speed since this process began."""
        return self._tokens / max(time.monotonic() - self._began, 1e-9)

    def report(self) -> None:
        """Write a progress event now."""
        self._reported = time.monotonic()
        rows = self._done - self._already + self._underway
        left = (self._reported - self._began) / rows * (self._total - self._already - rows) if rows else None
        self._events.progress(
            self._done,
            self._total,
            stage=self._doing,
            seconds_left=None if left is None else round(left, 1),
            tokens_per_second=round(self.tokens_per_second, 1) if self._tokens else None,
            memory_bytes=memory_bytes(),
        )
