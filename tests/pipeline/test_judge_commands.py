"""manage.py route, judge and export_dataset: what they do, print and exit with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotate import submitting
from annotate.models import Annotation
from pipeline.models import Judge, JudgeCall, Route
from tests import factories
from tests.pipeline.judge_server import Answer, error

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


def run(capsys, *arguments):
    """(exit code, what --json printed, stderr)."""
    try:
        call_command(*[str(argument) for argument in arguments], "--json")
        code, message = 0, ""
    except CommandError as failure:
        code, message = failure.returncode, str(failure)
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, message + said.err


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")


def test_route(project, capsys):
    for _ in range(3):
        factories.item(project, route="", overlap=0, slots_open=0)
    code, result, _ = run(capsys, "route", project.slug, "--limit", 2)
    assert (code, result["routed"], result["human"], result["judge"]) == (0, 2, 2, 0)
    assert Route.objects.count() == 2
    call_command("route", project.slug)
    assert capsys.readouterr().out.startswith("1 items routed: 1 to people, 0 to the judge, 0 to both.")


@pytest.mark.parametrize(
    "arguments", [("route", "nowhere"), ("judge", "nowhere"), ("export_dataset", "nowhere", "--out", "x")]
)
def test_an_unknown_project_is_wrong_use(db, capsys, arguments):
    code, _, message = run(capsys, *arguments)
    assert code == 2
    assert "There is no project 'nowhere'" in message


@pytest.mark.parametrize("command", ["route", "judge"])
@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_that_is_none_is_wrong_use(project, capsys, command, limit):
    with pytest.raises(CommandError, match="is not a whole number from 1"):
        call_command(command, project.slug, f"--limit={limit}")


def test_judge(judge, judged_item, server, capsys):
    judged_item()
    judged_item()
    code, result, _ = run(capsys, "judge", judge.project.slug, "--limit", 1)
    (row,) = result["judges"]
    assert (code, row["judge"], row["asked"], row["answered"], row["state"]) == (0, "careful", 2, 2, "ready")
    call_command("judge", judge.project.slug, "--judge", "careful")
    assert capsys.readouterr().out == "careful: 2 answered, 0 unparsable, 0 failed, 0 still due.\n"


def test_judge_without_a_judge_is_wrong_use(project, capsys):
    assert run(capsys, "judge", project.slug)[0] == 2
    code, _, message = run(capsys, "judge", project.slug, "--judge", "x")
    assert code == 2
    assert "There is no judge 'x' that is switched on: there are none." in message


def test_a_judge_that_cannot_be_asked_fails_the_command(judge, judged_item, server, capsys):
    judged_item()
    server.respond = lambda request: error(401, "no such key")
    code, result, message = run(capsys, "judge", judge.project.slug)
    assert code == 1
    assert "careful: The endpoint says 401: no such key" in message
    assert result["judges"][0]["pending"] == 2


def settled(project, choice="a"):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    rater = project.raters.filter(name="ann").first() or factories.rater(project, "ann")
    row = submitting.ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choice}})
    submitting.record_imported(project=project, rows=[row])


def test_export_dataset(project, capsys, tmp_path):
    for _ in range(4):
        settled(project)
    out = tmp_path / "export"
    code, result, _ = run(capsys, "export_dataset", project.slug, "--format", "trl-preference", "--out", out)
    assert (code, result["snapshot"], result["counts"]["rows"]) == (0, 1, 4)
    assert sorted(path.name for path in out.iterdir()) == sorted(result["files"])
    code, _, message = run(capsys, "export_dataset", project.slug, "--out", out)
    assert code == 1
    assert "is not empty: name a folder that is" in message
    code, _, message = run(capsys, "export_dataset", project.slug, "--out", tmp_path / "x", "--source", "judge")
    assert code == 1
    assert "none says which of two answers is better as asked for" in message
    code, _, message = run(capsys, "export_dataset", project.slug, "--out", tmp_path / "x", "--min-probability", 0.2)
    assert (code, message) == (1, "The least probability is 0.2: choose one from 0.5 to 1.")
    assert not (tmp_path / "x").exists()


def judging_process(project):
    """`manage.py judge` as a process of its own, on the test's database."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else f"postgres://root@127.0.0.1/{name}"
    if connection.vendor == "postgresql":
        host, user = connection.settings_dict["HOST"], connection.settings_dict["USER"]
        url = f"postgres://{user}:{connection.settings_dict['PASSWORD']}@{host}/{name}"
    return subprocess.Popen(
        [sys.executable, "manage.py", "judge", project.slug, "--json"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=40):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.stage
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_judging_process_can_be_killed_at_any_moment(judge, judged_item, server, ending, monkeypatch):
    """Money, annotations and states add up whatever ends it."""
    for _ in range(15):
        judged_item()
    server.respond = lambda request: Answer(wait=0.1)
    process = judging_process(judge.project)
    wait_for(lambda: Annotation.objects.count() >= 4)
    process.send_signal(ending)
    _, message = process.communicate(timeout=30)
    assert process.returncode == (-9 if ending == signal.SIGKILL else 130), message
    judge.refresh_from_db()
    half_done = Annotation.objects.count()
    assert 0 < half_done < 30
    assert judge.spent_units == half_done * 210_000_000
    Judge.objects.update(lease_until=None)
    server.respond = lambda request: Answer()
    call_command("judge", judge.project.slug)
    judge.refresh_from_db()
    assert Annotation.objects.count() == 30
    assert set(JudgeCall.objects.values_list("state", flat=True)) == {"answered"}
    assert judge.spent_units == 30 * 210_000_000 == sum(JudgeCall.objects.values_list("cost_units", flat=True))
    assert judge.reserved_units == 0
    # What was with the endpoint, or had come back a moment ago, when the process was killed is asked twice, and booked
    # as what it may have cost.
    asked_twice = len(server.requests) - 30
    assert (asked_twice > 0) == (judge.unknown_units > 0) == (ending == signal.SIGKILL)
    assert asked_twice <= 3 * judge.concurrency
