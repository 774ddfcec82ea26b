"""How a long task learns that its worker has been asked to go."""

import os
import signal

import pytest

from pipeline import shutdown


@pytest.fixture(autouse=True)
def mark(monkeypatch):
    """A mark of the test's own: the real one would stay for all tests that follow."""
    monkeypatch.setattr(shutdown, "_mark", bytearray(1))


def test_a_signal_only_raises_a_flag_and_its_handler_goes_again():
    before = signal.getsignal(signal.SIGTERM)
    with shutdown.noticing_signals(over=True) as asked_to_go:
        assert asked_to_go() is False
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked_to_go() is True
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_a_workers_main_process_signals_are_left_to_celery():
    before = signal.getsignal(signal.SIGTERM)
    with shutdown.noticing_signals() as asked_to_go:
        assert signal.getsignal(signal.SIGTERM) == before
        shutdown.leave_mark(sig="SIGTERM")
        assert asked_to_go() is True


def test_in_a_pools_process_signals_are_noticed(monkeypatch):
    monkeypatch.setattr(shutdown, "in_pool_process", lambda: True)
    with shutdown.noticing_signals() as asked_to_go:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked_to_go() is True
