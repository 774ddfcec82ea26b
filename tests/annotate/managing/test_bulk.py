"""Acts on many items: previewed, done in batches, undone exactly, and never over what somebody did since."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.urls import reverse
from django.utils import timezone

from annotate import queue, slots, tallies
from annotate.importing import take_in
from annotate.managing import bulk
from annotate.models import Act, Assignment, BulkAct, Item, Rater
from annotate.submitting import submit_annotation
from pipeline.models import Route
from pipeline.routing import route_items
from tests import factories

pytestmark = pytest.mark.django_db


def nobody(act_id):
    """A message to workers that gets lost."""


@pytest.fixture
def do(project, manager):
    """Do something to items (by default to all), and return the act as it then stands."""

    def doing(verb, value="", items=(), send=nobody, **choices) -> BulkAct:
        asked = bulk.ask(project=project, verb=verb, value=value, choices=choices, items=[each.pk for each in items])
        act = bulk.start(asked=asked, by=manager, send=send)
        act.refresh_from_db()
        return act

    return doing


@pytest.fixture
def take_back(manager):
    def undoing(act) -> BulkAct:
        bulk.undo(act=act, by=manager, send=nobody)
        act.refresh_from_db()
        return act

    return undoing


def facts(project) -> list[tuple]:
    """Everything about the items that an act may touch, and the kept counts."""
    rows = project.items.order_by("pk").values_list("state", "route", "priority", "tags", "overlap", "slots_open")
    return [*rows, {name: count for name, count in tallies.read(project.pk).items() if count}]


@pytest.fixture
def mixed(project):
    """An item with a label, one that is leased, one that waits for the router; all counted as the importer does."""
    said = [{"rater": "mira", "answers": {"preference": {"choice": "a"}}}]
    take_in(
        project=project,
        items=[
            {"id": "done", "prompt": "1?", "responses": ["a", "b"], "annotations": said, "tags": ["x", "y"]},
            {"id": "leased", "prompt": "2?", "responses": ["a", "b"], "tags": ["y"]},
            {"id": "fresh", "prompt": "3?", "responses": ["a", "b"]},
        ],
    )
    by_id = {item.external_id: item for item in project.items.all()}
    queue.open_to_people(item_ids=[by_id["leased"].pk], decision=Item.HUMAN)
    return by_id


VERBS = [("archive", ""), ("priority", "2.5"), ("tag", "x"), ("untag", "y"), ("overlap", "3"), ("release", ""),
         ("to_people", ""), ("to_judge", ""), ("to_both", "")]  # fmt: skip


@pytest.mark.parametrize(("verb", "value"), VERBS)
def test_what_an_act_does_is_undone_to_the_last_field(project, mixed, annotator, do, take_back, verb, value):
    held = queue.next_assignment(user=annotator, project=project)
    before = facts(project)
    act = do(verb, value)
    assert (act.state, act.done) == (BulkAct.DONE, 3)
    assert act.changed > 0
    undone = take_back(act)
    assert (undone.state, undone.restored, undone.left) == (BulkAct.UNDONE, act.changed, 0)
    if verb == "archive":  # whose lease was given back asks for it again; the place is there
        queue.regain(assignment=held)
    assert facts(project) == before
    assert slots.drifted([item.pk for item in mixed.values()]) == []


def test_archived_items_are_asked_about_no_more_and_counted_no_more(project, mixed, annotator, do):
    queue.next_assignment(user=annotator, project=project)
    do("archive")
    assert set(project.items.values_list("state", "slots_open")) == {("archived", 0)}
    assert not Assignment.objects.filter(state=Assignment.LEASED).exists()
    assert queue.next_assignment(user=annotator, project=project) is None
    counts = tallies.read(project.pk)
    assert (counts["items"], counts["labels_human"], counts["archived"]) == (0, 0, 3)


def test_an_item_changed_since_is_left_alone_and_said_so(project, do, take_back):
    kept, changed = factories.item(project, priority=1), factories.item(project, priority=1)
    act = do("priority", "5")
    Item.objects.filter(pk=changed.pk).update(priority=7)
    undone = take_back(act)
    assert (undone.restored, undone.left) == (1, 1)
    assert dict(project.items.values_list("pk", "priority")) == {kept.pk: 1, changed.pk: 7}


def test_a_lease_that_cannot_be_taken_up_again_is_left(project, annotator, second_annotator, do, take_back):
    factories.item(project)
    queue.next_assignment(user=annotator, project=project)
    act = do("release")
    assert act.changed == 1
    other = queue.next_assignment(user=second_annotator, project=project)
    undone = take_back(act)
    assert (undone.restored, undone.left) == (0, 1)
    other.refresh_from_db()
    assert other.state == Assignment.LEASED


def test_more_people_open_a_labelled_item_again(project, annotator, second_annotator, do):
    item = factories.item(project)
    assignment = queue.next_assignment(user=annotator, project=project)
    submit_annotation(assignment=assignment, answers={"preference": {"choice": "a"}})
    do("overlap", "2")
    item.refresh_from_db()
    assert (item.state, item.slots_open) == (Item.OPEN, 1)
    assert queue.next_assignment(user=second_annotator, project=project).item == item


def test_rerouting_by_hand_keeps_a_decision_that_says_so(project, manager, do):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    route_items(project=project)
    do("to_both")
    first, second = Route.objects.order_by("number")
    assert (second.decision, second.policy, second.propensity, second.number) == ("both", "by hand", 1.0, 2)
    assert "mona" in second.reason
    assert first.policy != "by hand"
    item.refresh_from_db()
    assert (item.route, item.slots_open) == ("both", 1)


def test_an_undone_first_decision_waits_for_the_router_again(project, do, take_back):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    take_back(do("to_judge"))
    item.refresh_from_db()
    assert item.route == ""
    assert route_items(project=project)["routed"] == 1


def test_an_act_is_about_the_choices_and_not_about_what_came_later(project, do):
    tagged = factories.item(project, tags=["x"])
    other = factories.item(project)
    act = do("archive", tag="x", state="open")
    factories.item(project, tags=["x"])
    bulk.run(act.pk)
    assert [item.pk for item in project.items.filter(state="archived")] == [tagged.pk]
    assert other.state == Item.OPEN


def test_gold_items_are_left_alone(project, do):
    gold = factories.item(project, state=Item.GOLD, slots_open=0)
    with pytest.raises(bulk.BulkError, match="No item fits"):
        do("archive", items=[gold])
    factories.item(project)
    assert do("archive").changed == 1


def test_items_of_another_project_cannot_be_named(project, admin, do):
    other = factories.item(factories.project(by=admin, name="Other"))
    with pytest.raises(bulk.BulkError, match="No item fits"):
        do("archive", items=[other])


@pytest.mark.parametrize(
    ("verb", "value"), [("priority", "x"), ("tag", " "), ("overlap", "0"), ("overlap", "21"), ("explode", "")]
)
def test_what_makes_no_sense_is_refused(do, project, verb, value):
    factories.item(project)
    with pytest.raises(bulk.BulkError):
        do(verb, value)
    assert not BulkAct.objects.exists()


def test_many_items_are_changed_by_a_worker_in_batches(project, do, monkeypatch, django_capture_on_commit_callbacks):
    monkeypatch.setattr(bulk, "AT_ONCE", 3)
    monkeypatch.setattr(bulk, "BATCH", 2)
    for _ in range(5):
        factories.item(project)
    asked = []
    with django_capture_on_commit_callbacks(execute=True):
        act = do("priority", "4", send=asked.append)
    assert (act.state, asked) == (BulkAct.QUEUED, [act.pk])
    assert bulk.step(act.pk) is True
    act.refresh_from_db()
    assert (act.state, act.done, act.changed) == (BulkAct.RUNNING, 2, 2)
    bulk.run(act.pk)  # another worker takes it up where the first has gone
    bulk.run(act.pk)
    act.refresh_from_db()
    assert (act.state, act.done, act.changed) == (BulkAct.DONE, 5, 5)


def test_an_act_whose_worker_is_gone_is_asked_for_again_but_not_at_once(project, do, monkeypatch):
    monkeypatch.setattr(bulk, "AT_ONCE", 0)
    factories.item(project)
    act = do("archive")
    assert bulk.due() == []
    BulkAct.objects.filter(pk=act.pk).update(heartbeat=timezone.now() - 2 * bulk.STALE)
    assert bulk.due() == [act.pk]
    assert bulk.due() == []


def test_undo_ends_after_thirty_days_and_works_once(project, do, take_back):
    factories.item(project)
    act = do("archive")
    BulkAct.objects.filter(pk=act.pk).update(finished_at=timezone.now() - timedelta(days=31))
    with pytest.raises(bulk.BulkError):
        take_back(act)
    BulkAct.objects.filter(pk=act.pk).update(finished_at=timezone.now())
    take_back(act)
    with pytest.raises(bulk.BulkError):
        take_back(act)
    assert list(Act.objects.filter(kind="items").values_list("verb", flat=True).order_by("pk")) == [
        "changed",
        "undone",
    ]


# --- In the browser -------------------------------------------------------------------------------------------
def test_a_manager_previews_changes_and_undoes(project, as_user, manager):
    factories.item(project, prompt="Which sea?", tags=["geo"])
    factories.item(project, prompt="Which hill?", tags=["geo", "new"])
    client = as_user(manager)
    sent = {"verb": "tag", "value": "new", "scope": "all", "choices": "tag=geo"}
    shown = client.post(reverse("items_bulk_preview", args=[project.slug]), sent).content.decode()
    assert "1 of 2 items changes" in shown
    assert "Which sea?" in shown
    assert "Which hill?" not in shown
    assert project.items.filter(tags=["geo"]).exists()  # a preview changes nothing
    done = client.post(reverse("items_bulk_start", args=[project.slug]), sent, follow=True).content.decode()
    assert "1 of 2 items changed" in done
    assert not project.items.filter(tags=["geo"]).exists()
    act = BulkAct.objects.get()
    client.post(reverse("items_bulk_undo", args=[project.slug, act.pk]))
    polled = client.get(reverse("items_bulk_progress", args=[project.slug, act.pk]))
    assert polled.status_code == 286
    assert "1 items are as they were" in polled.content.decode()
    assert project.items.filter(tags=["geo"]).exists()


def test_nothing_ticked_is_said(project, as_user, manager):
    factories.item(project)
    sent = {"verb": "archive", "scope": "ticked"}
    answer = as_user(manager).post(reverse("items_bulk_preview", args=[project.slug]), sent, follow=True)
    assert "Tick the items to change" in answer.content.decode()


def test_a_reviewer_is_offered_no_changes(project, as_user, reviewer):
    factories.item(project)
    assert "Preview…" not in as_user(reviewer).get(reverse("items", args=[project.slug])).content.decode()


def waits_for_this_connection() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return cursor.fetchone()[0] > 0


@pytest.mark.django_db(transaction=True)
def test_leases_are_put_back_while_their_person_asks_for_the_same_item(project, annotator, do, manager):
    """The page takes its rater, then the item. Undoing must do so in this order too, or each waits for the other."""
    if connection.vendor != "postgresql":
        pytest.skip("on SQLite writers wait for one another, so there is nothing to cross")
    factories.item(project)
    held = queue.next_assignment(user=annotator, project=project)
    act = do("release")
    wrong = []

    def undo() -> None:
        try:
            bulk.undo(act=act, by=manager, send=nobody)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            wrong.append(error)
        finally:
            connections.close_all()

    undoing = threading.Thread(target=undo)
    with transaction.atomic():
        Rater.objects.select_for_update(no_key=True).get(pk=held.rater_id)
        undoing.start()
        deadline = time.monotonic() + 20
        while not waits_for_this_connection():
            assert time.monotonic() < deadline, "the undoing never came to wait"
            time.sleep(0.01)
        assert queue.regain(assignment=held)
    undoing.join(timeout=30)
    assert wrong == []
    assert Assignment.objects.get().state == "leased"
    assert slots.drifted([held.item_id]) == []
