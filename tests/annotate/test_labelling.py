"""The workbench over HTTP: one item, its draft, submit and next, skip, undo, and why there is nothing."""

import gzip
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate import queue, rubrics, tallies
from annotate.models import Annotation, Assignment, Item, Membership, Project
from annotate.submitting import submit_annotation
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def item(project) -> Item:
    return factories.item(project, "What is 2 + 2?", responses=("It is four.", "It is *five*."), priority=1.0)


@pytest.fixture
def client(as_user, annotator):
    return as_user(annotator)


def address(project, name="label", *args) -> str:
    return reverse(name, args=[project.slug, *args])


def opened(client, project) -> tuple[Assignment, str]:
    """The user's live lease, and the page that shows it."""
    response = client.get(address(project))
    assert response.status_code == 200
    return Assignment.objects.get(state="leased"), response.content.decode()


def key_in(page: str) -> str:
    return re.search(r'name="key" value="(\w+)"', page).group(1)


def send(client, project, assignment, page="", **fields):
    data = {"answer-preference": "2", "key": key_in(page) if page else "", **fields}
    return client.post(address(project, "label_submit", assignment.pk), data, **HTMX)


def test_the_page_shows_the_item_in_presented_order_and_no_model(client, project, item):
    assignment, page = opened(client, project)
    first, second = ("It is four.", "<em>five</em>")[:: 1 if assignment.order == [0, 1] else -1]
    assert page.index("What is 2 + 2?") < page.index(first) < page.index(second)
    assert "3 words" in page
    assert "model-0" not in page
    assert "model-1" not in page
    assert "Right, complete, clear" in page  # the anchor of a 5


def test_nothing_an_annotator_gets_names_a_model(client, project, item):
    assignment, page = opened(client, project)
    answers = [
        client.post(address(project, "label_draft", assignment.pk), {"key": "k"}),
        client.get(address(project, "label_guidelines")),
        send(client, project, assignment, page),
        client.get(address(project, "label_back"), **HTMX),
        client.get(address(project, "label_again", assignment.pk)),
        client.get(address(project)),
        client.get(address(project, "label_waiting")),
    ]
    for answer in answers:
        assert answer.status_code in (200, 204)
        assert b"model-" not in answer.content


def test_submit_and_next_are_one_round_trip(client, project, item):
    factories.item(project, "And 3 + 3?")
    assignment, page = opened(client, project)
    response = send(
        client, project, assignment, page, **{"answer-helpful-0": "5", "reason": "right", "seconds": "12.5"}
    )
    assert response.status_code == 200
    text = response.content.decode()
    assert "And 3 + 3?" in text
    assert "<title>And 3 + 3? · Everyday help · Plumbline</title>" in text
    assert "<b>1</b> today" in text
    assert "<html" not in text
    made = Annotation.objects.get()
    left = "ab"[assignment.order[0]]
    assert made.answers["preference"] == {"choice": left, "strength": 2}
    assert made.answers["helpful"][assignment.order[0]] == 5
    assert (made.reason, made.seconds, made.idempotency_key) == ("right", 12.5, key_in(page))


def test_a_press_sent_twice_counts_once_and_shows_the_next_both_times(client, project, item):
    factories.item(project, "And 3 + 3?")
    assignment, page = opened(client, project)
    for _ in range(2):
        assert "And 3 + 3?" in send(client, project, assignment, page).content.decode()
    assert Annotation.objects.count() == 1


@pytest.mark.parametrize("key", ["the same for all", "with a \x00 in it"])
def test_a_page_key_that_is_not_unique_or_no_text_stops_nobody(client, project, item, key):
    factories.item(project, "And 3 + 3?")
    for count in (1, 2):
        assignment, page = opened(client, project)
        assert send(client, project, assignment, page, key=key).status_code == 200
        assert Annotation.objects.count() == count


def test_the_item_after_the_one_on_the_screen_is_fetched_ahead(client, project, item):
    second, third = factories.item(project, "And 3 + 3?"), factories.item(project, "And 4 + 4?")
    first, page = opened(client, project)
    fetched = client.get(address(project, "label_ahead"), {"on": first.pk}, **HTMX)
    ahead = Assignment.objects.get(item=second)
    assert fetched["X-Ahead"] == str(ahead.pk)
    assert "And 3 + 3?" in fetched.content.decode()
    sent = send(client, project, first, page, ahead=str(ahead.pk))
    assert sent["X-Ahead"] == str(Assignment.objects.get(item=third).pk)
    assert "And 4 + 4?" in sent.content.decode()
    assert "<b>1</b> today" in sent.content.decode()


def test_where_nothing_comes_after_the_one_on_the_screen_the_counts_come_alone(client, project, item):
    factories.item(project, "And 3 + 3?")
    first, page = opened(client, project)
    ahead = client.get(address(project, "label_ahead"), {"on": first.pk}, **HTMX)["X-Ahead"]
    sent = send(client, project, first, page, ahead=ahead)
    assert "X-Ahead" not in sent
    assert "<b>1</b> today" in sent.content.decode()
    assert 'id="reading"' not in sent.content.decode()
    assert client.get(address(project, "label_ahead"), {"on": ahead}, **HTMX).status_code == 204


def test_a_page_of_somebody_who_signed_out_sends_nothing_in_anothers_name(client, project, item, outsider):
    assignment, page = opened(client, project)
    theirs = {**HTMX, "HTTP_X_PLUMBLINE_USER": str(outsider.pk)}
    for name in ("label_submit", "label_draft", "label_skip"):
        url = address(project, name, assignment.pk)
        assert client.post(url, {"answer-preference": "1"}, **theirs).status_code == 409
    assert client.get(address(project, "label_ahead"), **theirs).status_code == 409
    assignment.refresh_from_db()
    assert (assignment.state, assignment.draft) == ("leased", {})


def test_a_missing_answer_is_asked_for_and_nothing_is_lost(client, project, item):
    assignment, page = opened(client, project)
    response = send(
        client, project, assignment, page, **{"answer-preference": "", "answer-helpful-1": "4", "reason": "hm"}
    )
    text = response.content.decode()
    assert response.status_code == 422
    assert "still needs an answer" in text
    assert re.search(r'name="answer-helpful-1" value="4"[^>]* checked', text)
    assert ">hm</textarea>" in text
    assert not Annotation.objects.exists()


def test_a_value_that_is_no_choice_is_refused_with_a_sentence(client, project, item):
    assignment, page = opened(client, project)
    for fields in ({"answer-preference": "9"}, {"answer-preference": "up"}, {"answer-helpful-0": "77"}):
        assert send(client, project, assignment, page, **fields).status_code == 422
    assert not Annotation.objects.exists()


def test_a_draft_is_kept_and_shown_again(client, project, item):
    assignment, page = opened(client, project)
    fields = {"key": key_in(page), "number": "1", "answer-preference": "6", "reason": "half a th", "seconds": "30.2"}
    kept = client.post(address(project, "label_draft", assignment.pk), fields)
    assert kept.json() == {"saved": True, "held": True}
    again, page = opened(client, project)
    assert again == assignment
    assert re.search(r'name="answer-preference" value="6"[^>]* checked', page)
    assert ">half a th</textarea>" in page
    assert 'data-seconds="30.2"' in page


def test_an_older_draft_does_not_overwrite_a_newer_one(client, project, item):
    assignment, page = opened(client, project)
    for number, reason, saved in (("2", "newer", True), ("1", "older", False)):
        fields = {"key": key_in(page), "number": number, "reason": reason}
        assert client.post(address(project, "label_draft", assignment.pk), fields).json()["saved"] is saved
    assert Assignment.objects.get().draft["form"] == {"reason": "newer"}


def test_a_draft_that_arrives_after_its_submit_changes_nothing(client, project, item):
    assignment, page = opened(client, project)
    send(client, project, assignment, page)
    late = client.post(address(project, "label_draft", assignment.pk), {"key": key_in(page), "reason": "late"})
    assert late.json()["saved"] is False
    assert Assignment.objects.get().draft == {}


def test_a_draft_keeps_the_lease_alive_and_takes_up_a_lost_one(client, project, item):
    assignment, _ = opened(client, project)
    draft = address(project, "label_draft", assignment.pk)
    Assignment.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    client.post(draft, {"key": "k"})
    assert Assignment.objects.get().expires_at > timezone.now() + timedelta(minutes=9)
    queue.release(assignment=assignment)
    assert client.post(draft, {"key": "k"}).json() == {"saved": True, "held": True}
    queue.release(assignment=assignment)
    Item.objects.update(slots_open=0)
    assert client.post(draft, {"key": "k", "reason": "mine"}).json() == {"saved": True, "held": False}


def test_a_late_answer_is_kept_and_the_page_says_kindly_that_it_does_not_count(client, project, item):
    assignment, page = opened(client, project)
    queue.release(assignment=assignment)
    Item.objects.update(slots_open=0)
    text = send(client, project, assignment, page).content.decode()
    assert "is kept" in text
    assert "does not count" in text
    assert not Annotation.objects.get().counted


def test_skip_asks_nothing_and_keeps_the_reason_given(client, project, item):
    factories.item(project, "And 3 + 3?")
    assignment, _ = opened(client, project)
    response = client.post(address(project, "label_skip", assignment.pk), {"skip_reason": " not mine "}, **HTMX)
    assert "And 3 + 3?" in response.content.decode()
    assignment.refresh_from_db()
    assert (assignment.state, assignment.skip_reason) == ("skipped", "not mine")


def test_undo_brings_the_last_answer_back_and_a_submit_revises_it(client, project, item):
    factories.item(project, "And 3 + 3?")
    first, page = opened(client, project)
    send(client, project, first, page, reason="first thought")
    held = Assignment.objects.get(state="leased")
    response = client.get(address(project, "label_back"), **HTMX)
    text = response.content.decode()
    assert response["HX-Replace-Url"] == address(project, "label_again", first.pk)
    assert "What is 2 + 2?" in text
    assert re.search(r'name="answer-preference" value="2"[^>]* checked', text)
    assert ">first thought</textarea>" in text
    after = send(client, project, first, text, **{"answer-preference": "7", "reason": "second thought"})
    assert "And 3 + 3?" in after.content.decode()
    assert after["HX-Replace-Url"] == address(project)
    old, new = Annotation.objects.order_by("revision")
    assert (old.reason, new.reason, new.replaces) == ("first thought", "second thought", old)
    assert Assignment.objects.get(state="leased") == held
    assert tallies.read(project.pk)["annotations_human"] == 1


def test_undo_goes_further_back_each_time_and_then_says_that_there_is_no_more(client, project):
    for name in ("first", "second", "third"):
        factories.item(project, name)
    done = []
    for _ in range(2):
        assignment, page = opened(client, project)
        send(client, project, assignment, page)
        done.append(assignment)
    back = address(project, "label_back")
    assert "second" in client.get(back, **HTMX).content.decode()
    assert "first" in client.get(f"{back}?before={done[1].pk}", **HTMX).content.decode()
    nothing = client.get(f"{back}?before={done[0].pk}", **HTMX)
    assert nothing.status_code == 204
    assert "nothing before this" in nothing["HX-Trigger"]


def test_undo_brings_back_what_was_skipped_too(client, project, item):
    assignment, page = opened(client, project)
    client.post(address(project, "label_skip", assignment.pk), **HTMX)
    text = client.get(address(project, "label_back"), **HTMX).content.decode()
    assert "You skipped this one" in text
    send(client, project, assignment, text)
    assert Annotation.objects.get().counted
    item.refresh_from_db()
    assert (item.state, item.slots_open) == ("labelled", 0)


def test_a_draft_of_a_change_survives_leaving(client, project, item):
    assignment, page = opened(client, project)
    send(client, project, assignment, page)
    page = client.get(address(project, "label_again", assignment.pk)).content.decode()
    client.post(address(project, "label_draft", assignment.pk), {"key": key_in(page), "answer-preference": "5"})
    page = client.get(address(project, "label_again", assignment.pk)).content.decode()
    assert re.search(r'name="answer-preference" value="5"[^>]* checked', page)


def test_the_versions_that_were_shown_are_kept(client, project, item):
    assignment, page = opened(client, project)
    Project.objects.update(guideline_version=4)
    send(client, project, assignment, page, guideline_version="1", rubric_version="99")
    made = Annotation.objects.get()
    assert (made.guideline_version, made.rubric_version) == (1, project.rubric_version)


def test_without_htmx_the_forms_work_too(client, project, item):
    assignment, _ = opened(client, project)
    response = client.post(address(project, "label_submit", assignment.pk), {"answer-preference": "2"})
    assert (response.status_code, response.url) == (302, address(project))
    assert Annotation.objects.count() == 1


def test_htmx_restoring_its_history_gets_the_whole_page(client, project, item):
    response = client.get(address(project), **HTMX, HTTP_HX_HISTORY_RESTORE_REQUEST="true")
    assert b"<html" in response.content


# --- Why there is nothing -------------------------------------------------------------------------------------


def standing(client, project) -> str:
    page = client.get(address(project)).content.decode()
    return re.search(r"standing=(\w+)", page).group(1)


def test_an_empty_queue_says_what_is_going_on(client, project, annotator, second_annotator):
    assert standing(client, project) == "no_items"
    item = factories.item(project, route="", overlap=0, slots_open=0)
    tallies.add(project_id=project.pk, counts={"items": 1})
    assert standing(client, project) == "not_routed"
    queue.open_to_people(item_ids=[item.pk], decision="human")
    other = queue.next_assignment(user=second_annotator, project=project)
    assert standing(client, project) == "held"
    submit_annotation(assignment=other, answers={"preference": {"choice": "a"}})
    assert standing(client, project) == "all_done"
    Project.objects.update(state=Project.PAUSED)
    assert standing(client, project) == "paused"


def test_who_has_done_their_part_is_told_so(client, project):
    factories.item(project, overlap=2, slots_open=2)
    assignment, page = opened(client, project)
    assert "You have done your part" in send(client, project, assignment, page).content.decode()


def test_the_page_that_waits_hears_of_new_work_without_taking_it(client, project):
    waiting = address(project, "label_waiting")
    assert client.get(waiting, {"standing": "no_items"}).status_code == 204
    factories.item(project)
    text = client.get(waiting, {"standing": "no_items"}).content.decode()
    assert "Start labelling" in text
    assert not Assignment.objects.exists()


# --- Who may, and at what cost --------------------------------------------------------------------------------


def test_members_label_and_outsiders_find_nothing(as_user, project, manager, reviewer, admin, outsider):
    for _ in range(3):
        factories.item(project)
    for user in (manager, reviewer, admin):
        assert as_user(user).get(address(project)).status_code == 200
    assert Assignment.objects.filter(state="leased").count() == 3
    assert as_user(outsider).get(address(project)).status_code == 404


def test_somebody_elses_assignment_is_not_found(as_user, client, project, item, second_annotator, manager):
    assignment, _ = opened(client, project)
    for user in (second_annotator, manager):
        other = as_user(user)
        assert other.get(address(project, "label_again", assignment.pk)).status_code == 404
        for name in ("label_submit", "label_draft", "label_skip"):
            assert other.post(address(project, name, assignment.pk), {"answer-preference": "1"}).status_code == 404
    assert Assignment.objects.get(pk=assignment.pk).state == "leased"


def test_a_member_who_left_can_submit_nothing_more(client, project, item, annotator):
    assignment, page = opened(client, project)
    Membership.objects.filter(user=annotator).delete()
    assert send(client, project, assignment, page).status_code == 404


def queries(client, url) -> int:
    """The statements that read or write, without those that open and close transactions."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return len([query for query in captured if not query["sql"].startswith(control)])


def test_the_page_takes_at_most_twelve_statements(client, project, annotator):
    queue.rater_for(user=annotator, project=project)
    rubrics.questions_of(project)  # read once by each process
    for n in range(5):
        factories.item(project, responses=[f"Answer {n}.{i}" for i in range(2 + n)])
    assert queries(client, address(project)) <= 12  # with a fresh lease
    assert queries(client, address(project)) <= 12  # with the item that is held


def test_submit_and_next_take_as_many_statements_whatever_is_there(client, project, monkeypatch):
    # One row a kept count, so that none is made by chance while we count.
    monkeypatch.setattr(tallies, "SHARDS", 1)
    tallies.add(project_id=project.pk, counts={"annotations_human": 1, "labels_human": 1})
    counts = []
    for size in (3, 30):
        for _ in range(size):
            factories.item(project)
        assignment, page = opened(client, project)
        with CaptureQueriesContext(connection) as captured:
            assert send(client, project, assignment, page).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_going_back_in_the_browser_asks_the_server(client, project, item):
    assert "no-store" in client.get(address(project))["Cache-Control"]


def test_the_page_is_light(client, project, item):
    page = client.get(address(project)).content
    assert len(gzip.compress(page)) < 10_000
