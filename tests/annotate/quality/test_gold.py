"""Items whose answer is known: mixed into the queue unseen, scored, and never part of a label."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate import queue, tallies
from annotate.models import Annotation, Gold, GoldAnswer, Item, Label, Project, Rater
from annotate.quality import gold
from annotate.submitting import submit_annotation
from tests import factories
from tests.annotate.quality.conftest import A, B

pytestmark = pytest.mark.django_db


def set_rate(project, rate: int) -> None:
    Project.objects.filter(pk=project.pk).update(gold_rate=rate)
    project.gold_rate = rate


def test_the_draw_is_fixed_and_hits_the_rate():
    rater = Rater(pk=7, gold_given=3)
    assert [gold.is_due(rater, n, 10) for n in range(50)] == [gold.is_due(rater, n, 10) for n in range(50)]
    hits = sum(gold.is_due(rater, n, 10) for n in range(20_000))
    assert 1850 < hits < 2150  # ten per cent, by ±3.5 standard deviations
    assert not any(gold.is_due(rater, n, 0) for n in range(100))
    other = Rater(pk=8, gold_given=3)
    assert [gold.is_due(rater, n, 10) for n in range(100)] != [gold.is_due(other, n, 10) for n in range(100)]


def test_gold_is_mixed_in_at_its_rate_and_never_twice_for_one_person(project, annotator, golden, work):
    set_rate(project, 30)
    known = {made.item_id for made in golden(10)}
    for _ in range(60):
        factories.item(project)
    done = work(annotator, 70)
    seen = [assignment.item_id for assignment in done if assignment.item_id in known]
    assert len(seen) == len(set(seen))
    assert 8 <= len(seen) <= 10
    assert Rater.objects.get(user=annotator).gold_given == len(seen)
    assert done[-1].item_id not in known  # where nothing real is left, no gold betrays itself


def test_without_a_rate_and_without_open_items_no_gold_comes(project, annotator, golden, work):
    golden(3)
    assert work(annotator, 5) == []
    factories.item(project)
    assert [assignment.item.state for assignment in work(annotator, 5)] == [Item.OPEN]


def test_gold_takes_no_place_gets_no_label_and_is_scored(project, annotator, second_annotator, golden, work):
    set_rate(project, 50)
    golden(4)
    for _ in range(12):
        factories.item(project, overlap=2, slots_open=2)
    work(annotator, 20)
    work(second_annotator, 20, lambda held: B if held.item.state == Item.GOLD else A)
    items = Item.objects.filter(state=Item.GOLD)
    assert set(items.values_list("slots_open", flat=True)) == {0}
    assert not Label.objects.filter(item__in=items).exists()
    assert not Annotation.objects.filter(item__in=items, counted=True).exists()
    right, wrong = Rater.objects.get(user=annotator), Rater.objects.get(user=second_annotator)
    assert right.gold_right == right.gold_seen >= 2
    assert (wrong.gold_right, wrong.gold_seen > 1) == (0, True)
    assert queue.recount(project=project) == 0
    assert Item.objects.filter(state=Item.LABELLED).count() == 12


def test_a_revised_answer_is_scored_again_and_counted_once(project, annotator, golden, work):
    set_rate(project, 50)
    golden(4)
    for _ in range(6):
        factories.item(project)
    held = next(each for each in work(annotator, 10, lambda _: B) if each.item.state == Item.GOLD)
    before = Rater.objects.get(user=annotator)
    held.refresh_from_db()
    submit_annotation(assignment=held, answers=A)
    after = Rater.objects.get(user=annotator)
    assert (after.gold_seen, after.gold_right) == (before.gold_seen, before.gold_right + 1)
    assert GoldAnswer.objects.get(gold__item=held.item_id).is_right


def test_the_page_and_the_answer_to_a_submit_do_not_tell_gold_from_others(project, annotator, golden, as_user):
    """The same page but for the item's own words, numbers and keys; nothing says gold anywhere."""
    set_rate(project, 50)
    golden(3)
    for _ in range(8):
        factories.item(project)
    tallies.add(project_id=project.pk, counts={"items": 11})
    client, shapes, kinds = as_user(annotator), {True: set(), False: set()}, []
    for _ in range(8):
        page = client.get(reverse("label", args=[project.slug])).content.decode()
        held = queue.next_assignment(user=annotator, project=project)
        is_gold = held.item.state == Item.GOLD
        kinds.append(is_gold)
        answer = {"answer-preference": "2", "seconds": "3"}
        sent = client.post(reverse("label_submit", args=[project.slug, held.pk]), answer, HTTP_HX_REQUEST="true")
        shapes[is_gold].add(shape(page) + shape(sent.content.decode()))
        assert "gold" not in (page + sent.content.decode()).lower()
    assert set(kinds) == {True, False}
    assert len(shapes[True] | shapes[False]) == 1


def shape(page: str) -> str:
    """The page without what differs from one item to the next."""
    page = re.sub(r"[0-9A-Za-z_-]{22,}={0,2}", "#", page)  # tokens and keys
    page = re.sub(r"\b(Yes|No)\.", "words", page)  # the answers, whose sides are drawn
    return re.sub(r"\d+", "#", page)


def test_the_strip_moves_on_with_gold_as_with_any_other(project, annotator, golden, as_user):
    set_rate(project, 50)
    golden(3)
    for _ in range(6):
        factories.item(project)
    tallies.add(project_id=project.pk, counts={"items": 9})  # six real ones, besides the three that are gold
    client, shown = as_user(annotator), []
    for _ in range(6):
        held = queue.next_assignment(user=annotator, project=project)
        sent = client.post(
            reverse("label_submit", args=[project.slug, held.pk]), {"answer-preference": "2"}, HTTP_HX_REQUEST="true"
        )
        shown.append(re.search(r"(\d+) of 6", sent.content.decode())[1])
    assert shown == ["1", "2", "3", "4", "5", "6"]


def test_an_ordinary_step_of_the_queue_asks_nothing_more_for_gold(project, annotator, golden):
    golden(3)
    for _ in range(4):
        factories.item(project)
    queries = []
    for rate in (0, 1):
        set_rate(project, rate)
        held = queue.next_assignment(user=annotator, project=project)
        submit_annotation(assignment=held, answers=A)
        with CaptureQueriesContext(connection) as seen:
            queue.next_assignment(user=annotator, project=project)
        queries.append(len(seen))
        assert Rater.objects.get(user=annotator).gold_given == 0
        submit_annotation(assignment=queue.next_assignment(user=annotator, project=project), answers=A)
    assert queries[0] == queries[1]


def test_marking_takes_the_label_away_and_unmarking_brings_it_back(project, annotator, manager, work):
    item = factories.item(project)
    work(annotator, 1)
    assert tallies.read(project.pk)["labels_human"] == 1
    gold.mark(item=item, answers=A, by=manager)
    item.refresh_from_db()
    assert (item.state, Label.objects.count(), tallies.read(project.pk)["labels_human"]) == (Item.GOLD, 0, 0)
    gold.unmark(item=item, by=manager)
    item.refresh_from_db()
    assert (item.state, Label.objects.get().value, item.slots_open) == (Item.LABELLED, "a", 0)
    assert tallies.read(project.pk)["labels_human"] == 1


def test_a_lease_of_gold_that_ran_out_is_taken_up_like_any_other(project, annotator, golden, as_user):
    set_rate(project, 50)
    golden(5)
    for _ in range(9):
        factories.item(project)
    while (held := queue.next_assignment(user=annotator, project=project)).item.state != Item.GOLD:
        submit_annotation(assignment=held, answers=A)
    queue.release(assignment=held)
    assert as_user(annotator).post(reverse("label_draft", args=[project.slug, held.pk]), {"key": "k"}).json()["held"]


def test_a_manager_says_what_is_expected_and_sees_how_people_did(project, manager, annotator, as_user, work):
    item = factories.item(project)
    client = as_user(manager)
    address = reverse("item_gold", args=[project.slug, item.pk])
    nothing = client.post(address, {"use": "gold"})
    assert (nothing.status_code, Gold.objects.count()) == (422, 0)
    client.post(
        address,
        {"use": "attention", "answer-preference": "2", "answer-helpful-0": "5", "tolerance-helpful": "1",
         "explanation": "It asks for **two**."},
    )  # fmt: skip
    made = Gold.objects.get()
    assert made.answers == {"preference": {"choice": "a", "strength": 2}, "helpful": [5, None]}
    assert (made.use, made.tolerance) == ("attention", {"helpful": 1.0})
    assert 'value="2" data-' in client.get(address).content.decode()
    set_rate(project, 50)
    for _ in range(9):
        factories.item(project)
    work(annotator, 9)  # without a rating: not as expected
    page = client.get(reverse("quality", args=[project.slug])).content.decode()
    assert "0%" in page
    assert "attention check" in page


def test_gold_is_not_among_the_items_that_are_to_be_labelled(project, manager):
    items = [factories.item(project) for _ in range(3)]
    tallies.add(project_id=project.pk, counts={"items": 3, "routed_human": 3})
    before = tallies.read(project.pk)
    gold.mark(item=items[0], answers=A, by=manager)
    gold.mark(item=items[0], answers=B, by=manager)  # another answer, the same item
    now = tallies.read(project.pk)
    assert (now["items"], now["routed_human"], now["gold"]) == (2, 2, 1)
    gold.unmark(item=items[0], by=manager)
    after = tallies.read(project.pk)
    assert {name: after[name] for name in before} == before
    assert after["gold"] == 0
