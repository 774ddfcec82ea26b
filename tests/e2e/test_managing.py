"""A manager in the browser: narrow the list, change many items, take it back; polls rest while nobody looks."""

import pytest
from django.urls import reverse

from annotate import queue, tallies
from annotate.models import BulkAct
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def managing(project, manager, signed_in, live_server, page):
    """Open one of the project's pages as its manager; what the console complains about fails the test."""
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

    def opened(name, *args, query=""):
        signed_in(manager)
        page.goto(live_server.url + reverse(name, args=[project.slug, *args]) + query)
        return page

    yield opened
    assert complaints == []


def test_the_list_is_narrowed_as_one_chooses_and_its_size_follows(project, managing):
    for number in range(3):
        factories.item(project, prompt=f"Sea {number}?", tags=["geo"])
    factories.item(project, prompt="Hill?", state="labelled", slots_open=0)
    page = managing("items")
    page.locator("#id_state").select_option("open")
    page.locator("#items-count", has_text="3 items").wait_for()
    assert page.locator("#items tbody tr").count() == 3
    assert "state=open" in page.url
    page.locator("#id_q").fill("sea 1?")
    page.keyboard.press("Enter")
    page.locator("#items-count", has_text="1 item").wait_for()
    page.locator("#items tbody tr", has_text="Sea 1?").wait_for()
    assert page.locator("#items tbody tr").count() == 1


def test_items_are_ticked_changed_and_put_back_from_the_keyboard(project, managing):
    items = [factories.item(project, prompt=f"Sea {number}?") for number in range(3)]
    page = managing("items")
    for item in items[:2]:
        page.get_by_role("checkbox", name=item.title).focus()
        page.keyboard.press("Space")
    page.get_by_label("Change items").select_option("tag")
    page.get_by_label("Tag, priority or number").fill("wet")
    page.keyboard.press("Enter")  # the only button of the form
    page.get_by_text("All 2 items change.").wait_for()
    page.keyboard.press("Enter")  # the button has the focus
    page.get_by_text("Done: 2 of 2 items changed").wait_for()
    assert sorted(project.items.values_list("tags", flat=True)) == [[], ["wet"], ["wet"]]
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Undo").press("Enter")
    page.get_by_text("2 items are as they were").wait_for()
    assert BulkAct.objects.get().restored == 2


def test_who_is_on_appears_by_itself_and_rests_while_the_page_is_hidden(project, annotator, managing):
    factories.item(project, prompt="Which sea?")
    tallies.add(project_id=project.pk, counts={"items": 1})
    page = managing("project")
    page.get_by_text("Nobody holds an item just now.").wait_for()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/raters/on/" in request.url else None)
    box = page.locator("[hx-get$='/raters/on/']")
    # What its ten seconds do, without waiting for them.
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    box.evaluate("box => htmx.ajax('GET', box.getAttribute('hx-get'), {source: box, target: box})")
    page.wait_for_timeout(150)
    assert asked == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    queue.next_assignment(user=annotator, project=project)
    box.evaluate("box => htmx.ajax('GET', box.getAttribute('hx-get'), {source: box, target: box})")
    page.get_by_role("link", name="Which sea?").wait_for()


@pytest.mark.once
@pytest.mark.parametrize("name", ["project", "items", "items_bulks", "raters", "acts"])
@pytest.mark.parametrize("width", [360, 3840])
def test_no_page_is_wider_than_its_screen(project, managing, page, name, width):
    factories.item(project, prompt="word " * 30, tags=["a-rather-long-tag-without-a-break" * 3])
    tallies.add(project_id=project.pk, counts={"items": 1})
    page.set_viewport_size({"width": width, "height": 800})
    managing(name)
    too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(too_wide) == 0
