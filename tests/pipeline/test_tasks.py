"""The broker only wakes workers: what is due stands in the database, and `wake` finds it."""

import pytest
from django.utils import timezone

from annotate.models import Item
from config.celery import app
from pipeline import loops, runs, tasks
from pipeline.models import Route, Run
from tests import factories
from tests.pipeline import stand_ins


@pytest.fixture
def sent(monkeypatch):
    """What would be sent to the broker: (task, arguments, queue)."""
    messages = []

    def send(name, args=None, kwargs=None, **options):
        messages.append((name, list(args or []), options.get("queue")))

    monkeypatch.setattr(app, "send_task", send)
    monkeypatch.setattr(tasks.route_project, "delay", lambda pk: messages.append(("route", [pk], None)))
    monkeypatch.setattr(tasks.judge_items_task, "delay", lambda pk: messages.append(("judge", [pk], None)))
    return messages


def grow_old(run):
    long_ago = timezone.now() - runs.STALE_AFTER - runs.ASK_SOONEST
    Run.objects.filter(pk=run.pk).update(heartbeat=long_ago, asked_at=long_ago, created_at=long_ago)


@pytest.mark.django_db(transaction=True)
def test_making_a_run_asks_a_worker_of_the_training_queue(project, make_run, sent):
    run = make_run(project)
    assert sent == [("pipeline.tasks.drive_run", [run.pk], "training")]


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_makes_no_run_fail(project, make_run, monkeypatch):
    def away(*arguments, **named):
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(app, "send_task", away)
    assert make_run(project).state == "queued"


@pytest.mark.django_db
def test_wake_finds_a_run_whose_message_was_lost(project, make_run, sent):
    run = make_run(project)
    sent.clear()
    tasks.wake()
    assert sent == []  # asked a moment ago
    grow_old(run)
    tasks.wake()
    tasks.wake()
    assert sent == [("pipeline.tasks.drive_run", [run.pk], "training")]


@pytest.mark.django_db
def test_wake_finds_a_run_whose_worker_is_gone(project, make_run, sent):
    run = runs.claim(make_run(project).pk, watcher="gone")
    grow_old(run)
    tasks.wake()
    assert sent[-1] == ("pipeline.tasks.drive_run", [run.pk], "training")


@pytest.mark.django_db
def test_ending_an_abandoned_run_needs_no_training_worker(project, make_run, sent):
    run = runs.claim(make_run(project).pk, watcher="gone")
    grow_old(run)
    Run.objects.filter(pk=run.pk).update(cancel_requested=True)
    tasks.wake()
    assert {queue for _, _, queue in sent} == {"training", "default"}


@pytest.mark.django_db
def test_wake_routes_and_judges(project, sent):
    judge = stand_ins.judge(project)
    factories.item(project, route=Item.UNROUTED, slots_open=0, overlap=0)
    judged = factories.item(project, route=Item.JUDGE, slots_open=0, overlap=0)
    Route.objects.create(
        item=judged, decision=Route.JUDGE, reason="drawn", propensity=1.0, policy="p", policy_version="1"
    )
    tasks.wake()
    assert ("route", [project.pk], None) in sent
    assert ("judge", [judge.pk], None) in sent


@pytest.mark.django_db
def test_routing_twice_routes_once(project):
    item = factories.item(project, route=Item.UNROUTED, slots_open=0, overlap=0)
    tasks.route_project(project.pk)
    tasks.route_project(project.pk)
    assert Route.objects.filter(item=item).count() == 1


@pytest.mark.django_db
def test_tasks_about_what_is_gone_do_nothing():
    for task in (tasks.drive_run, tasks.route_project, tasks.judge_items_task, tasks.look_loop):
        assert task(12345) is None


def test_the_names_in_the_schedule_are_tasks():
    app.loader.import_default_modules()
    names = [entry["task"] for entry in app.conf.beat_schedule.values()]
    assert [name for name in [*names, loops.TASK, "pipeline.tasks.drive_run"] if name not in app.tasks] == []
    assert app.amqp.router.route({}, "pipeline.tasks.drive_run")["queue"].name == "training"
