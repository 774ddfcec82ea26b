"""Labelling in a browser, by keyboard: one item after another, drafts that survive, undo, skip, a lost network."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate import tallies
from annotate.models import Annotation, Assignment, Item, Project, Question
from tests import factories
from tests.e2e.waiting import arrived, fetched_ahead

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RETRY = 3_000  # milliseconds until the page tries again by itself


@pytest.fixture
def items(project) -> list[Item]:
    sums = [factories.item(project, f"What is {n} + {n}?", (f"It is {2 * n}.", f"It is {3 * n}.")) for n in (1, 2, 3)]
    tallies.add(project_id=project.pk, counts={"items": 3, "routed_human": 3})
    Item.objects.filter(pk=sums[0].pk).update(priority=2.0)
    Item.objects.filter(pk=sums[1].pk).update(priority=1.0)
    return sums


@pytest.fixture
def bench(page: Page, live_server, signed_in, project, annotator, items) -> Page:
    """The workbench with the first item on it."""
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    return page


def press(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def shows(page: Page, prompt: str) -> None:
    """The item is on the screen, named in the title, and keys go to it."""
    expect(page.locator(".turn").last).to_contain_text(prompt)
    expect(page).to_have_title(re.compile(re.escape(prompt)))
    expect(page.locator("#reading")).to_be_focused()


def chosen(page: Page, name: str):
    return page.locator(f"input[name='{name}']:checked")


def test_from_the_list_of_projects_one_key_starts_and_all_else_is_keys_too(
    page: Page, live_server, signed_in, project, annotator, items
):
    signed_in(annotator)
    page.goto(live_server.url)
    # The browser moves the focus where the page says with its first frame, which may come after the load event.
    expect(page.get_by_role("link", name="Start labelling")).to_be_focused()
    page.keyboard.press("Enter")
    shows(page, "What is 1 + 1?")
    press(page, "2tq")
    page.keyboard.press("y")
    page.keyboard.press("c")
    page.keyboard.type("The 5 is wrong, both by 2 and by taste")  # digits and letters in a text are no keys
    expect(chosen(page, "answer-preference")).to_have_value("2")
    page.keyboard.press("Enter")
    shows(page, "What is 2 + 2?")
    expect(page.locator("#announcer")).to_have_text("Kept. What is 2 + 2?")
    expect(page.locator(".strip")).to_contain_text("1 today")
    press(page, "b")
    page.keyboard.press("Enter")
    shows(page, "What is 3 + 3?")
    press(page, "4")
    page.keyboard.press("Enter")
    expect(page.locator("#waiting")).to_contain_text("All done")
    arrived(page)
    first, second, third = Annotation.objects.order_by("pk")
    left, right = first.order
    assert first.answers["preference"] == {"choice": "ab"[left], "strength": 2}
    assert (first.answers["helpful"][left], first.answers["helpful"][right]) == (1, 1)
    assert first.reason == "The 5 is wrong, both by 2 and by taste"
    assert first.seconds is not None
    assert second.answers["preference"] == {"choice": "both_bad"}
    assert third.answers["preference"] == {"choice": "tie"}
    assert set(Item.objects.values_list("state", flat=True)) == {"labelled"}


def test_what_was_typed_is_there_again_after_leaving(bench: Page):
    press(bench, "6w")
    bench.keyboard.press("c")
    bench.keyboard.type("half a thou")
    expect(bench.locator("#saved")).to_have_text(re.compile("saved"))
    bench.wait_for_function("document.querySelector('#saved').textContent.startsWith('saved ')")
    bench.reload()
    expect(chosen(bench, "answer-preference")).to_have_value("6")
    expect(chosen(bench, "answer-helpful-0")).to_have_value("2")
    expect(bench.locator("[name=reason]")).to_have_value("half a thou")


def test_leaving_at_once_saves_what_was_just_pressed(bench: Page, project, live_server):
    press(bench, "7")
    bench.goto(live_server.url)  # before the draft was due
    for _ in range(100):
        if any(Assignment.objects.values_list("draft", flat=True)):
            break
        bench.wait_for_timeout(50)
    bench.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(chosen(bench, "answer-preference")).to_have_value("7")


def test_undo_brings_the_last_one_back_and_changes_it(bench: Page):
    press(bench, "1")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    press(bench, "z")
    shows(bench, "What is 1 + 1?")
    expect(bench).to_have_url(re.compile(r"/label/\d+/$"))
    expect(chosen(bench, "answer-preference")).to_have_value("1")
    bench.reload()
    shows(bench, "What is 1 + 1?")
    press(bench, "7")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    expect(bench).to_have_url(re.compile(r"/label/$"))
    arrived(bench)
    old, new = Annotation.objects.order_by("revision")
    assert new.replaces == old
    assert {old.answers["preference"]["choice"], new.answers["preference"]["choice"]} == {"a", "b"}


def test_skip_asks_why_without_leaving_the_keyboard(bench: Page):
    press(bench, "x")
    expect(bench.locator("input[name=skip_reason]")).to_be_focused()
    bench.keyboard.press("Escape")
    expect(bench.locator("#skip")).to_be_hidden()
    press(bench, "x")
    bench.keyboard.type("not my field")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    arrived(bench)
    assert Assignment.objects.get(state="skipped").skip_reason == "not my field"


def test_enter_without_an_answer_says_what_is_missing_and_sends_nothing(bench: Page):
    bench.keyboard.press("Enter")
    expect(bench.locator("#problem")).to_have_text("“Which answer is better?” still needs an answer.")
    expect(bench.locator("[name=answer-preference]").first).to_be_focused()
    press(bench, "3")
    expect(bench.locator("#problem")).to_be_empty()
    assert not Annotation.objects.exists()


def test_ratings_move_by_arrow_and_come_off_again(bench: Page, project):
    press(bench, "r")
    expect(chosen(bench, "answer-helpful-0")).to_have_value("4")
    bench.keyboard.press("ArrowRight")
    expect(chosen(bench, "answer-helpful-0")).to_have_value("5")
    press(bench, "t")
    expect(chosen(bench, "answer-helpful-0")).to_have_count(0)


def test_the_next_item_is_there_before_the_answer_has_arrived(bench: Page):
    fetched_ahead(bench)
    held = []
    bench.route("**/submit/", lambda route: held.append(route))
    press(bench, "2")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    assert not Annotation.objects.exists()
    held[0].continue_()
    arrived(bench)
    assert Annotation.objects.count() == 1
    expect(bench.locator(".strip")).to_contain_text("1 today")


def test_without_a_network_one_goes_on_and_each_answer_arrives_once(bench: Page, context):
    fetched_ahead(bench)
    context.set_offline(True)
    press(bench, "2")
    expect(bench.locator("#saved")).to_have_text("kept in this browser, not on the server yet")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    expect(bench.locator("#toast")).to_contain_text("The network is away")
    expect(bench.locator("#saved")).to_have_text("kept in this browser, not sent yet (1 answer waiting)")
    press(bench, "6")
    bench.keyboard.press("Enter")
    bench.set_viewport_size({"width": 360, "height": 640})
    assert bench.evaluate("document.documentElement.scrollWidth") <= 360
    expect(bench.locator("#reading")).to_contain_text("Waiting for the network")
    expect(bench.locator("#saved")).to_contain_text("(2 answers waiting)")
    assert not Annotation.objects.exists()
    context.set_offline(False)
    shows(bench, "What is 3 + 3?")
    arrived(bench)
    first, second = Annotation.objects.order_by("pk")
    assert (first.item.title, second.item.title) == ("What is 1 + 1?", "What is 2 + 2?")
    expect(bench.locator(".strip")).to_contain_text("2 today")


def test_closed_without_a_network_the_answer_and_the_draft_are_there_on_return(
    bench: Page, context, project, live_server
):
    fetched_ahead(bench)
    context.set_offline(True)
    press(bench, "2")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    press(bench, "5")
    bench.keyboard.press("c")
    bench.keyboard.type("half a thou")
    bench.close()
    context.set_offline(False)
    page = context.new_page()
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    shows(page, "What is 2 + 2?")
    arrived(page)
    assert Annotation.objects.get().item.title == "What is 1 + 1?"
    expect(chosen(page, "answer-preference")).to_have_value("5")
    expect(page.locator("[name=reason]")).to_have_value("half a thou")
    expect(page.locator("#saved")).to_contain_text("saved")


def test_an_answer_that_the_server_cannot_take_comes_back_as_it_was(bench: Page, project):
    fetched_ahead(bench)
    press(bench, "2")
    Question.objects.filter(name="preference").update(config={"points": 7, "tie": True, "both_bad": True})
    Question.objects.filter(name="helpful").update(required=True)
    Project.objects.update(rubric_version=2)  # the rubric changed while the item was on the screen
    bench.keyboard.press("c")
    bench.keyboard.type("because")
    bench.keyboard.press("Enter")
    expect(bench.locator("#problem")).to_contain_text("“Helpful” still needs a rating for A and B.")
    shows_prompt = bench.locator(".turn").last
    expect(shows_prompt).to_contain_text("What is 1 + 1?")
    expect(chosen(bench, "answer-preference")).to_have_value("2")
    expect(bench.locator("[name=reason]")).to_have_value("because")
    bench.keyboard.press("Escape")
    press(bench, "ry")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    arrived(bench)
    assert Annotation.objects.get().reason == "because"


def test_a_second_tab_holds_the_same_two_items(bench: Page, context, project, live_server):
    fetched_ahead(bench)
    other = context.new_page()
    other.goto(live_server.url + reverse("label", args=[project.slug]))
    shows(other, "What is 1 + 1?")
    fetched_ahead(other)
    assert Assignment.objects.filter(state="leased").count() == 2
    press(bench, "1")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    arrived(bench)
    other.reload()
    shows(other, "What is 2 + 2?")
    assert Assignment.objects.filter(state="leased").count() == 2


def test_signed_out_meanwhile_one_signs_in_elsewhere_and_goes_on(bench: Page, context, signed_in, annotator):
    fetched_ahead(bench)
    bench.clock.install()
    press(bench, "5")
    context.clear_cookies(name="sessionid")
    bench.keyboard.press("Enter")
    shows(bench, "What is 2 + 2?")
    expect(bench.locator("#toast")).to_contain_text("signed out")
    expect(bench.locator("#saved")).to_contain_text("(1 answer waiting)")
    signed_in(annotator)
    bench.clock.fast_forward(RETRY)
    arrived(bench)
    assert Annotation.objects.count() == 1


def test_nobody_else_in_the_same_browser_sees_or_sends_it(
    bench: Page, context, signed_in, annotator, second_annotator, project, live_server
):
    fetched_ahead(bench)
    bench.clock.install()
    context.set_offline(True)
    press(bench, "5")
    bench.keyboard.press("Enter")
    expect(bench.locator("#saved")).to_contain_text("(1 answer waiting)")
    signed_in(second_annotator)
    context.set_offline(False)
    expect(bench.locator("#toast")).to_contain_text("Somebody else is signed in")
    other = context.new_page()
    other.goto(live_server.url + reverse("label", args=[project.slug]))
    shows(other, "What is 3 + 3?")
    expect(other.locator("#saved")).not_to_contain_text("waiting")
    assert not Annotation.objects.exists()
    signed_in(annotator)
    bench.clock.fast_forward(RETRY)
    arrived(bench)
    assert Annotation.objects.get().rater.user == annotator


def test_an_answer_that_is_never_taken_can_be_copied_and_discarded(bench: Page, context, annotator):
    """Removed from the project meanwhile: what was given is shown in words, comes again, and goes when told to."""
    fetched_ahead(bench)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    membership = annotator.memberships.get()
    annotator.memberships.all().delete()
    press(bench, "6")
    bench.keyboard.press("c")
    bench.keyboard.type("the second is right")
    bench.keyboard.press("Enter")
    sheet = bench.locator("#refused")
    expect(sheet).to_contain_text("What is 1 + 1?")
    expect(sheet.locator("pre")).to_have_text(re.compile("preference: 6\nreason: the second is right"))
    membership.save(force_insert=True)
    bench.reload()
    expect(sheet).to_be_visible()
    bench.keyboard.press("Escape")
    expect(sheet).to_be_hidden()  # kept for now
    bench.reload()
    sheet.get_by_role("button", name="Copy").click()
    expect(sheet.get_by_role("button", name="Copied")).to_be_visible()
    assert "the second is right" in bench.evaluate("navigator.clipboard.readText()")
    sheet.get_by_role("button", name="Discard").click()
    expect(sheet).to_be_hidden()
    arrived(bench)  # nothing is left
    bench.reload()
    expect(bench.locator("#reading")).to_be_focused()
    expect(sheet).to_be_hidden()
    assert not Annotation.objects.exists()


def test_panels_open_and_close_by_key(bench: Page):
    press(bench, "g")
    expect(bench.locator("#guidelines")).to_contain_text("Be kind")
    press(bench, "2")  # a key for the item does nothing behind a panel
    press(bench, "g")
    expect(bench.locator("#guidelines")).to_be_hidden()
    bench.keyboard.press("?")
    expect(bench.locator("#keys")).to_be_visible()
    bench.keyboard.press("Escape")
    expect(bench.locator("#keys")).to_be_hidden()
    expect(chosen(bench, "answer-preference")).to_have_count(0)


def test_the_page_that_waits_offers_new_work_by_itself(page: Page, live_server, signed_in, project, annotator):
    signed_in(annotator)
    page.clock.install()
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#waiting")).to_contain_text("There is nothing here yet")
    factories.item(project, "At last?")
    page.clock.fast_forward(16_000)
    expect(page.locator("#start")).to_be_focused()
    assert not Assignment.objects.exists()
    page.clock.resume()
    page.keyboard.press("Enter")
    shows(page, "At last?")


def test_a_page_in_use_keeps_its_lease_and_one_left_alone_does_not(
    page: Page, live_server, signed_in, project, annotator
):
    signed_in(annotator)
    factories.item(project)
    page.clock.install()
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    sent = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/draft/") else None)
    page.clock.run_for(150_000)
    assert sent == []  # nobody is there
    with page.expect_response("**/draft/") as response:
        page.keyboard.press("j")
        page.clock.run_for(2_000)
    assert response.value.json() == {"saved": True, "held": True}
    assert Assignment.objects.get().active_seconds < 70  # idle time is not counted


@pytest.mark.parametrize(("width", "height"), [(360, 640), (1280, 720), (1920, 1080)])
def test_everything_is_in_reach_at_any_width(bench: Page, width, height):
    bench.set_viewport_size({"width": width, "height": height})
    wide = bench.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    for selector in (".scale label", ".submit", "[data-skip]"):
        box = bench.locator(selector).first.bounding_box()
        assert box["x"] >= 0
        assert box["y"] + box["height"] <= height
    bench.locator(".scale label").nth(2).click()
    bench.locator(".submit").click()
    shows(bench, "What is 2 + 2?")
