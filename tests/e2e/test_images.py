"""Pictures in a browser: seen at once, enlarged by key and by mouse, on a phone too, and in items fetched ahead."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests import factories
from tests.e2e.test_accessibility import violations
from tests.e2e.waiting import fetched_ahead

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


@pytest.fixture
def items(project):
    wide = factories.attachment(project, factories.image_file((1600, 900), "teal"))
    tall = factories.attachment(project, factories.image_file((500, 2000), "orange"))
    for number in (1, 2):
        factories.item(
            project,
            f"Item {number}?\n\n![a teal field](attachment:{wide.sha256})",
            (f"![](attachment:{tall.sha256})\n\nOrange.", "No picture."),
            priority=float(-number),
        )


@pytest.fixture
def bench(page: Page, live_server, signed_in, project, annotator, items) -> Page:
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    return page


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def places(page: Page) -> list[dict[str, int]]:
    """Where pictures stand and how large they are, in whole pixels."""
    boxes = [picture.bounding_box() for picture in page.locator(".picture button").all()]
    return [{name: round(value) for name, value in box.items()} for box in boxes]


def loaded(page: Page, selector: str) -> None:
    expect(page.locator(selector)).to_have_js_property("complete", value=True)
    assert page.locator(selector).evaluate("image => image.naturalWidth") > 0


def test_a_picture_is_enlarged_by_key_and_the_focus_comes_back(bench: Page):
    button = bench.get_by_role("button", name="Enlarge the picture: a teal field")
    loaded(bench, ".asked .picture img")
    button.focus()
    bench.keyboard.press("Enter")
    dialog, scale = bench.locator("#zoom"), bench.locator("#zoom output")
    expect(dialog).to_be_visible()
    loaded(bench, "#zoom img")
    fitted = scale.text_content()
    bench.keyboard.press("+")
    bench.keyboard.press("+")
    larger = bench.locator("#zoom img").evaluate("image => image.width")
    assert scale.text_content() != fitted
    assert larger > bench.evaluate("document.querySelector('#zoom .stage').clientWidth")
    bench.keyboard.press("-")
    assert bench.locator("#zoom img").evaluate("image => image.width") < larger
    bench.keyboard.press("0")
    expect(scale).to_have_text(fitted)
    bench.keyboard.press("4")  # an answer's key, which does nothing to the item behind
    bench.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    expect(bench.locator("input[name='answer-preference']:checked")).to_have_count(0)
    bench.keyboard.press("Space")
    expect(dialog).to_be_visible()


def test_pictures_of_an_item_fetched_ahead_are_enlarged_too(bench: Page):
    fetched_ahead(bench)
    bench.keyboard.press("4")
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 2?")
    bench.locator(".answer .picture button").click()
    expect(bench.locator("#zoom")).to_be_visible()
    loaded(bench, "#zoom img")
    bench.get_by_role("button", name=re.compile("Close")).click()
    expect(bench.locator("#zoom")).to_be_hidden()


def test_nothing_jumps_or_overflows_on_a_phone(bench: Page):
    bench.set_viewport_size({"width": 360, "height": 740})
    bench.route("**/attachments/**", lambda route: route.abort())
    bench.reload()
    expect(bench.locator("#reading")).to_be_focused()
    before = places(bench)
    bench.unroute("**/attachments/**")
    bench.reload()
    loaded(bench, ".asked .picture img")
    assert places(bench) == before
    assert overflow(bench) <= 0
    bench.locator(".asked .picture button").click()
    expect(bench.locator("#zoom")).to_be_visible()
    for _ in range(6):
        bench.keyboard.press("+")
    assert overflow(bench) <= 0
    assert bench.locator("#zoom .stage").evaluate("stage => stage.scrollWidth > stage.clientWidth")


def test_an_item_s_own_page_enlarges_pictures_too(page: Page, live_server, signed_in, project, manager, items):
    signed_in(manager)
    page.goto(live_server.url + reverse("item", args=[project.slug, project.items.first().pk]))
    page.get_by_role("button", name="Enlarge the picture: a teal field").press("Enter")
    expect(page.locator("#zoom")).to_be_visible()
    loaded(page, "#zoom img")


def test_pictures_and_their_dialog_can_be_used_by_everybody(bench: Page):
    assert violations(bench) == []
    bench.locator(".asked .picture button").click()
    expect(bench.locator("#zoom")).to_be_visible()
    loaded(bench, "#zoom img")
    assert violations(bench) == []
