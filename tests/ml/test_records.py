"""A run's folder: what is written survives a kill at any moment, and a finished run is complete and unchanging."""

import json
import math
import subprocess
import sys

import pytest

from pipeline.ml.records import (
    AlreadyRunning,
    Events,
    RunFolder,
    StageError,
    hash_file,
    hash_folder,
    read_events,
    write_json,
)
from tests.ml.conftest import ROOT, write_run

HOLD = """
import sys
from pipeline.ml.records import RunFolder
folder = RunFolder(sys.argv[1])
folder.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_events_are_read_from_an_offset_on(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    events.metric(1, loss=0.5)
    first, offset = read_events(tmp_path / "events.jsonl")
    events.log("half-way", level="warning")
    second, end = read_events(tmp_path / "events.jsonl", offset)

    assert [(event["event"], event["step"], event["values"]) for event in first] == [("metric", 1, {"loss": 0.5})]
    assert [(event["event"], event["message"], event["level"]) for event in second] == [("log", "half-way", "warning")]
    assert read_events(tmp_path / "events.jsonl", end) == ([], end)


def test_a_line_still_being_written_is_left_for_the_next_reading(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "log"}\n{"event": "met')
    found, offset = read_events(path)

    assert found == [{"event": "log"}]
    assert offset == 17


def test_a_torn_last_line_is_dropped_when_the_file_is_opened_again(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "log"}\n{"event": "met')
    Events(path).stopped(3)
    found, _ = read_events(path)

    assert [event["event"] for event in found] == ["log", "stopped"]


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path):
    Events(tmp_path / "events.jsonl").metric(1, loss=math.nan, grad_norm=math.inf, accuracy=0.5)
    found, _ = read_events(tmp_path / "events.jsonl")

    assert found[0]["values"] == {"loss": None, "grad_norm": None, "accuracy": 0.5}


def test_no_events_yet_is_no_error(tmp_path):
    assert read_events(tmp_path / "events.jsonl") == ([], 0)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"n": 1})
    with pytest.raises(TypeError):
        write_json(path, {"n": object()})

    assert json.loads(path.read_text()) == {"n": 1}


def test_finish_writes_the_manifest_last_with_every_files_hash(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", "judge", {}).parent)
    folder.model.mkdir()
    (folder.model / "config.json").write_text("{}")
    (folder.checkpoints / "checkpoint-5").mkdir(parents=True)
    folder.finish({"n": 3})

    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["model/config.json", "result.json", "run.json"]
    assert manifest["files"]["model/config.json"] == {
        "bytes": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }
    assert manifest["versions"]["torch"].startswith("2.")
    assert folder.is_complete()
    assert not folder.checkpoints.exists()
    found, _ = read_events(folder.path / "events.jsonl")
    assert [event["event"] for event in found] == ["done"]


def test_a_run_without_a_manifest_is_not_complete(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", "judge", {}).parent)
    write_json(folder.path / "result.json", {})

    assert not folder.is_complete()


def test_a_half_written_checkpoint_is_passed_over_and_cleared(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", "dpo", {}).parent)
    for step in (5, 10):
        (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        folder.mark_checkpoint(step)
    (folder.checkpoints / "checkpoint-100").mkdir()

    assert folder.latest_checkpoint() == folder.checkpoints / "checkpoint-10"
    folder.acquire()
    assert not (folder.checkpoints / "checkpoint-100").exists()
    assert folder.latest_checkpoint() == folder.checkpoints / "checkpoint-10"


@pytest.mark.stage
def test_only_one_live_process_holds_a_folder(tmp_path):
    run_file = write_run(tmp_path / "run", "dpo", {})
    folder = run_file.parent
    assert not RunFolder.is_held(folder)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert RunFolder.is_held(folder)
        assert (folder / "run.lock").read_text() == f"{holder.pid}\n"
        with pytest.raises(AlreadyRunning, match="Another process"):
            RunFolder(folder).acquire()
    finally:
        holder.kill()
        holder.communicate()
    assert not RunFolder.is_held(folder)
    RunFolder(folder).acquire()


def test_looking_whether_a_folder_is_held_does_not_hold_it(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", "dpo", {}).parent)
    folder.acquire()
    assert RunFolder.is_held(folder.path)
    folder.release()
    assert not RunFolder.is_held(folder.path)


def test_an_input_that_changed_since_the_run_was_made_is_refused(tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text("{}\n")
    run_file = write_run(tmp_path / "run", "dpo", {"train": data})
    spec = json.loads(run_file.read_text())
    spec["inputs"]["train"]["sha256"] = hash_file(data)
    run_file.write_text(json.dumps(spec))

    assert RunFolder(run_file.parent).input("train") == data
    data.write_text("{} \n")
    with pytest.raises(StageError, match="has changed since the run was made"):
        RunFolder(run_file.parent).input("train")


def test_a_missing_input_is_named(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", "dpo", {"train": tmp_path / "gone.jsonl"}).parent)

    with pytest.raises(StageError, match="“train” is missing"):
        folder.input("train")
    with pytest.raises(StageError, match="names no input “policy”"):
        folder.input("policy")
    assert not folder.has_input("policy")


def test_the_hash_of_a_folder_depends_on_names_and_contents_only(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.txt").write_text("same")
    assert hash_folder(tmp_path / "one") == hash_folder(tmp_path / "two")

    (tmp_path / "two" / "deep" / "a.txt").rename(tmp_path / "two" / "deep" / "b.txt")
    assert hash_folder(tmp_path / "one") != hash_folder(tmp_path / "two")


def test_a_process_that_is_not_the_main_one_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    folder = RunFolder(write_run(tmp_path / "run", "dpo", {}).parent)
    folder.acquire()
    folder.events.log("from the second process")
    folder.finish({"n": 1})

    assert [item.name for item in folder.path.iterdir()] == ["run.json"]
