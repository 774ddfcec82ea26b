"""Stopping politely: the first SIGTERM or SIGINT asks a stage to stop at its next boundary, the second ends it.

Stages look at `requested()` between steps (or call `check()` in loops that have nothing to save).
"""

import os
import signal
import threading
from types import FrameType

from pipeline.ml.records import Stopped

EXIT_STOPPED = 130
_requested = threading.Event()


def requested() -> bool:
    """Has somebody asked this process to stop?"""
    return _requested.is_set()


def check() -> None:
    """Raise Stopped when a stop was asked for; for loops whose work so far is already on disk or cheap."""
    if _requested.is_set():
        raise Stopped("stopped before the next step")


def clear() -> None:
    """Forget an earlier request: a process that runs several stages starts each afresh."""
    _requested.clear()


def install_handlers() -> None:
    """Catch SIGTERM and SIGINT from now on."""
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGINT, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _requested.is_set():
        os._exit(EXIT_STOPPED)  # asked twice: whoever asks does not want to wait for a checkpoint
    _requested.set()
