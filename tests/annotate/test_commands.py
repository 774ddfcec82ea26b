"""create_project and import_items: output for people and machines, and exit codes that mean something."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from annotate import commands
from annotate.models import Import, Item, Project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


def call(*args, **options):
    """(stdout, stderr) of a command."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*args, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def refused(*args):
    """(exit code, message, stdout) of a command that fails."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(*args, stdout=out, stderr=io.StringIO())
    return error.value.returncode, str(error.value), out.getvalue()


def test_create_project_makes_what_was_asked_for(manager, tmp_path):
    guidelines = tmp_path / "guidelines.md"
    guidelines.write_text("# Be brief")
    out, _ = call("create_project", "Short answers", "--guidelines", str(guidelines), "--manager", "mona",
                  "--overlap", "3", "--judge-share", "40", "--both-share", "10", "--json")  # fmt: skip

    assert json.loads(out) == {
        "project": "short-answers",
        "name": "Short answers",
        "questions": ["preference", "helpful"],
    }
    made = Project.objects.get(slug="short-answers")
    assert (made.guidelines, made.overlap, made.judge_share, made.both_share) == ("# Be brief", 3, 40, 10)
    assert made.memberships.get().user == manager


def test_create_project_speaks_to_people():
    assert call("create_project", "Short answers", "--slug", "short")[0] == (
        "Short answers is ready as “short”; it asks: preference, helpful.\n"
    )


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["Everyday help", "--slug", "everyday-help"], 1, "There is a project 'everyday-help' already"),
        (["X", "--slug", "a b"], 2, "--slug is 'a b': use letters"),
        (["X", "--manager", "nobody"], 2, "There is no user 'nobody'"),
        (["X", "--guidelines", "/nowhere.md"], 2, "The guidelines at /nowhere.md cannot be read"),
        (["X", "--judge-share", "60", "--both-share", "50"], 2, "more than 100 together"),
        (["x" * 121], 2, "The name has 121 characters"),
    ],
)
def test_create_project_refuses_in_words(project, args, code, words):
    found, message, _ = refused("create_project", *args)

    assert found == code
    assert words in message


def test_import_items_reports_what_came_of_it(project, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("q,one,two,who won\nHi?,x,y,a\nHo?,x,z,b\n")
    args = ["import_items", "everyday-help", str(path), "--map", "prompt=q", "--map", "response_a=one",
            "--map", "response_b=two", "--map", "choice=who won"]  # fmt: skip
    out, err = call(*args, "--json")
    result = json.loads(out)

    assert (result["items_created"], result["annotations_created"], result["format"]) == (2, 2, "csv")
    assert result["mapping"] == {"q": "prompt", "one": "response_a", "two": "response_b", "who won": "choice"}
    assert "checking:" in err
    again = call(*args)[0]
    assert again == "items.csv (csv), 2 rows: 0 new items, 2 there before; 0 new annotations, 2 there before.\n"
    assert Import.objects.filter(state="done").count() == 2


def test_import_items_fails_with_rows_and_brings_nothing_in(project, tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"prompt": "x", "responses": ["a"]}\n{"prompt": "x", "responses": []}\n{nope\n')
    code, message, out = refused("import_items", "everyday-help", str(path), "--json")

    assert code == 1
    assert message.splitlines() == [
        "Nothing was taken in from items.jsonl.",
        "Row 2: there is no response: give at least one under “responses”.",
        "Row 3: this is not valid JSON (Expecting property name enclosed in double quotes at character 2): "
        "write one object a line.",
    ]
    assert [error["row"] for error in json.loads(out)["errors"]] == [2, 3]
    assert Item.objects.count() == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere", "x"], 2, "There is no project 'nowhere': the projects are everyday-help."),
        (["everyday-help", "/no/file"], 2, "There is no file /no/file"),
    ],
)
def test_import_items_refuses_wrong_use(project, args, code, words):
    found, message, _ = refused("import_items", *args)

    assert (found, message.startswith(words)) == (code, True)


def test_an_interrupted_command_ends_with_130(project, tmp_path, monkeypatch):
    def interrupted(**given):
        raise KeyboardInterrupt

    monkeypatch.setattr("annotate.importing.jobs.check_file", interrupted)
    path = tmp_path / "items.jsonl"
    path.write_text('{"prompt": "x", "responses": ["a"]}\n')

    assert refused("import_items", "everyday-help", str(path))[0] == 130
    assert Import.objects.get().state == "failed"


def test_expected_exceptions_end_a_command_with_1_and_its_json():
    class Told(commands.JsonCommand):
        expected = (ValueError,)

        def run(self, **options):
            raise ValueError("Not today.")

    code, message, out = refused(Told(), "--json")
    assert (code, message, json.loads(out)) == (1, "Not today.", {"error": "Not today."})


@pytest.mark.parametrize(
    ("error", "code"), [(commands.Failed("Not today."), 1), (commands.WrongUse("Not today."), 2)], ids=["1", "2"]
)
def test_a_command_that_ends_badly_says_its_sentence_and_nothing_else(error, code):
    class Told(commands.JsonCommand):
        requires_system_checks = []

        def run(self, **options):
            raise error

    said = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        Told(stderr=said).run_from_argv(["manage.py", "told"])
    assert (ended.value.code, said.getvalue()) == (code, "Not today.\n")


@pytest.mark.stage
def test_exit_codes_of_a_real_process(tmp_path):
    run = [sys.executable, "manage.py"]
    environment = {**os.environ, "PLUMBLINE_DEV": "1", "PLUMBLINE_VAR": str(tmp_path / "var"), "DATABASE_URL": ""}
    unknown = subprocess.run([*run, "import_items", "--nonsense"], env=environment, capture_output=True, text=True)

    assert unknown.returncode == 2
    assert "usage: manage.py import_items" in unknown.stderr


SLOW = """
import os, signal, sys, django
django.setup()
from annotate.commands import JsonCommand
class Slow(JsonCommand):
    requires_system_checks = []
    def run(self, **options):
        print("begun", flush=True)
        signal.pause()
Slow().run_from_argv(["manage.py", "slow"])
"""


@pytest.mark.stage
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_real_process_with_130(tmp_path, sent):
    environment = {
        **os.environ,
        "PLUMBLINE_DEV": "1",
        "PLUMBLINE_VAR": str(tmp_path / "var"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(sent)
        try:
            assert process.wait(timeout=20) == 130
        finally:
            process.kill()
        assert "Stopped." in process.stderr.read()
