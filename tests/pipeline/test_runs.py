"""Runs as rows: what may change a run's state, and what may not."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from pipeline import runs
from pipeline.ml.configs import ConfigError
from pipeline.ml.records import Events
from pipeline.models import Run, RunEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project, make_run):
    return make_run(project)


def claimed(run, watcher="one"):
    return runs.claim(run.pk, watcher=watcher)


def grow_old(run, **fields):
    Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(seconds=21), **fields)


def test_a_new_run_has_a_folder_that_says_all(project, make_run):
    run = make_run(project, config={"responses_per_prompt": 4})
    spec = json.loads((Path(run.folder) / "run.json").read_text())
    assert run.state == "queued"
    assert spec["stage"] == "generate"
    assert spec["run"] == run.pk
    assert spec["seed"] == run.seed
    assert spec["config"]["responses_per_prompt"] == 4
    assert spec["config"]["temperature"] == 0.8  # defaults stand there too
    assert set(spec["inputs"]) == {"model", "prompts"}


def test_settings_that_the_stage_refuses_make_no_run(project, make_run):
    with pytest.raises(ConfigError, match="temperature must be at most 5"):
        make_run(project, config={"temperature": 9.0})
    assert Run.objects.count() == 0


def test_a_run_without_an_input_is_refused(project):
    with pytest.raises(runs.RunError, match="the input “prompts” is missing"):
        runs.create_run(project=project, kind="generate", config={}, inputs={"model": {"path": "/m"}})


def test_a_folder_left_by_another_database_is_not_used(project, make_run):
    first = make_run(project)
    old = runs.artifacts("runs") / str(first.pk + 1)
    old.mkdir(exist_ok=True)
    (old / "manifest.json").write_text("{}")
    second = make_run(project)
    assert Path(second.folder) != old
    assert [file.name for file in Path(second.folder).iterdir()] == ["run.json"]
    shutil.rmtree(old)


def test_a_run_is_claimed_once(run):
    assert claimed(run, "one").watcher == "one"
    assert claimed(run, "two") is None


def test_a_run_whose_watcher_fell_silent_is_taken_over(run):
    first = claimed(run, "one")
    grow_old(run)
    second = claimed(run, "two")
    assert second.watcher == "two"
    with pytest.raises(runs.LostWatch):
        runs.take_in_events(run=first)
    runs.take_in_events(run=second)


def test_an_ended_run_is_not_claimed(run):
    runs.fail(run=claimed(run), message="no")
    assert claimed(run) is None


def test_events_are_taken_in_once_and_in_whole_lines(run):
    run = claimed(run)
    path = Path(run.folder) / "events.jsonl"
    events = Events(path)
    events.metric(1, loss=0.5)
    events.progress(1, 9, stage="training", seconds_left=8.0)
    with path.open("a") as stream:
        stream.write('{"t": 1.0, "event": "met')
    assert runs.take_in_events(run=run) is True
    assert runs.take_in_events(run=run) is False
    kept = RunEvent.objects.get(run=run)
    assert (kept.event, kept.step, kept.data) == ("metric", 1, {"values": {"loss": 0.5}})
    run.refresh_from_db()
    assert (run.step, run.total, run.progress["seconds_left"]) == (1, 9, 8.0)
    with path.open("a") as stream:
        stream.write('ric", "step": 2, "values": {"loss": 0.25}}\n')
    runs.take_in_events(run=run)
    assert list(RunEvent.objects.filter(run=run).values_list("step", flat=True)) == [1, 2]


def test_reading_the_same_lines_again_adds_nothing(run):
    run = claimed(run)
    Events(Path(run.folder) / "events.jsonl").metric(1, loss=0.5)
    runs.take_in_events(run=run)
    Run.objects.filter(pk=run.pk).update(events_offset=0)
    run.events_offset = 0
    runs.take_in_events(run=run)
    assert RunEvent.objects.filter(run=run).count() == 1


def test_text_that_a_database_refuses_is_made_harmless(run):
    run = claimed(run)
    with (Path(run.folder) / "events.jsonl").open("w") as stream:
        stream.write('{"t": 1.0, "event": "sample", "step": 1, "before": "a\\u0000b", "after": "\\ud800"}\n')
        stream.write("\0\0\0\n")
    runs.take_in_events(run=run)
    sample, spoilt = RunEvent.objects.filter(run=run)
    assert sample.data == {"before": "a\ufffdb", "after": "?"}
    assert spoilt.data["message"] == "A line of the events is unreadable."


def test_success_and_what_follows_from_it_stand_or_fall_together(run):
    run = claimed(run)

    def breaks(run):
        Run.objects.filter(pk=run.pk).update(message="half done")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        runs.succeed(run=run, result={"n": 1}, record=breaks)
    run = Run.objects.get(pk=run.pk)
    assert (run.state, run.message, run.result) == ("running", "", {})
    runs.succeed(run=run, result={"n": 1}, record=lambda run: "Well done.")
    run.refresh_from_db()
    assert (run.state, run.message, run.result) == ("succeeded", "Well done.", {"n": 1})


def test_a_result_is_recorded_once(run):
    recorded = []
    first = claimed(run, "one")
    grow_old(run)
    second = claimed(run, "two")
    runs.succeed(run=second, result={}, record=lambda run: recorded.append("two") or "")
    with pytest.raises(runs.LostWatch):
        runs.succeed(run=first, result={}, record=lambda run: recorded.append("one") or "")
    assert recorded == ["two"]


def test_a_queued_run_is_cancelled_at_once(run):
    runs.cancel(run=run)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert claimed(run) is None
    with pytest.raises(runs.RunError, match="has ended already"):
        runs.cancel(run=run)


def test_a_running_run_is_asked_to_stop(run):
    watched = claimed(run)
    assert runs.cancel_asked(watched) is False
    runs.cancel(run=run)
    assert runs.cancel_asked(watched) is True
    runs.end_cancelled(run=watched)
    run.refresh_from_db()
    assert (run.state, run.cancel_requested) == ("cancelled", False)


@pytest.mark.parametrize("ended", ["failed", "errored", "cancelled"])
def test_a_run_that_did_not_succeed_can_be_resumed(run, ended):
    Run.objects.filter(pk=run.pk).update(state=ended, attempt=3, message="why", traceback="where")
    runs.resume(run=run)
    run.refresh_from_db()
    assert (run.state, run.attempt, run.message, run.traceback) == ("queued", 0, "", "")


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_no_other_run_can_be_resumed(run, state):
    Run.objects.filter(pk=run.pk).update(state=state)
    with pytest.raises(runs.RunError, match="cannot be resumed"):
        runs.resume(run=run)


def test_rows_are_kept_under_the_name_of_their_content():
    first = runs.keep_rows([{"id": "1", "text": "é"}, {"id": "2"}])
    again = runs.keep_rows([{"id": "1", "text": "é"}, {"id": "2"}])
    assert first == again
    assert first["rows"] == 2
    assert Path(first["path"]).read_text(encoding="utf-8") == '{"id": "1", "text": "é"}\n{"id": "2"}\n'


# --- What is due ----------------------------------------------------------------------------------------------
def due_ids(seconds):
    return [run.pk for run in runs.due(timezone.now() + timedelta(seconds=seconds))]


def test_a_lost_message_is_sent_again_ever_more_seldom(run):
    made = timezone.now()
    Run.objects.filter(pk=run.pk).update(created_at=made, asked_at=made)
    asked_at = [second for second in range(0, 3600, 5) if runs.due(made + timedelta(seconds=second))]
    assert asked_at[:5] == [10, 20, 40, 80, 160]
    assert len(asked_at) <= 14  # in the first hour
    assert max(later - sooner for sooner, later in zip(asked_at, asked_at[1:], strict=False)) <= 600


def test_a_run_with_a_live_watcher_is_not_due(run):
    claimed(run)
    assert due_ids(15) == []


def test_a_run_whose_watcher_fell_silent_is_due(run):
    claimed(run)
    assert due_ids(25) == [run.pk]


def test_ended_runs_are_never_due(run):
    runs.fail(run=claimed(run), message="no")
    assert due_ids(100_000) == []
