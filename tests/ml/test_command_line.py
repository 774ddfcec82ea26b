"""`python -m pipeline.ml`: exit codes, and how an outcome stands in the run's folder."""

import json
import signal
import subprocess
import sys
import types

import pytest

from pipeline.ml import stopping
from pipeline.ml.__main__ import main
from pipeline.ml.records import RunFolder, StageError, Stopped, read_events
from pipeline.ml.stages import STAGES
from tests.ml.conftest import ROOT, write_run


@pytest.fixture
def judge(monkeypatch, tmp_path):
    """Put a function in the place of the judge stage's module; returns the run.json it is to run."""
    (tmp_path / "model").mkdir()
    (tmp_path / "requests.jsonl").write_text("")

    def put(run, config=None):
        monkeypatch.setitem(sys.modules, STAGES["judge"].module, types.SimpleNamespace(run=run))
        inputs = {"model": tmp_path / "model", "requests": tmp_path / "requests.jsonl"}
        return write_run(tmp_path / "run", "judge", inputs, config)

    return put


def last_event(run_file):
    return read_events(run_file.parent / "events.jsonl")[0][-1]


def test_done(judge):
    run_file = judge(lambda folder: {"verdicts": 3})

    assert main(["judge", str(run_file)]) == 0
    assert json.loads((run_file.parent / "result.json").read_text()) == {"verdicts": 3}
    assert last_event(run_file)["result"] == {"verdicts": 3}
    assert RunFolder(run_file.parent).is_complete()


def test_a_finished_run_is_left_as_it_is(judge, capsys):
    run_file = judge(lambda folder: {"verdicts": 3})
    main(["judge", str(run_file)])
    before = {item.name: item.read_bytes() for item in run_file.parent.iterdir() if item.is_file()}

    def again(folder):
        raise AssertionError("a complete run must not run again")

    assert main(["judge", str(judge(again))]) == 0
    assert "is complete: nothing to do" in capsys.readouterr().out
    assert {item.name: item.read_bytes() for item in run_file.parent.iterdir() if item.is_file()} == before


def test_an_expected_failure_is_a_sentence_and_no_traceback(judge):
    def fail(folder):
        raise StageError("The requests are empty: route something to the judge first.")

    run_file = judge(fail)
    assert main(["judge", str(run_file)]) == 1
    event = last_event(run_file)
    assert (event["event"], event["expected"], event["traceback"]) == ("failed", True, "")
    assert event["message"] == "The requests are empty: route something to the judge first."
    assert not RunFolder(run_file.parent).is_complete()


def test_a_crash_keeps_its_traceback(judge):
    def crash(folder):
        return {}["missing"]

    run_file = judge(crash)
    assert main(["judge", str(run_file)]) == 1
    event = last_event(run_file)
    assert (event["event"], event["expected"], event["message"]) == ("failed", False, "KeyError: 'missing'")
    assert 'return {}["missing"]' in event["traceback"]


def test_a_bad_setting_is_refused_before_the_stage_is_loaded(judge):
    run_file = judge(None, {"batch_size": 0})
    assert main(["judge", str(run_file)]) == 1
    assert last_event(run_file)["message"] == "batch_size must be at least 1, not 0."
    assert last_event(run_file)["expected"] is True


def test_a_missing_input_is_refused_before_the_stage_is_loaded(judge):
    run_file = judge(None)
    spec = json.loads(run_file.read_text())
    del spec["inputs"]["requests"]
    run_file.write_text(json.dumps(spec))

    assert main(["judge", str(run_file)]) == 1
    assert last_event(run_file)["message"].startswith("The run names no input “requests”")


def test_a_stop_is_130_and_says_where(judge):
    def stop(folder):
        raise Stopped(step=7)

    run_file = judge(stop)
    assert main(["judge", str(run_file)]) == 130
    assert (last_event(run_file)["event"], last_event(run_file)["step"]) == ("stopped", 7)


def test_after_a_failure_a_run_can_be_started_again(judge):
    def fail(folder):
        raise StageError("Not yet.")

    main(["judge", str(judge(fail))])
    run_file = judge(lambda folder: {"verdicts": 1})
    assert main(["judge", str(run_file)]) == 0
    assert [event["event"] for event in read_events(run_file.parent / "events.jsonl")[0]] == [
        "progress",
        "failed",
        "progress",
        "done",
    ]


@pytest.mark.slow
def test_a_folder_in_use_is_left_alone(judge, capsys):
    run_file = judge(lambda folder: {})
    holder = RunFolder(run_file.parent)
    holder.acquire()

    assert main(["judge", str(run_file)]) == 1
    assert "Another process is working in" in capsys.readouterr().err
    assert not (run_file.parent / "events.jsonl").exists()


def test_wrong_use_is_2(judge, tmp_path, capsys):
    run_file = judge(lambda folder: {})
    assert main(["dpo", str(run_file)]) == 2
    assert "is a run of judge, not of dpo" in capsys.readouterr().err
    assert main(["judge", str(tmp_path / "nowhere" / "run.json")]) == 2
    assert "There is no run.json" in capsys.readouterr().err
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    assert main(["judge", str(tmp_path / "broken" / "run.json")]) == 2
    assert "is not valid JSON" in capsys.readouterr().err
    assert main(["judge", str(tmp_path / "broken")]) == 2


@pytest.mark.parametrize("arguments", [[], ["polish", "run.json"], ["judge"], ["evaluate_reward", "--model", "m"]])
def test_a_command_that_cannot_be_read_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert "usage: python -m pipeline.ml" in capsys.readouterr().err


def test_loops_with_nothing_to_save_break_off_when_asked():
    stopping.check()
    stopping.install_handlers()
    signal.raise_signal(signal.SIGTERM)
    assert stopping.requested()
    with pytest.raises(Stopped):
        stopping.check()


@pytest.mark.stage
def test_the_web_sides_half_of_the_room_loads_no_torch():
    code = (
        "import sys, pipeline.ml.stages, pipeline.ml.records, pipeline.ml.splits, pipeline.ml.__main__\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'django'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
