"""The time line of an item: everything that happened to it, in order, from the file to the model."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate import flags, queue
from annotate.managing import bulk, timelines
from annotate.models import Assignment, Comment, Flag, Import
from annotate.submitting import submit_annotation
from pipeline.models import SnapshotItem
from pipeline.routing import route_items
from tests import factories
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


def words_of(item) -> list[str]:
    return [event.words for event in timelines.of_item(item)]


def ago(minutes: int):
    return timezone.now() - timedelta(minutes=minutes)


@pytest.fixture
def lived(project, manager, annotator, second_annotator):
    """An item that came with a file, was opened, flagged, answered, revised, skipped, and archived and back."""
    source = Import.objects.create(project=project, file_name="mails.jsonl", path="", created_by=manager)
    item = factories.item(project, source=source, created_at=ago(60), overlap=2, slots_open=2)
    held = queue.next_assignment(user=annotator, project=project)
    Assignment.objects.filter(pk=held.pk).update(leased_at=ago(50))
    flag = flags.raise_flag(assignment=held, kind=Flag.BROKEN, comment="cut off")
    Flag.objects.filter(pk=flag.pk).update(created_at=ago(45))
    for choice in "ab":
        held.refresh_from_db()
        submit_annotation(assignment=held, answers={"preference": {"choice": choice}}, reason=f"because {choice}")
    other = queue.next_assignment(user=second_annotator, project=project)
    queue.skip(assignment=other, reason="not mine")
    flags.resolve(flag=flag, by=manager, resolution="Mended.")
    asked = bulk.ask(project=project, verb="tag", value="x", choices={}, items=[item.pk])
    act = bulk.start(asked=asked, by=manager, send=lambda pk: None)
    bulk.undo(act=act, by=manager, send=lambda pk: None)
    item.refresh_from_db()
    return item


def test_everything_that_happened_stands_there_in_order(lived):
    events = timelines.of_item(lived)
    assert [event.words for event in events] == [
        "Came in with the file mails.jsonl",
        "Opened to label",
        "Flagged: shown wrong or cut off",
        "Answered",
        "Changed the answer (revision 1)",
        "Opened to label",
        "Skipped",
        "The flag was answered",
        "Changed with many others: Add the tag",
        "That was undone",
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert [event.details for event in events if event.words.startswith(("Answered", "Changed the"))] == [
        "a · because a",
        "b · because b",
    ]


def test_what_was_said_about_it_stands_there_too(project, reviewer):
    item = factories.item(project)
    Comment.objects.create(item=item, author=reviewer, role="reviewer", body="Which of the two?")
    (event,) = [event for event in timelines.of_item(item) if event.words == "Commented"]
    assert (event.who, event.details) == ("rita", "Which of the two?")


def test_a_lease_that_ran_out_says_so(project, annotator):
    item = factories.item(project)
    queue.release(assignment=queue.next_assignment(user=annotator, project=project))
    assert "The lease ran out or was given back" in words_of(item)


def test_the_page_has_one_time_line_with_the_pipelines_part(project, tmp_path, as_user, reviewer):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    route_items(project=project)
    snapshot = stand_ins.snapshot(project, tmp_path)
    SnapshotItem.objects.create(snapshot=snapshot, item=item, split="train", annotations=[])
    stand_ins.model(project, name="reward-1", snapshot=snapshot)
    client = as_user(reviewer)
    page = client.get(reverse("item", args=[project.slug, item.pk])).content.decode()
    assert 'id="timeline"' in page
    fragment = client.get(reverse("item_pipeline", args=[project.slug, item.pk])).content.decode()
    line = fragment.split('id="timeline" hx-swap-oob="true"')[1]
    for words in ("Came in", "Routed: people", f"Stands in snapshot {snapshot.number}", "reward-1 learned from it"):
        assert words in line


def test_reviewers_are_led_nowhere_they_may_not_go(lived, as_user, reviewer, manager):
    address = reverse("item", args=[lived.project.slug, lived.pk])
    link = reverse("import", args=[lived.project.slug, lived.source_id])
    assert link in as_user(manager).get(address).content.decode().split('id="timeline"')[1].split("Facts")[0]
    assert link not in as_user(reviewer).get(address).content.decode()


def test_the_time_line_costs_the_same_however_much_happened(project, annotator, second_annotator):
    item = factories.item(project, overlap=9, slots_open=9)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            timelines.of_item(item)
        return len(captured)

    queue.next_assignment(user=annotator, project=project)
    few = cost()
    held = queue.next_assignment(user=second_annotator, project=project)
    for choice in "abab":
        held.refresh_from_db()
        submit_annotation(assignment=held, answers={"preference": {"choice": choice}})
    assert cost() == few <= 7
