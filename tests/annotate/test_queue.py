"""The queue: one item for each person, no place given twice, nothing lost when a lease runs out."""

import threading
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import queue, slots, tallies, tasks
from annotate.models import Annotation, Assignment, Item, Membership, Project, Rater
from annotate.submitting import record_judgment, submit_annotation
from tests import factories

A = {"preference": {"choice": "a"}}

pytestmark = pytest.mark.django_db


def take(user, project) -> Assignment:
    return queue.next_assignment(user=user, project=project)


def places(item) -> int:
    return Item.objects.get(pk=item.pk).slots_open


def run_out(assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_the_most_urgent_item_comes_first_then_the_oldest(project, annotator):
    first, urgent, last = (factories.item(project, priority=p) for p in (0.0, 2.0, 0.0))
    seen = []
    while (assignment := take(annotator, project)) is not None:
        seen.append(assignment.item)
        submit_annotation(assignment=assignment, answers=A)
    assert seen == [urgent, first, last]


def test_coming_back_gives_the_same_item_in_the_same_order(project, annotator):
    for _ in range(3):
        factories.item(project)
    first = take(annotator, project)
    again = take(annotator, project)
    assert (again.pk, again.order) == (first.pk, first.order)
    assert Assignment.objects.count() == 1
    assert sum(Item.objects.values_list("slots_open", flat=True)) == 2


def test_sides_are_drawn_for_each_lease(project, annotator):
    for _ in range(40):
        factories.item(project)
    orders = set()
    while (assignment := take(annotator, project)) is not None:
        orders.add(tuple(assignment.order))
        queue.skip(assignment=assignment)
    assert orders == {(0, 1), (1, 0)}


def test_two_people_never_hold_the_same_place(project, annotator, second_annotator):
    item = factories.item(project)
    assert take(annotator, project).item == item
    assert take(second_annotator, project) is None
    assert places(item) == 0


def test_an_item_that_wants_two_people_goes_to_two(project, annotator, second_annotator, reviewer):
    item = factories.item(project, overlap=2, slots_open=2)
    assert take(annotator, project).item == item
    assert take(second_annotator, project).item == item
    assert take(reviewer, project) is None


def test_what_was_skipped_does_not_come_back_and_its_place_is_open_again(project, annotator, second_annotator):
    item = factories.item(project)
    assignment = take(annotator, project)
    assert queue.skip(assignment=assignment, reason="not my language")
    assert places(item) == 1
    assert take(annotator, project) is None
    assert take(second_annotator, project).item == item
    assignment.refresh_from_db()
    assert (assignment.state, assignment.skip_reason) == ("skipped", "not my language")


def test_what_was_submitted_cannot_be_skipped(project, annotator):
    factories.item(project)
    assignment = take(annotator, project)
    submit_annotation(assignment=assignment, answers=A)
    assert not queue.skip(assignment=assignment)
    assert Assignment.objects.get().state == "submitted"


def test_a_lease_that_ran_out_goes_back_to_the_queue(project, annotator, second_annotator):
    item = factories.item(project)
    lost = take(annotator, project)
    assert queue.return_expired(timezone.now()) == 0
    run_out(lost)
    assert tasks.return_expired_leases() == 1
    assert places(item) == 1
    assert take(second_annotator, project).item == item
    late = submit_annotation(assignment=lost, answers=A)
    assert not late.counted
    assert places(item) == 0


def test_leased_again_after_it_ran_out_it_keeps_order_and_draft(project, annotator):
    factories.item(project)
    lost = take(annotator, project)
    Assignment.objects.update(draft={"reason": "so far"}, order=[1, 0])
    run_out(lost)
    tasks.return_expired_leases()
    again = take(annotator, project)
    assert (again.pk, again.draft, again.order, again.state) == (lost.pk, {"reason": "so far"}, [1, 0], "leased")


def test_somebody_who_comes_back_before_the_sweep_keeps_the_lease(project, annotator):
    factories.item(project)
    held = take(annotator, project)
    run_out(held)
    take(annotator, project)
    assert tasks.return_expired_leases() == 0
    held.refresh_from_db()
    assert held.expires_at > timezone.now() + timedelta(minutes=9)


def test_a_lease_renewed_while_the_sweep_was_looking_is_left_alone(project, annotator):
    factories.item(project)
    held = take(annotator, project)
    assert not queue.release(assignment=held, expired_by=timezone.now())
    assert Assignment.objects.get().state == "leased"


def test_a_lost_lease_is_regained_only_while_a_place_is_open(project, annotator, second_annotator):
    item = factories.item(project)
    lost = take(annotator, project)
    queue.release(assignment=lost)
    assert queue.regain(assignment=lost)
    assert places(item) == 0
    queue.release(assignment=lost)
    take(second_annotator, project)
    assert not queue.regain(assignment=lost)
    assert places(item) == 0


def test_a_lost_lease_is_not_regained_beside_two_others(project, annotator):
    lost_item = factories.item(project, priority=1.0)
    lost = take(annotator, project)
    Item.objects.filter(pk=lost_item.pk).update(priority=-1.0)
    queue.release(assignment=lost)
    factories.item(project)
    factories.item(project)
    assert lost_item not in [held.item for held in queue.leases(user=annotator, project=project, wanted=2)]
    assert not queue.regain(assignment=lost)


def test_one_is_fetched_ahead_and_never_more(project, annotator):
    items = [factories.item(project) for _ in range(4)]
    first, second = queue.leases(user=annotator, project=project, wanted=9)
    assert [first.item, second.item] == items[:2]
    again = queue.leases(user=annotator, project=project, wanted=2)
    assert [held.pk for held in again] == [first.pk, second.pk]
    submit_annotation(assignment=first, answers=A)
    held = queue.leases(user=annotator, project=project, wanted=2)
    assert [assignment.item for assignment in held] == items[1:3]


def test_a_sign_of_life_keeps_all_that_is_held_in_one_statement(project, annotator):
    for _ in range(2):
        factories.item(project)
    held = queue.leases(user=annotator, project=project, wanted=2)
    Assignment.objects.update(expires_at=timezone.now() + timedelta(seconds=9))
    with CaptureQueriesContext(connection) as captured:
        assert queue.renew_all(rater_id=held[0].rater_id, project=project) == 2
    assert len(captured) == 1
    assert Assignment.objects.filter(expires_at__gt=timezone.now() + timedelta(minutes=9)).count() == 2


def test_a_paused_project_gives_nothing_new_but_lets_one_finish(project, annotator, second_annotator):
    factories.item(project)
    factories.item(project)
    held = take(annotator, project)
    Project.objects.update(state=Project.PAUSED)
    project.refresh_from_db()
    assert take(annotator, project) == held
    assert take(second_annotator, project) is None


def test_another_projects_items_stay_there(project, annotator, admin):
    factories.item(factories.project(by=admin, name="Elsewhere"))
    assert take(annotator, project) is None


def test_a_name_in_a_file_is_not_the_user_of_that_name(project, annotator):
    imported = factories.rater(project, annotator.username)
    own = queue.rater_for(user=annotator, project=project)
    assert own != imported
    assert (own.user, own.name) == (annotator, f"mira ({annotator.pk})")
    assert queue.rater_for(user=annotator, project=project) == own


# --- What the router decides ----------------------------------------------------------------------------------


def test_the_routers_decision_opens_places_and_is_counted(project):
    Project.objects.update(overlap=2)
    people, judge, both = (factories.item(project, route="", overlap=0, slots_open=0) for _ in range(3))
    for item, decision in ((people, "human"), (judge, "judge"), (both, "both")):
        assert queue.open_to_people(item_ids=[item.pk], decision=decision) == 1
    found = Item.objects.order_by("pk").values_list("route", "overlap", "slots_open")
    assert list(found) == [("human", 2, 2), ("judge", 0, 0), ("both", 2, 2)]
    assert tallies.read(project.pk) == {"routed_human": 1, "routed_judge": 1, "routed_both": 1}


def test_a_newer_decision_keeps_what_people_did(project, annotator):
    Project.objects.update(overlap=2)
    item = factories.item(project, overlap=2, slots_open=2)
    tallies.add(project_id=project.pk, counts={"routed_human": 1})
    submit_annotation(assignment=take(annotator, project), answers=A)
    assert queue.open_to_people(item_ids=[item.pk], decision="judge") == 1
    item.refresh_from_db()
    assert (item.route, item.overlap, item.slots_open, item.state) == ("judge", 0, 0, "labelled")
    assert queue.open_to_people(item_ids=[item.pk], decision="both") == 1
    item.refresh_from_db()
    assert (item.route, item.overlap, item.slots_open, item.state) == ("both", 2, 1, "open")
    assert queue.open_to_people(item_ids=[item.pk], decision="both") == 0
    counts = tallies.read(project.pk)
    assert (counts["routed_human"], counts["routed_judge"], counts["routed_both"]) == (0, 0, 1)


def test_what_a_judge_labelled_is_open_again_when_people_are_asked(project):
    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    record_judgment(item=item, rater=factories.rater(project, "j", Rater.JUDGE), order=[0, 1], answers=A)
    assert tallies.read(project.pk)["labels_judge"] == 1
    queue.open_to_people(item_ids=[item.pk], decision="human")
    item.refresh_from_db()
    assert (item.state, item.slots_open) == ("open", 1)
    assert tallies.read(project.pk)["labels_judge"] == 0


# --- Counting again -------------------------------------------------------------------------------------------


def test_counting_again_mends_what_drifted_and_says_so(project, annotator, caplog):
    items = [factories.item(project) for _ in range(5)]
    take(annotator, project)
    assert tasks.recount_slots() == 0
    assert not caplog.records
    Item.objects.filter(pk__in=[items[0].pk, items[3].pk]).update(slots_open=2)
    assert tasks.recount_slots() == 2
    assert "2 items were wrong" in caplog.text
    assert [places(item) for item in items] == [0, 1, 1, 1, 1]


def test_an_archived_item_has_no_places(project):
    item = factories.item(project, state=Item.ARCHIVED)
    assert tasks.recount_slots() == 1
    assert places(item) == 0


# --- One indexed statement ------------------------------------------------------------------------------------


def test_the_candidate_is_found_by_the_queues_index(project, annotator):
    rater = queue.rater_for(user=annotator, project=project)
    template = factories.item(project)
    Item.objects.bulk_create(
        Item(
            project=project,
            external_id=f"bulk-{n}",
            title="",
            prompt=[],
            prompt_hash="",
            content_hash=str(n),
            priority=n % 7,
            slots_open=n % 2,
        )
        for n in range(3000)
    )
    bulk = list(Item.objects.exclude(pk=template.pk).values_list("pk", flat=True)[:500])
    past = {"rater": rater, "order": [0, 1], "expires_at": timezone.now(), "state": Assignment.SUBMITTED}
    Assignment.objects.bulk_create(Assignment(item_id=pk, **past) for pk in bulk)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = queue.candidates(rater).only("project")[:1].explain()
    assert "item_queue" in plan
    assert "Seq Scan on annotate_item" not in plan
    assert "SCAN annotate_item" not in plan
    assert "TEMP B-TREE" not in plan  # the order comes from the index


def test_what_somebody_is_ahead_of_all_others_is_not_read_again_for_each_item(project, annotator, second_annotator):
    """Statistics that do not know a new rater's past yet make PostgreSQL think that it can be read at no cost."""
    known, new = (queue.rater_for(user=user, project=project) for user in (annotator, second_annotator))
    places = {"project": project, "title": "", "prompt": [], "prompt_hash": "", "slots_open": 2}
    Item.objects.bulk_create(Item(external_id=f"bulk-{n}", content_hash=str(n), **places) for n in range(1000))
    ids = list(Item.objects.order_by("pk").values_list("pk", flat=True))
    past = {"order": [0, 1], "expires_at": timezone.now(), "state": Assignment.SUBMITTED}
    Assignment.objects.bulk_create(Assignment(item_id=pk, rater=known, **past) for pk in ids)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    Assignment.objects.bulk_create(Assignment(item_id=pk, rater=new, **past) for pk in ids[:500])
    assert queue.candidates(new).first().pk == ids[500]
    plan = queue.candidates(new).only("project")[:1].explain()
    assert "assignment_by_rater" not in plan
    assert "Join" not in plan


def statements(user, project) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert take(user, project) is not None
    return len(captured)


def test_taking_an_item_costs_the_same_whatever_the_queue_holds(project, annotator, second_annotator):
    for user in (annotator, second_annotator):
        queue.rater_for(user=user, project=project)
    factories.item(project)
    few = statements(annotator, project)
    for _ in range(30):
        factories.item(project)
    assert statements(second_annotator, project) == few


def test_the_candidate_of_each_pool_is_found_by_the_queues_index(project, annotator):
    rater = queue.rater_for(user=annotator, project=project)
    mine, other = factories.pool(project, people=["mira"]), factories.pool(project, people=["jonas"])
    pool_ids = [None, mine.pk, other.pk]
    Item.objects.bulk_create(
        Item(
            project=project, external_id=f"bulk-{n}", title="", prompt=[], prompt_hash="", content_hash=str(n),
            priority=n % 7, slots_open=n % 2, pool_id=pool_ids[n % 3],
        )
        for n in range(3000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for pool in (None, mine.pk):
        plan = queue.candidates(rater, pool).only("project")[:1].explain()
        assert "item_queue" in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan
        assert "Seq Scan on annotate_item" not in plan
    if connection.vendor == "postgresql":
        condition = next(line for line in plan.splitlines() if "Index Cond" in line)
        assert "pool_id" in condition
    with CaptureQueriesContext(connection) as captured:
        assert set(queue.by_urgency(rater, [None, mine.pk])) == {None, mine.pk}
    assert len(captured) == 1


# --- Races ----------------------------------------------------------------------------------------------------


def at_once(work, n: int) -> list:
    """Run `work(0)` … `work(n - 1)` in threads that start together, each with a connection of its own."""
    barrier, results = threading.Barrier(n), [None] * n

    def one(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not [result for result in results if isinstance(result, Exception)], results
    return results


@pytest.mark.django_db(transaction=True)
def test_eight_people_race_for_the_last_places(project):
    users = [factories.member(project, f"racer-{n}", Membership.ANNOTATOR) for n in range(8)]
    last, shared = factories.item(project), factories.item(project, overlap=3, slots_open=3)
    got = at_once(lambda n: take(users[n], project), 8)
    held = [assignment.item_id for assignment in got if assignment is not None]
    assert sorted(held) == [last.pk, shared.pk, shared.pk, shared.pk]
    assert (places(last), places(shared)) == (0, 0)
    assert Assignment.objects.filter(state="leased").count() == 4


@pytest.mark.django_db(transaction=True)
def test_one_person_in_eight_tabs_gets_one_item(project, annotator):
    items = [factories.item(project) for _ in range(8)]
    got = at_once(lambda n: take(annotator, project), 8)
    assert {assignment.pk for assignment in got} == {Assignment.objects.get().pk}
    assert sum(places(item) for item in items) == 7


@pytest.mark.django_db(transaction=True)
def test_eight_people_label_everything_once(project):
    users = [factories.member(project, f"racer-{n}", Membership.ANNOTATOR) for n in range(8)]
    items = [factories.item(project, overlap=2, slots_open=2) for _ in range(10)]

    def work(n: int) -> int:
        done = 0
        while (assignment := take(users[n], project)) is not None:
            submit_annotation(assignment=assignment, answers=A)
            done += 1
        return done

    assert sum(at_once(work, 8)) == 20
    assert Annotation.objects.filter(counted=True).count() == 20
    assert {item.annotations.count() for item in items} == {2}
    assert set(Item.objects.values_list("slots_open", "state")) == {(0, "labelled")}
    assert tallies.read(project.pk) == {"annotations_human": 20, "labels_human": 10}


@pytest.mark.django_db(transaction=True)
def test_a_double_submit_counts_once(project, annotator):
    factories.item(project)
    assignment = take(annotator, project)
    made = at_once(lambda n: submit_annotation(assignment=assignment, answers=A, idempotency_key="one press"), 8)
    assert {annotation.pk for annotation in made} == {Annotation.objects.get().pk}
    assert tallies.read(project.pk)["annotations_human"] == 1


@pytest.mark.django_db(transaction=True)
def test_late_submits_race_for_one_open_place(project):
    item = factories.item(project)
    raters = [factories.rater(project, f"late-{n}") for n in range(8)]
    late = [
        Assignment.objects.create(item=item, rater=rater, order=[0, 1], expires_at=timezone.now(), state="expired")
        for rater in raters
    ]
    made = at_once(lambda n: submit_annotation(assignment=late[n], answers=A), 8)
    assert sorted(annotation.counted for annotation in made) == [False] * 7 + [True]
    assert places(item) == 0
    assert item.labels.get().votes == 1


@pytest.mark.django_db(transaction=True)
def test_a_submit_and_the_sweep_race_for_a_lease_that_ran_out(project, annotator):
    item = factories.item(project)
    assignment = take(annotator, project)
    run_out(assignment)

    def work(n: int):
        if n % 2:
            return tasks.return_expired_leases()
        return submit_annotation(assignment=assignment, answers=A, idempotency_key="once").counted

    at_once(work, 4)
    assert Annotation.objects.get().counted  # in time or late, the place was open
    assert Assignment.objects.get().state == "submitted"
    assert places(item) == 0
    assert slots.drifted([item.pk]) == []


@pytest.mark.django_db(transaction=True)
def test_connections_killed_in_the_middle_lose_and_double_nothing(project):
    """Eight people label the last places while every 20 ms one of their connections is cut off."""
    if connection.vendor != "postgresql":
        pytest.skip("only a server's connections can be killed from outside")
    users = [factories.member(project, f"racer-{n}", Membership.ANNOTATOR) for n in range(8)]
    items = [factories.item(project, overlap=2, slots_open=2) for _ in range(20)]
    killed, over = [], threading.Event()

    def work(n: int) -> list[int]:
        told = []
        while not over.is_set():
            try:
                assignment = take(users[n], project)
                if assignment is None:
                    if not Assignment.objects.filter(state="leased").exists():
                        return told
                    continue
                key = f"{n}-{assignment.pk}"
                told.append(submit_annotation(assignment=assignment, answers=A, idempotency_key=key).pk)
            except (OperationalError, InterfaceError):
                connection.close()  # as Django does between requests; the same press is then sent again
        return told

    def kill(_n: int) -> None:
        me = connection.cursor()
        for _ in range(15):
            over.wait(0.02)
            me.execute(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction') ORDER BY random() LIMIT 1"
            )
            killed.extend(me.fetchall())

    told = at_once(lambda n: kill(n) if n == 8 else work(n), 9)
    assert killed
    kept = set(Annotation.objects.values_list("pk", flat=True))
    assert {pk for pks in told[:8] for pk in pks} <= kept  # what was said to be kept is there
    assert queue.recount(project=project) == 0
    assert {item.annotations.filter(counted=True).count() for item in items} == {2}
    assert Annotation.objects.count() == 40
    assert set(Item.objects.values_list("slots_open", flat=True)) == {0}
