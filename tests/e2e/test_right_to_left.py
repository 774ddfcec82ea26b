"""The pages in Arabic: mirrored, without loss, and with the answers that the same keys give in every language."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate import preferences
from annotate.models import Annotation
from tests import factories
from tests.e2e import furnished
from tests.e2e.waiting import arrived

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def arabic(page: Page, live_server, signed_in, annotator):
    """Open a page as an annotator who reads Arabic."""
    preferences.change_language(user=annotator, code="ar")
    signed_in(annotator)

    def open_it(address: str, width: int = 1280) -> Page:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(live_server.url + address)
        expect(page.locator("html")).to_have_attribute("dir", "rtl")
        return page

    return open_it


@pytest.fixture
def bench(arabic, project) -> Page:
    factories.item(project, "Which?", ("The first answer.", "The second answer."))
    page = arabic(reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    return page


def middle(locator) -> float:
    """The middle of an element, in pixels from the left of the screen."""
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2


def test_a_stands_where_reading_begins_and_so_does_its_end_of_the_scale(bench: Page):
    answers = bench.locator(".pair > .answer")
    assert answers.first.locator(".letter").inner_text() == "A"
    assert middle(answers.first) > middle(answers.last)
    points = bench.locator(".scale label")
    assert middle(points.first) > middle(points.last)
    assert points.first.locator("input").get_attribute("value") == "1"


def test_the_same_key_gives_the_same_answer_as_in_every_language(bench: Page):
    shown_as_a = bench.locator(".answer").first.locator(".prose").inner_text()
    bench.keyboard.press("1")
    bench.keyboard.press("Enter")
    expect(bench.locator("#waiting")).to_be_visible()
    arrived(bench)
    made = Annotation.objects.get()
    texts = {"a": "The first answer.", "b": "The second answer."}
    assert made.answers["preference"]["strength"] == 3
    assert texts[made.answers["preference"]["choice"]] == shown_as_a


def test_arrows_go_where_they_point(bench: Page):
    bench.keyboard.press("3")
    bench.keyboard.press("ArrowLeft")  # away from A, which is on the right
    expect(bench.locator(".scale input:checked")).to_have_attribute("value", "4")
    bench.keyboard.press("ArrowRight")
    bench.keyboard.press("ArrowRight")
    expect(bench.locator(".scale input:checked")).to_have_attribute("value", "2")


def test_what_is_written_keeps_its_direction(arabic, admin, annotator):
    project = furnished.all_kinds(admin, annotator)
    page = arabic(reverse("label", args=[project.slug]))
    direction = "(element) => getComputedStyle(element).direction"
    assert page.locator(".answer .prose :is(h1, p)").first.evaluate(direction) == "ltr"  # an English answer
    assert page.locator(".answer .code pre").first.evaluate(direction) == "ltr"
    assert page.locator("kbd").first.evaluate(direction) == "ltr"
    assert page.locator(".dock").evaluate(direction) == "rtl"


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_of_an_annotator_is_wider_than_the_screen(width, arabic, project, annotator, admin, manager, tmp_path):
    furnished.furnish(project, annotator, manager, tmp_path)
    kinds = furnished.all_kinds(admin, annotator)
    named = ["home", "keys", "account_change_password"]
    own = ["label", "label_history", "guidelines", "mine"]
    addresses = [reverse(name) for name in named] + [reverse(name, args=[project.slug]) for name in own]
    addresses.append(reverse("label", args=[kinds.slug]))
    wide = {}
    for address in addresses:
        page = arabic(address, width)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[address] = found
    assert wide == {}
