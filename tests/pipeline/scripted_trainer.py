"""A stand-in for a stage in tests of the launcher: it keeps to the run folder's contract and does what it is told.

    python -m tests.pipeline.scripted_trainer RUN_JSON ACTION …

Actions, in order: `until:NAME` waits for a file of that name in the folder (a stop ends the wait: checkpoint, event,
exit 130), `deaf` ignores SIGTERM from here on, `die` kills itself with SIGKILL, `die-once` does so unless it has
before, `exit:N` leaves with that code, `fail` and `crash` report a failure, `speak:TEXT` writes to stderr, `metric:N`
writes N metric events. It then finishes. Each start adds a line to `starts.txt`.
"""

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.ml.records import RunFolder

LONGEST_WAIT = 60.0

stop_asked = False


def note_stop(number, frame):
    global stop_asked  # noqa: PLW0603
    stop_asked = True


def wait_for(folder, path):
    deadline = time.monotonic() + LONGEST_WAIT
    while not path.exists():
        if stop_asked:
            folder.events.checkpoint(1, folder.checkpoints / "checkpoint-1")
            folder.events.stopped(1)
            sys.exit(130)
        if time.monotonic() > deadline:
            sys.exit("nobody made " + str(path))
        time.sleep(0.01)


def act(folder, action):
    name, _, value = action.partition(":")
    if name == "until":
        wait_for(folder, folder.path / value)
    elif name == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        folder.events.log("deaf")
    elif name == "die" or (name == "die-once" and len((folder.path / "starts.txt").read_text().split()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "exit":
        sys.exit(int(value))
    elif name == "fail":
        folder.events.failed("The pairs are all ties: label more.", expected=True)
        sys.exit(1)
    elif name == "crash":
        folder.events.failed("ValueError: boom", expected=False, traceback="Traceback …\nValueError: boom")
        sys.exit(1)
    elif name == "speak":
        print(value, file=sys.stderr, flush=True)
    elif name == "metric":
        for step in range(1, int(value) + 1):
            folder.events.metric(step, loss=1.0 / step)
            folder.events.progress(step, int(value), stage="training", seconds_left=0.0)


def main():
    signal.signal(signal.SIGTERM, note_stop)
    folder = RunFolder(Path(sys.argv[1]).parent)
    folder.acquire()
    with (folder.path / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    folder.events.progress(0, 0, stage="starting")
    for action in sys.argv[2:]:
        act(folder, action)
    folder.finish({"n": 3})


main()
