"""From the first minute on a project to its queue, by keyboard: training with feedback, the quiz, then labelling."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate import queue, tallies
from annotate.models import Assignment, GoldAnswer, Item, Membership, Project, Rater
from annotate.quality import gold
from annotate.submitting import submit_annotation
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

A = {"preference": {"choice": "a"}}


@pytest.fixture
def school(project, manager) -> None:
    """One training item, two of the quiz, two gold (as soon as there are any) and four real ones."""
    Project.objects.filter(pk=project.pk).update(has_training=True, has_quiz=True, quiz_pass_mark=50, gold_rate=100)
    for number, use in enumerate(["training", "quiz", "quiz", "gold", "gold"]):
        item = factories.item(project, f"Known {number}?", ("It is blue.", "It is green."))
        gold.mark(item=item, answers=A, by=manager, use=use, explanation="The sky is *blue*.")
    for number in range(4):
        factories.item(project, f"Real {number}?")
    tallies.add(project_id=project.pk, counts={"items": 9})


def answer(page: Page, choice: str) -> None:
    """Press the key that says `choice` (a or b, as stored) of the item on the screen, then Enter."""
    here = re.search(r"/(\d+)/submit/", page.locator("#answer").get_attribute("action"))
    held = Assignment.objects.get(pk=here[1])
    page.keyboard.press("2" if held.order["ab".index(choice)] == 0 else "6")
    page.keyboard.press("Enter")


def test_training_then_the_quiz_then_labelling_with_gold_nobody_sees(
    page: Page, live_server, signed_in, project, annotator, school
):
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator(".strip")).to_contain_text("Training 1 / 1")
    expect(page.locator("#reading")).to_be_focused()
    answer(page, "b")
    expect(page.locator(".teaching")).to_contain_text("Here we see it differently")
    expect(page.locator(".teaching em")).to_have_text("blue")
    page.keyboard.press("Enter")
    for number, choice in ((1, "a"), (2, "b")):
        expect(page.locator(".strip")).to_contain_text(f"Quiz {number} / 2")
        expect(page.locator(".turn").last).to_contain_text(f"Known {number}?")
        answer(page, choice)
    expect(page.locator(".teaching")).to_contain_text("You have passed the quiz")
    expect(page.locator(".teaching")).to_contain_text("You answered 1 of 2 as expected; 1 are needed to pass.")
    expect(page.locator(".lesson")).to_have_count(1)
    assert Membership.objects.get(user=annotator).quiz_state == "passed"
    page.keyboard.press("Enter")
    for done in range(4, 20):
        expect(page.locator("#answer, #waiting")).to_have_count(1)
        if page.locator("#waiting").count():
            break
        assert "gold" not in page.content().lower()
        answer(page, "a")
        expect(page.locator(".strip")).to_contain_text(f"{done} today")
    assert Item.objects.filter(state=Item.LABELLED).count() == 4
    rater = Rater.objects.get(user=annotator)
    assert rater.gold_right == rater.gold_seen == rater.gold_given == GoldAnswer.objects.count() - 3 > 0


def test_a_reviewer_decides_by_keyboard_and_the_annotator_reads_why(
    page: Page, live_server, signed_in, project, annotator, second_annotator, reviewer
):
    item = factories.item(project, "Which day is it?", ("Monday.", "Tuesday."), overlap=2, slots_open=2)
    for user, choice in ((annotator, "a"), (second_annotator, "b")):
        held = queue.next_assignment(user=user, project=project)
        submit_annotation(assignment=held, answers={"preference": {"choice": choice}})
    signed_in(reviewer)
    page.goto(live_server.url + reverse("review", args=[project.slug]))
    expect(page.locator("h1")).to_have_text("Which day is it?")
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.keyboard.type("The calendar in the prompt says Monday.")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.locator("h2", has_text="No disagreement waits")).to_be_visible()
    assert item.labels.get(question__name="preference").value == "a"
    page.context.clear_cookies()
    signed_in(second_annotator)
    page.goto(live_server.url + reverse("mine", args=[project.slug]))
    returned = page.locator("#returned")
    expect(returned).to_contain_text("The calendar in the prompt says Monday.")
    returned.get_by_role("link", name="Look at it again").click()
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator(".turn").last).to_contain_text("Which day is it?")
