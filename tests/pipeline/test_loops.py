"""Loops: they fire once when enough new labels are there, whatever looks how often and at the same time."""

import json
import threading

import pytest
from django.db import connection, transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from annotate.models import Change, Item
from config.celery import app
from pipeline import loops, recipes, registry, tasks
from pipeline.models import Loop, LoopFiring, Run
from tests import factories

needs_rows = pytest.mark.django_db
needs_threads = pytest.mark.django_db(transaction=True)


@pytest.fixture
def base(db, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return registry.register_base(path=tmp_path, name="tiny-base")


@pytest.fixture
def loop(project, admin, base):
    """Fires at 30 new labels."""
    return loops.create_loop(project=project, name="retrain", new_labels=30, every_minutes=5, by=admin)


def send_as_beat_would(loop):
    """Run the task that beat sends for the loop, by its name and arguments as they stand in the schedule."""
    periodic = PeriodicTask.objects.get(pk=loop.periodic_task_id)
    app.tasks[periodic.task].apply(args=json.loads(periodic.args), kwargs=json.loads(periodic.kwargs), throw=True)


def new_labels(loop):
    return loops.readings(Loop.objects.filter(pk=loop.pk))[loop.pk].new


# --- Making ---------------------------------------------------------------------------------------------------
@needs_rows
def test_a_loop_has_a_periodic_task(loop):
    task = loop.periodic_task
    assert (task.task, json.loads(task.args), task.enabled) == ("pipeline.tasks.look_loop", [loop.pk], True)
    assert (task.interval.every, task.interval.period) == (5, IntervalSchedule.MINUTES)
    assert task.task == tasks.look_loop.name


@needs_rows
def test_two_loops_share_an_interval_and_no_name(loop, project, admin):
    second = loops.create_loop(project=project, name="other", new_labels=1, every_minutes=5, by=admin)
    assert second.periodic_task.interval == loop.periodic_task.interval
    with pytest.raises(loops.LoopError, match="There is a loop “other” already"):
        loops.create_loop(project=project, name="other", new_labels=1, every_minutes=5, by=admin)
    assert PeriodicTask.objects.filter(task=loops.TASK).count() == 2


@needs_rows
def test_pausing_pauses_the_periodic_task(loop):
    loops.set_enabled(loop=loop, enabled=False)
    assert PeriodicTask.objects.get(pk=loop.periodic_task_id).enabled is False
    loops.set_enabled(loop=loop, enabled=True)
    assert PeriodicTask.objects.get(pk=loop.periodic_task_id).enabled is True


@needs_rows
def test_deleting_a_loop_takes_its_task_and_leaves_its_runs(loop, project, label_pairs):
    label_pairs(project, 40)
    loops.look(loop.pk)
    loops.delete_loop(loop=loop)
    assert not PeriodicTask.objects.filter(task=loops.TASK).exists()
    assert Run.objects.get().loop is None


@needs_rows
def test_a_task_whose_loop_went_with_its_project_is_removed(loop, project):
    Loop.objects.filter(pk=loop.pk).delete()
    assert PeriodicTask.objects.filter(task=loops.TASK).exists()
    loops.look(loop.pk)
    assert not PeriodicTask.objects.filter(task=loops.TASK).exists()


# --- Counting -------------------------------------------------------------------------------------------------
@needs_rows
def test_labels_that_were_there_before_are_not_new(project, admin, base, label_pairs):
    label_pairs(project, 40)
    loop = loops.create_loop(project=project, name="retrain", new_labels=30, every_minutes=5, by=admin)
    assert new_labels(loop) == 0
    label_pairs(project, 10, start=40)
    assert new_labels(loop) == 10


@needs_rows
def test_labels_of_judges_count_too_and_a_label_counts_once(loop, project, label_pairs):
    label_pairs(project, 4, kind="human", rater="mira")
    label_pairs(project, 4, start=4, kind="judge", rater="careful")
    label_pairs(project, 4, kind="human", rater="jonas")  # a second person about the first four
    assert new_labels(loop) == 8


@needs_rows
def test_what_others_label_does_not_count(loop, admin, label_pairs):
    label_pairs(factories.project(by=admin, name="Other"), 50)
    assert new_labels(loop) == 0


@needs_rows
def test_a_change_that_was_committed_late_below_the_cursor_counts(loop, project, label_pairs):
    """On PostgreSQL numbers are drawn before they are committed: the cursor may have passed them by then."""
    label_pairs(project, 5)
    newest = Change.objects.filter(project=project).latest("id")
    Change.objects.filter(pk=newest.pk).update(id=newest.pk + 1000)
    loop.cursor, loop.seen = newest.pk + 1000, 5
    loop.save()
    assert new_labels(loop) == 0
    late = factories.item(project, state=Item.LABELLED)
    Change.objects.create(id=newest.pk + 500, project=project, item=late, kind=Change.SUBMITTED)
    assert new_labels(loop) == 1


# --- Firing ---------------------------------------------------------------------------------------------------
@needs_rows
def test_it_does_not_fire_before_there_are_enough(loop, project, label_pairs):
    label_pairs(project, 29)
    send_as_beat_would(loop)
    assert not LoopFiring.objects.exists()
    loop.refresh_from_db()
    assert loop.last_look is not None


@needs_rows
def test_it_fires_once_and_starts_its_run(loop, project, admin, label_pairs):
    label_pairs(project, 30)
    send_as_beat_would(loop)
    send_as_beat_would(loop)
    firing = LoopFiring.objects.get()
    assert (firing.number, firing.labels, firing.message) == (1, 30, "")
    assert (firing.run.kind, firing.run.loop, firing.run.created_by) == ("train_reward", loop, admin)
    assert firing.run.config == loop.config
    loop.refresh_from_db()
    assert loop.cursor == Change.objects.filter(project=project).latest("id").pk


@needs_rows
def test_it_waits_while_its_last_run_is_under_way(loop, project, label_pairs):
    label_pairs(project, 30)
    send_as_beat_would(loop)
    label_pairs(project, 30, start=30)
    send_as_beat_would(loop)
    assert LoopFiring.objects.count() == 1
    Run.objects.update(state=Run.SUCCEEDED)
    send_as_beat_would(loop)
    assert [(firing.number, firing.labels) for firing in LoopFiring.objects.all()] == [(2, 30), (1, 30)]


@needs_rows
@pytest.mark.parametrize("how", ["paused loop", "paused project"])
def test_nothing_fires_while_paused(loop, project, label_pairs, how):
    label_pairs(project, 30)
    if how == "paused loop":
        loops.set_enabled(loop=loop, enabled=False)
    else:
        project.state = "paused"
        project.save()
    send_as_beat_would(loop)
    assert not LoopFiring.objects.exists()


@needs_rows
def test_a_round_that_cannot_start_says_why(loop, project, label_pairs):
    Loop.objects.filter(pk=loop.pk).update(new_labels=5)
    label_pairs(project, 5)
    send_as_beat_would(loop)
    firing = LoopFiring.objects.get()
    assert firing.run is None
    assert "a reward model needs at least 20" in firing.message


@needs_threads
def test_two_looks_at_the_same_time_fire_once(project, admin, base, label_pairs):
    """Both see enough labels before either acts; the claim on the cursor lets one of them through."""
    loop = loops.create_loop(project=project, name="retrain", new_labels=30, every_minutes=5, by=admin)
    label_pairs(project, 30)
    both_have_seen = threading.Barrier(2, timeout=30)
    errors = []
    cut = recipes.cut

    def cut_together(*arguments):
        made = cut(*arguments)
        both_have_seen.wait()
        return made

    def look():
        try:
            send_as_beat_would(loop)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "cut", cut_together)
        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert errors == []
    assert LoopFiring.objects.count() == 1
    assert Run.objects.count() == 1
    assert project.snapshots.count() == 1


@needs_threads
def test_a_look_that_breaks_leaves_the_labels_for_the_next(project, admin, base, label_pairs, monkeypatch):
    loop = loops.create_loop(project=project, name="retrain", new_labels=30, every_minutes=5, by=admin)
    label_pairs(project, 30)

    def breaks(**named):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setitem(loops.STEPS, "train_reward", breaks)
        with pytest.raises(ZeroDivisionError):
            send_as_beat_would(loop)
    assert not LoopFiring.objects.exists()
    with transaction.atomic():
        send_as_beat_would(loop)
    assert LoopFiring.objects.get().labels == 30
