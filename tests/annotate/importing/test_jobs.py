"""An import's life: checked whole, written whole, stopped, refused, killed and taken up again."""

import gzip
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from annotate.importing import jobs, progress
from annotate.importing.errors import ImportStopped
from annotate.importing.plans import plan_for
from annotate.importing.taking_in import take_in_rows
from annotate.models import Annotation, Import, Item

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


def rows(*numbers):
    return [{"id": f"i-{n}", "prompt": f"Question {n}?", "responses": ["Yes.", "No."]} for n in numbers]


@pytest.fixture
def uploaded(project, write):
    """Upload a file, as the page does."""

    def upload(content, name="items.jsonl", by=None) -> Import:
        data = write(content, name).read_bytes()
        return jobs.keep_upload(project=project, upload=SimpleUploadedFile(name, data), by=by)

    return upload


@pytest.fixture
def queued(uploaded, django_capture_on_commit_callbacks):
    """Upload and queue a file; no worker has seen it yet."""

    def queue(content, name="items.jsonl") -> Import:
        imported = uploaded(content, name)
        jobs.queue(imported=imported, plan=plan_for(Path(imported.path)), send=lambda pk: None)
        return imported

    return queue


def run(imported: Import) -> Import:
    jobs.run(imported.pk)
    imported.refresh_from_db()
    return imported


def test_a_queued_file_is_taken_in_and_thrown_away(queued):
    imported = queued(rows(1, 2))
    path = Path(imported.path)
    done = run(imported)

    assert (done.state, done.format, done.rows_read, done.items_created, done.error_count) == (
        "done",
        "native",
        2,
        2,
        0,
    )
    assert (done.path, path.exists()) == ("", False)
    assert list(progress.folder().iterdir()) == []
    assert set(Item.objects.values_list("source", flat=True)) == {imported.pk}


def test_the_same_file_twice_adds_nothing(queued):
    run(queued(rows(1, 2)))
    again = run(queued(rows(1, 2)))

    assert (again.state, again.items_created, again.items_existing) == ("done", 0, 2)
    assert Item.objects.count() == 2


def test_every_bad_row_is_named_and_nothing_comes_in(queued, project):
    content = rows(1, 2)
    content[1]["id"] = "i-1"
    content += [{"prompt": "x", "responses": []}, {"prompt": "N\0", "responses": ["x"]}]
    done = run(queued(content))

    assert (done.state, done.error_count, done.rows_read) == ("failed", 3, 4)
    assert done.errors == [
        {"row": 2, "message": "the id “i-1” stands in row 1 with other content: give one row another id."},
        {"row": 3, "message": "there is no response: give at least one under “responses”."},
        {"row": 4, "message": "“prompt” holds a NUL character, which databases cannot store: remove it."},
    ]
    assert Item.objects.count() == 0
    assert Path(done.path).exists()  # to be tried with other settings


def test_an_id_that_the_project_uses_otherwise_is_named_with_its_row(queued, project):
    run(queued(rows(1)))
    content = [*rows(2, 3), {"prompt": "x", "responses": []}]
    content[1]["id"] = "i-1"
    done = run(queued(content))

    assert done.errors == [
        {"row": 2, "message": "the project has another item with the id “i-1”: give this row another id."},
        {"row": 3, "message": "there is no response: give at least one under “responses”."},
    ]
    assert Item.objects.count() == 1


def test_only_the_first_hundred_errors_are_kept_and_all_are_counted(queued):
    done = run(queued(rows(0) + [{"prompt": "x", "responses": []}] * 250))

    assert (done.error_count, len(done.errors)) == (250, 100)
    assert [error["row"] for error in done.errors[:2]] == [2, 3]


def test_a_truncated_gzip_brings_nothing_in(uploaded, project):
    data = gzip.compress("".join(f'{{"prompt": "{n}", "responses": ["{n * 7}"]}}\n' for n in range(5000)).encode())
    imported = uploaded(data[:-300], "cut.bin")
    jobs.queue(imported=imported, plan=plan_for(Path(imported.path)), send=lambda pk: None)
    done = run(imported)

    assert (done.state, done.error_count) == ("failed", 1)
    assert done.errors[0]["message"] == "the gzip file ends in the middle: copy or pack it again."
    assert Item.objects.count() == 0


def test_a_failed_file_can_be_tried_again_with_another_mapping(uploaded):
    imported = uploaded("prompt,a,b,x\nHi,yes,no,maybe\n", "items.csv")
    jobs.queue(imported=imported, plan=plan_for(Path(imported.path), mapping={"x": "choice"}), send=lambda pk: None)
    assert run(imported).state == "failed"

    assert jobs.queue(imported=imported, plan=plan_for(Path(imported.path)), send=lambda pk: None)
    assert (run(imported).state, imported.errors, imported.items_created) == ("done", [], 1)


def test_a_project_without_a_preference_question_says_so(queued, project):
    project.questions.all().delete()
    done = run(queued([{"prompt": "x", "chosen": "a", "rejected": "b"}]))

    assert "the project asks no question “preference” (it asks none)" in done.errors[0]["message"]


def test_choices_go_under_the_projects_own_preference_question(queued, project):
    project.questions.filter(name="preference").update(name="better")
    run(queued([{"prompt": "x", "chosen": "a", "rejected": "b"}]))

    assert list(Annotation.objects.get().answers) == ["better"]


def test_an_import_runs_once_however_often_it_is_asked_for(queued):
    imported = queued(rows(1))
    assert jobs.claim(imported.pk) is not None
    assert jobs.claim(imported.pk) is None
    run(imported)

    assert (imported.state, Item.objects.count()) == ("running", 0)


def test_an_import_whose_worker_is_gone_is_taken_up_again(queued):
    imported = queued(rows(1))
    jobs.claim(imported.pk)
    progress.Reporter(imported.pk).checking(1, 2, 1)
    long_ago = timezone.now() - timedelta(minutes=5)
    Import.objects.update(heartbeat=long_ago)
    assert jobs.due() == []  # its progress is fresh: somebody is at work

    os.utime(progress.progress_file(imported.pk), (long_ago.timestamp(), long_ago.timestamp()))
    assert jobs.due() == [imported.pk]
    assert run(imported).state == "done"


def test_an_import_whose_message_was_lost_is_asked_for_again_but_not_at_once(queued):
    imported = queued(rows(1))
    assert jobs.due() == []

    Import.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
    assert jobs.due() == [imported.pk]
    assert jobs.due() == []


def test_a_command_that_was_killed_is_reported_as_interrupted(project):
    imported = Import.objects.create(
        project=project,
        file_name="x",
        path="",
        state=Import.RUNNING,
        heartbeat=timezone.now() - timedelta(minutes=5),
    )
    assert jobs.due() == []
    imported.refresh_from_db()

    assert (imported.state, imported.errors[0]["message"]) == ("failed", jobs.INTERRUPTED)


def test_a_stop_while_reading_puts_the_file_back_to_waiting(queued):
    imported = queued(rows(1, 2))
    jobs.claim(imported.pk)
    jobs.stop(imported=imported)
    Import.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))  # so that it can be taken up

    assert run(imported).state == "uploaded"
    assert Item.objects.count() == 0
    assert Path(imported.path).exists()


def test_a_stop_while_writing_undoes_what_was_written(queued, monkeypatch):
    imported = queued(rows(1, 2, 3))

    def stop_after_writing(*, written, **given):
        def told(count):
            if not count:
                return
            progress.ask_to_stop(imported.pk)
            written(count)

        return take_in_rows(written=told, **given)

    monkeypatch.setattr(jobs, "take_in_rows", stop_after_writing)

    assert run(imported).state == "uploaded"
    assert Item.objects.count() == 0


def test_a_stop_before_any_worker_has_it_is_immediate(queued):
    imported = queued(rows(1))
    jobs.stop(imported=imported)

    assert run(imported).state == "uploaded"


def test_an_import_that_was_stopped_can_be_queued_again(queued):
    imported = queued(rows(1))
    jobs.stop(imported=imported)
    jobs.queue(imported=imported, plan=plan_for(Path(imported.path)), send=lambda pk: None)

    assert run(imported).state == "done"


def test_an_import_that_is_no_longer_running_writes_nothing(queued):
    imported = queued(rows(1))
    jobs.claim(imported.pk)
    Import.objects.update(state=Import.FAILED)

    with pytest.raises(ImportStopped):
        jobs.bring_in(imported=imported, plan=plan_for(Path(imported.path)), reporter=progress.Reporter(imported.pk))
    assert Item.objects.count() == 0


def test_a_crash_is_said_on_the_page_and_raised_for_the_operator(queued, monkeypatch):
    def crash(**given):
        raise ZeroDivisionError

    imported = queued(rows(1))
    monkeypatch.setattr(jobs, "take_in_rows", crash)
    with pytest.raises(ZeroDivisionError):
        jobs.run(imported.pk)
    imported.refresh_from_db()

    assert (imported.state, imported.errors) == ("failed", [{"row": None, "message": jobs.BROKE}])


def test_a_lost_upload_is_one_sentence(queued):
    imported = queued(rows(1))
    Path(imported.path).unlink()

    assert run(imported).errors == [{"row": None, "message": jobs.GONE}]


def test_a_file_that_is_taken_in_cannot_be_thrown_away(queued, uploaded):
    done = run(queued(rows(1)))
    waiting = uploaded(rows(2))

    assert jobs.discard(imported=done) is False
    assert jobs.discard(imported=waiting) is True
    assert not Path(waiting.path).exists()
    assert list(Import.objects.all()) == [done]


def test_uploads_that_nobody_takes_in_are_forgotten_after_a_week(uploaded, queued):
    waiting, fresh = uploaded(rows(1)), uploaded(rows(2))
    failed = run(queued([*rows(3), {"prompt": "x", "responses": []}]))
    Import.objects.exclude(pk=fresh.pk).update(created_at=timezone.now() - timedelta(days=8))
    jobs.forget_old_uploads()

    assert not Path(waiting.path).exists()
    assert not Path(failed.path).exists()
    assert Path(fresh.path).exists()
    assert set(Import.objects.values_list("pk", "state", "path")) == {
        (fresh.pk, "uploaded", fresh.path),
        (failed.pk, "failed", ""),
    }


def test_progress_says_how_far_and_how_long(project):
    seen = []
    reporter = progress.Reporter(7, seen.append)
    reporter.checking(250, 1000, 40)
    reporter.checking(300, 1000, 50)  # too soon after the first to be told
    reporter.writing(20)

    assert [(one.stage, one.done, one.total, one.rows) for one in seen] == [
        ("checking", 250, 1000, 40),
        ("writing", 20, 50, 50),
    ]
    assert progress.read(7) == seen[-1]
    assert progress.Progress("checking", 250, 1000, 40, 10.0).seconds_left == 30.0
    assert progress.Progress("checking", 0, 1000, 0, 10.0).seconds_left is None
    assert progress.Progress("checking", 250, 1000, 40, 0.9).seconds_left is None
