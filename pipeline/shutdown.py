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

from celery.signals import worker_shutting_down

_mark = mmap.mmap(-1, 1)  # anonymous shared memory: pool processes are forked after this line has run


@worker_shutting_down.connect
def leave_mark(**details: Any) -> None:
    """Called by Celery inside the main process's signal handler: no locks, nothing that can wait."""
    _mark[0] = 1


@contextmanager
def noticing_signals(*, over: bool = False) -> Iterator[Callable[[], bool]]:
    """Within this block SIGTERM and SIGINT only raise a flag; yields the question whether this process should go.

    A signal that somebody handles or ignores already is left to them, unless `over` says otherwise: in a worker's main
    process that is Celery, whose handler leaves the mark. Outside the main thread only the mark counts.
    """
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()

    free = (signal.SIG_DFL, signal.default_int_handler)
    in_main_thread = threading.current_thread() is threading.main_thread()
    kinds = [
        kind for kind in (signal.SIGTERM, signal.SIGINT) if in_main_thread and (over or signal.getsignal(kind) in free)
    ]
    before = {kind: signal.signal(kind, note) for kind in kinds}
    try:
        yield lambda: asked.is_set() or _mark[0] == 1
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
