"""How far a stage says it has come."""

import json

import pytest

from pipeline.ml import meter as meters
from pipeline.ml.meter import Meter
from pipeline.ml.records import Events


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    passed = [100.0]
    monkeypatch.setattr(meters.time, "monotonic", lambda: passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def seconds_left(path) -> list[float | None]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line.get("seconds_left") for line in lines if line["event"] == "progress"]


def test_the_time_left_counts_what_is_under_way(clock, tmp_path):
    meter = Meter(Events(tmp_path / "events.jsonl"), total=12, doing="sampling", done=2)
    clock(4.0)
    meter.add(tokens=8, underway=2.0)  # 4 s for two rows' worth, eight are left
    clock(16.0)
    meter.add(rows=5)  # 20 s for five rows, five are left; nothing is under way any more
    assert seconds_left(tmp_path / "events.jsonl") == [None, 16.0, 20.0]
