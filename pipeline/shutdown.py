"""Has this worker been asked to go?

A worker's main process is told by a signal, but a long task runs in a process of its pool, which the main one lets
finish. So the main process leaves a mark in memory that both share. A pool process that is signalled itself (Ctrl-C on
`make run` reaches the whole group) takes that as the same request.
"""

import mmap
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from billiard import current_process
from celery.signals import worker_shutting_down

_mark = mmap.mmap(-1, 1)  # anonymous shared memory: pool processes are forked after this line has run


@worker_shutting_down.connect
def leave_mark(**details: Any) -> None:
    """Called by Celery inside the main process's signal handler: no locks, nothing that can wait."""
    _mark[0] = 1


def in_pool_process() -> bool:
    """Is this a process of a worker's pool? There SIGTERM would raise SystemExit wherever the task happens to be."""
    return bool(current_process().name != "MainProcess")


@contextmanager
def noticing_signals(*, over: bool | None = None) -> Iterator[Callable[[], bool]]:
    """Within this block SIGTERM and SIGINT only raise a flag; yields the question whether this process should go.

    In a worker's main process Celery handles signals, and leaves the mark; so a handler is only replaced in a pool's
    process, or where the caller says `over`. Outside the main thread only the mark counts.
    """
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()

    replace = in_pool_process() if over is None else over
    in_main_thread = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGTERM, signal.SIGINT) if replace and in_main_thread else ()
    before = {kind: signal.signal(kind, note) for kind in kinds}
    try:
        yield lambda: asked.is_set() or _mark[0] == 1
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
