"""The launcher: whatever dies, the run goes on from what lies in its folder, and ends in one way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from pipeline import launcher, outcomes, runs
from pipeline.launcher import CANCEL, FAIL, FINISH, GIVE_UP, START, WATCH, Facts, decide
from pipeline.ml.records import RunFolder
from pipeline.models import Run, RunEvent

SCRIPT = "tests.pipeline.scripted_trainer"
PATIENCE = 30.0  # seconds that a test waits for a condition before it fails


# --- The decision ---------------------------------------------------------------------------------------------
def facts(**known):
    return Facts(
        **{"held": False, "complete": False, "cancelled": False, "last_event": "", "attempt": 1, "max_attempts": 3}
        | known
    )


@pytest.mark.parametrize(
    ("known", "decision"),
    [
        ({"held": True, "complete": True, "cancelled": True}, WATCH),
        ({"complete": True, "cancelled": True}, FINISH),
        ({"cancelled": True, "last_event": "failed"}, CANCEL),
        ({"attempt": 0}, START),
        ({"attempt": 0, "last_event": "failed"}, START),  # resumed by hand: an old failure does not count
        ({"last_event": "failed"}, FAIL),
        ({"last_event": "stopped"}, START),
        ({"last_event": "stopped", "attempt": 3}, START),  # asked to stop, which is not dying
        ({"last_event": "metric", "attempt": 2}, START),
        ({"last_event": "metric", "attempt": 3}, GIVE_UP),
        ({"attempt": 3}, GIVE_UP),
    ],
)
def test_what_to_do_follows_from_what_lies_there(known, decision):
    assert decide(facts(**known)) == decision


# --- With processes -------------------------------------------------------------------------------------------
def scripted(*actions):
    """A command that runs the stand-in trainer with these actions."""
    return lambda run: [sys.executable, "-m", SCRIPT, f"{run.folder}/run.json", *actions]


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
    return found


def starts(run):
    file = Path(run.folder) / "starts.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def gone(pid):
    """Has the process ended? A dead child that nobody has waited for counts as ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.fixture
def run(project, make_run, monkeypatch):
    """A queued run whose outcome is a note, since its kind is only a name here."""
    monkeypatch.setitem(outcomes.OUTCOMES, "generate", lambda run: "Taken in.")
    made = make_run(project)
    yield made
    for pid in starts(made):
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def beside():
    """Run a function in a thread beside the test; what it raises fails the test, which waits for its end."""
    threads, errors = [], []

    def start(function, *arguments, **named):
        def work():
            try:
                function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001 - raised again below
                errors.append(error)
            finally:
                connection.close()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []


@pytest.fixture
def watcher_process(run, database_url):
    """A worker's stand-in: a process of its own that drives the run with the stand-in trainer."""
    started = []

    def start(*actions):
        code = (
            "import django; django.setup()\n"
            "import sys\n"
            "from pipeline import launcher, outcomes, shutdown\n"
            "outcomes.OUTCOMES['generate'] = lambda run: 'Taken in.'\n"
            "command = lambda run: [sys.executable, '-m', sys.argv[1], run.folder + '/run.json', *sys.argv[3:]]\n"
            "with shutdown.noticing_signals(over=True) as stop:\n"
            "    launcher.drive(int(sys.argv[2]), stop=stop, command=command)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, SCRIPT, str(run.pk), *actions],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": database_url,
            },
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


pytestmark = pytest.mark.stage
needs_rows = pytest.mark.django_db(transaction=True)


@needs_rows
def test_a_run_is_driven_to_its_end(run):
    seen = []
    launcher.drive(run.pk, command=scripted("metric:3"), report=lambda run: seen.append(run.step))
    run.refresh_from_db()
    assert (run.state, run.message, run.result, run.attempt) == ("succeeded", "Taken in.", {"n": 3}, 1)
    assert (run.step, run.total) == (3, 3)
    assert list(RunEvent.objects.filter(run=run, event="metric").values_list("step", flat=True)) == [1, 2, 3]
    assert run.started_at <= run.finished_at


@needs_rows
def test_a_finished_run_is_left_alone(run):
    launcher.drive(run.pk, command=scripted())
    launcher.drive(run.pk, command=scripted())
    assert len(starts(run)) == 1


@needs_rows
def test_an_expected_failure_ends_with_its_sentence(run):
    launcher.drive(run.pk, command=scripted("fail"))
    run.refresh_from_db()
    assert (run.state, run.message, run.traceback) == ("failed", "The pairs are all ties: label more.", "")
    assert len(starts(run)) == 1


@needs_rows
def test_a_crash_shows_its_traceback(run):
    launcher.drive(run.pk, command=scripted("crash"))
    run.refresh_from_db()
    assert (run.state, run.message) == ("errored", "ValueError: boom")
    assert "Traceback …" in run.traceback


@needs_rows
def test_an_outcome_that_breaks_is_a_crash_with_a_traceback(run, monkeypatch):
    def breaks(run):
        raise ZeroDivisionError("oh")

    monkeypatch.setitem(outcomes.OUTCOMES, "generate", breaks)
    launcher.drive(run.pk, command=scripted())
    run.refresh_from_db()
    assert run.state == "errored"
    assert run.message == "The result could not be taken in: ZeroDivisionError: oh"
    assert "in breaks" in run.traceback
    monkeypatch.setitem(outcomes.OUTCOMES, "generate", lambda run: "Now it is.")
    runs.resume(run=run)
    launcher.drive(run.pk, command=scripted())
    run.refresh_from_db()
    assert (run.state, run.message) == ("succeeded", "Now it is.")
    assert len(starts(run)) == 1  # the trainer's work was done and was not done again


@needs_rows
def test_a_killed_trainer_is_started_again(run):
    launcher.drive(run.pk, command=scripted("die-once"))
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("succeeded", 2)
    assert len(starts(run)) == 2


@needs_rows
def test_a_trainer_that_dies_each_time_is_given_up(run):
    launcher.drive(run.pk, command=scripted("speak:cannot allocate", "die"))
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("errored", 3)
    assert len(starts(run)) == 3
    assert "died 3 times" in run.message
    assert "signal 9" in run.message
    assert run.traceback == "cannot allocate"  # the last words of the last attempt, not of all


@needs_rows
def test_a_trainer_that_leaves_without_a_result_is_a_crash(run):
    Run.objects.filter(pk=run.pk).update(max_attempts=1)
    launcher.drive(run.pk, command=scripted("speak:no space left", "exit:4"))
    run.refresh_from_db()
    assert run.state == "errored"
    assert "exit code 4" in run.message
    assert run.traceback == "no space left"


@needs_rows
def test_resuming_after_a_failure_starts_anew(run):
    launcher.drive(run.pk, command=scripted("fail"))
    runs.resume(run=run)
    launcher.drive(run.pk, command=scripted())
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("succeeded", 1)


@needs_rows
def test_a_polite_trainer_is_cancelled_within_seconds(run, beside):
    beside(launcher.drive, run.pk, command=scripted("until:never"))
    (pid,) = wait_until(lambda: starts(run), "the trainer has started")
    asked = time.monotonic()
    runs.cancel(run=run)
    wait_until(lambda: Run.objects.get(pk=run.pk).state == "cancelled", "the run is cancelled")
    assert time.monotonic() - asked < 5.0
    assert gone(pid)


@needs_rows
def test_a_deaf_trainer_is_cancelled_within_five_seconds(run, beside):
    beside(launcher.drive, run.pk, command=scripted("deaf", "until:never"))
    wait_until(lambda: RunEvent.objects.filter(run=run, data__message="deaf").exists(), "it has gone deaf")
    asked = time.monotonic()
    runs.cancel(run=run)
    wait_until(lambda: Run.objects.get(pk=run.pk).state == "cancelled", "the run is cancelled")
    assert time.monotonic() - asked < 5.0
    assert gone(starts(run)[0])
    run.refresh_from_db()
    assert run.message == "Stopped."


@needs_rows
def test_a_killed_watcher_leaves_its_trainer_which_the_next_one_takes_up(run, watcher_process, beside):
    watcher = watcher_process("until:go")
    (pid,) = wait_until(lambda: starts(run), "the trainer has started")
    os.killpg(watcher.pid, signal.SIGKILL)  # with all of its group, as a supervisor or a terminal does
    watcher.wait()
    assert not gone(pid)
    launcher.drive(run.pk, command=scripted("until:go"))
    assert Run.objects.get(pk=run.pk).state == "running"  # its watcher has only just fallen silent: nothing happens
    Run.objects.filter(pk=run.pk).update(heartbeat=None)
    beside(launcher.drive, run.pk, command=scripted("until:go"))
    wait_until(lambda: Run.objects.get(pk=run.pk).heartbeat, "the next one watches")
    (Path(run.folder) / "go").touch()
    wait_until(lambda: Run.objects.get(pk=run.pk).state == "succeeded", "the run is over")
    assert starts(run) == [pid]  # no second trainer
    assert Run.objects.get(pk=run.pk).attempt == 1


@needs_rows
def test_a_trainer_that_lost_its_watcher_can_still_be_cancelled(run, watcher_process):
    watcher = watcher_process("deaf", "until:never")
    (pid,) = wait_until(lambda: starts(run), "the trainer has started")
    wait_until(lambda: RunFolder.is_held(run.folder), "it holds its lock")
    watcher.kill()
    watcher.wait()
    Run.objects.filter(pk=run.pk).update(heartbeat=None)
    runs.cancel(run=run)
    launcher.drive(run.pk)
    assert Run.objects.get(pk=run.pk).state == "cancelled"
    wait_until(lambda: gone(pid), "the trainer is gone")


@needs_rows
def test_a_watcher_that_has_to_go_leaves_a_checkpoint_and_a_queued_run(run, watcher_process):
    watcher = watcher_process("until:go")
    (pid,) = wait_until(lambda: starts(run), "the trainer has started")
    wait_until(lambda: RunFolder.is_held(run.folder), "it holds its lock")
    watcher.send_signal(signal.SIGTERM)
    watcher.wait(PATIENCE)
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("queued", 1)
    assert gone(pid)
    assert [event.event for event in RunEvent.objects.filter(run=run)] == ["checkpoint", "stopped"]
    (Path(run.folder) / "go").touch()
    launcher.drive(run.pk, command=scripted("until:go"))
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("succeeded", 1)  # having to stop is no failed attempt
    assert len(starts(run)) == 2


@needs_rows
def test_a_watcher_that_has_to_go_does_not_wait_for_a_slow_trainer(run, watcher_process):
    """The run is queued in time all the same, and what becomes of the trainer is not counted as a failed attempt."""
    watcher = watcher_process("deaf", "until:go")
    wait_until(lambda: RunEvent.objects.filter(run=run, data__message="deaf").exists(), "it has gone deaf")
    watcher.send_signal(signal.SIGTERM)
    wait_until(lambda: Run.objects.get(pk=run.pk).state == "queued", "the run is queued")
    (pid,) = starts(run)
    assert not gone(pid)
    os.kill(pid, signal.SIGKILL)
    watcher.wait(PATIENCE)
    (Path(run.folder) / "go").touch()
    launcher.drive(run.pk, command=scripted("until:go"))
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("succeeded", 1)
    assert len(starts(run)) == 2


@needs_rows
def test_of_two_workers_one_drives(run, beside):
    beside(launcher.drive, run.pk, command=scripted("until:go"))
    wait_until(lambda: starts(run), "the trainer has started")
    launcher.drive(run.pk, command=scripted("until:go"))
    (Path(run.folder) / "go").touch()
    wait_until(lambda: Run.objects.get(pk=run.pk).state == "succeeded", "the run is over")
    assert len(starts(run)) == 1


@needs_rows
def test_a_watcher_whose_run_was_taken_over_leaves_the_trainer_alone(run, beside):
    first = beside(launcher.drive, run.pk, command=scripted("until:go"))
    (pid,) = wait_until(lambda: starts(run), "the trainer has started")
    Run.objects.filter(pk=run.pk).update(watcher="somebody else")
    first.join(PATIENCE)
    assert not gone(pid)
    Run.objects.filter(pk=run.pk).update(heartbeat=None)
    (Path(run.folder) / "go").touch()
    launcher.drive(run.pk, command=scripted("until:go"))
    assert Run.objects.get(pk=run.pk).state == "succeeded"
    assert starts(run) == [pid]


@needs_rows
def test_a_trainer_on_another_machine_is_not_signalled(run):
    """The number in its lock file means some other process here, which must come to no harm."""
    folder = RunFolder(run.folder)
    folder.acquire()  # this very process holds the lock; its command line does not name the folder
    try:
        Run.objects.filter(pk=run.pk).update(cancel_requested=True)
        launcher.drive(run.pk)
        run.refresh_from_db()
        assert (run.state, run.watcher, run.heartbeat) == ("running", "", None)
    finally:
        folder.release()


@needs_rows
def test_a_trainer_gets_none_of_the_sites_secrets(run, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "s" * 40)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = "import os,json,sys; open(sys.argv[1],'w').write(json.dumps(sorted(os.environ)))"
    written = Path(run.folder) / "environment.json"
    Run.objects.filter(pk=run.pk).update(max_attempts=1)
    launcher.drive(run.pk, command=lambda run: [sys.executable, "-c", told, str(written)])
    names = json.loads(written.read_text())
    assert "OMP_NUM_THREADS" in names
    assert "SECRET_KEY" not in names
    assert "DATABASE_URL" not in names
