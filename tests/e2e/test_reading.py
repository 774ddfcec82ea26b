"""Reading and the keyboard, in a browser: own keys, flags, the last items, source, differences, panes, a phone."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate import preferences
from annotate.models import Annotation, Assignment, Flag, Item
from tests import factories
from tests.e2e.waiting import arrived

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]

LONG = "\n\n".join(f"Paragraph {n} says *something* that takes up a line or two on any screen." for n in range(60))
RICH = (
    "# A title\n\n| " + " | ".join(f"column {n}" for n in range(14)) + " |\n|" + "---|" * 14 + "\n| "
    + " | ".join("wide_content_here" for _ in range(14)) + " |\n\n"
    "```python\nprint('" + "x" * 200 + "')\n```\n\n$\\frac{a}{b}$ and مرحبا\n\nمرحبا بكم\n\n" + "w" * 300
)  # fmt: skip


@pytest.fixture
def items(project) -> list[Item]:
    texts = [
        ("The cat sat on the mat.", "The dog sat on the mat, too."),
        (LONG, LONG + "\n\nOne more."),
        (RICH, "Short."),
    ]
    return [factories.item(project, f"Item {n}?", pair, priority=float(-n)) for n, pair in enumerate(texts, start=1)]


@pytest.fixture
def bench(page: Page, live_server, signed_in, project, annotator, items) -> Page:
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    return page


def on_to(page: Page, title: str) -> None:
    """Answer what is on the screen and wait for the next item."""
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.locator(".turn").last).to_contain_text(title)
    expect(page.locator("#reading")).to_be_focused()


def scrolled_to(pane, least: int, way: str = "scrollTop") -> None:
    for _ in range(40):
        if pane.evaluate(f"pane => pane.{way}") > least:
            return
        pane.page.wait_for_timeout(50)
    raise AssertionError(f"The pane stands at {pane.evaluate(f'pane => pane.{way}')}.")


def test_a_key_of_one_s_own_is_chosen_by_pressing_it_and_used_for_labelling(bench: Page, annotator, live_server):
    bench.keyboard.press("?")
    bench.get_by_role("link", name="Choose your own").click()
    bench.wait_for_url("**/keys/**")  # and its script
    field = bench.locator("#key-level-1")
    field.focus()
    bench.keyboard.press("z")
    expect(bench.locator("#problem")).to_contain_text("“z” is taken: Bring the last one back")
    bench.locator("#key-level-1").focus()
    bench.keyboard.press("-")
    expect(bench.get_by_text("yours")).to_have_count(1)
    bench.get_by_role("link", name="Back to labelling").click()
    expect(bench.locator("#reading")).to_be_focused()
    expect(bench.locator(".scale label").first).to_contain_text("-")
    bench.keyboard.press("1")
    expect(bench.locator("input[name='answer-preference']:checked")).to_have_count(0)
    bench.keyboard.press("-")
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 2?")
    arrived(bench)
    made = Annotation.objects.get()
    assert made.answers["preference"] == {"choice": "ab"[made.order[0]], "strength": 3}


def test_another_key_submits_and_enter_does_not(page: Page, live_server, signed_in, project, annotator, items):
    preferences.change_key(user=annotator, action="submit", key="=")
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert not Annotation.objects.exists()
    page.keyboard.press("=")
    expect(page.locator(".turn").last).to_contain_text("Item 2?")


def test_letters_work_where_the_layout_has_others(bench: Page):
    bench.evaluate(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ч', code: 'KeyX', bubbles: true, cancelable: true}))"
    )
    expect(bench.locator("input[name=skip_reason]")).to_be_focused()


def test_a_skip_takes_two_keys(bench: Page):
    bench.keyboard.press("x")
    bench.keyboard.press("2")
    expect(bench.locator(".turn").last).to_contain_text("Item 2?")
    arrived(bench)
    assert Assignment.objects.get(state="skipped").skip_reason == "not my field"


def test_a_flag_takes_the_keyboard_only_and_the_item_stays(bench: Page):
    bench.keyboard.press("4")
    bench.keyboard.press("f")
    expect(bench.locator("#flag")).to_be_visible()
    bench.keyboard.press("3")
    expect(bench.locator("#flag input[value=harmful]")).to_be_checked()
    bench.locator("[name=comment]").focus()
    bench.keyboard.type("2 fast 4 me")
    bench.keyboard.press("Enter")
    expect(bench.locator("#toast")).to_contain_text("Flagged: harmful content")
    expect(bench.locator("#flag")).to_be_hidden()
    expect(bench.locator("input[name='answer-preference']:checked")).to_have_value("4")
    flag = Flag.objects.get()
    assert (flag.kind, flag.comment) == ("harmful", "2 fast 4 me")


def test_the_last_items_are_walked_by_arrows_and_changed(bench: Page):
    on_to(bench, "Item 2?")
    on_to(bench, "Item 3?")
    bench.keyboard.press("c")
    bench.keyboard.type("kept meanwhile")
    bench.keyboard.press("Escape")
    bench.keyboard.press("h")
    walk = bench.locator("#history [data-walk]")
    expect(walk).to_have_count(2)
    expect(walk.first).to_be_focused()
    expect(walk.first).to_contain_text("Item 2?")
    bench.keyboard.press("ArrowDown")
    expect(walk.nth(1)).to_be_focused()
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 1?")
    expect(bench.locator("#history")).to_be_hidden()
    expect(bench.locator("input[name='answer-preference']:checked")).to_have_value("4")
    bench.keyboard.press("7")
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 3?")
    expect(bench.locator("[name=reason]")).to_have_value("kept meanwhile")
    assert Annotation.objects.filter(item__title="Item 1?").count() == 2


def test_the_source_is_shown_as_written_and_stays_so_for_the_next_item(bench: Page, annotator):
    bench.keyboard.press("m")
    expect(bench.locator(".body .source").first).to_be_visible()
    expect(bench.locator("[data-aid=source]")).to_have_attribute("aria-pressed", "true")
    expect(bench.locator(".body .prose").first).to_be_hidden()
    on_to(bench, "Item 2?")
    expect(bench.locator(".body .source").first).to_contain_text("*something*")
    bench.keyboard.press("m")
    expect(bench.locator(".body .source").first).to_be_hidden()
    expect(bench.locator(".body em").first).to_be_visible()


def test_the_differences_are_marked_on_both_sides_and_end_with_the_item(bench: Page):
    bench.keyboard.press("d")
    bodies = bench.locator(".answer > .body")
    marks = bench.locator(".compared del"), bench.locator(".compared ins")
    expect(bodies.first.locator(".compared")).to_be_visible()
    left_is_cat = "cat" in bodies.first.inner_text()
    expect(marks[0].first).to_have_text("cat" if left_is_cat else "dog")
    expect(marks[1].first).to_have_text("dog" if left_is_cat else "cat")
    bench.keyboard.press("d")
    expect(bench.locator(".compared").first).to_be_hidden()
    bench.keyboard.press("d")
    on_to(bench, "Item 2?")
    expect(bench.locator("[data-aid=diff]")).to_have_attribute("aria-pressed", "false")


def test_a_difference_far_below_comes_into_sight(bench: Page):
    on_to(bench, "Item 2?")
    bench.keyboard.press("d")
    expect(bench.locator(".compared del, .compared ins").first).to_be_in_viewport()
    assert bench.locator("#reading").evaluate("region => region.scrollTop") > 500


def test_panes_scroll_on_their_own_and_together_and_are_remembered(bench: Page, annotator):
    bench.set_viewport_size({"width": 1280, "height": 800})
    on_to(bench, "Item 2?")
    a, b = bench.locator(".answer > .body").all()
    bench.keyboard.press("v")
    expect(a).to_have_attribute("tabindex", "0")
    expect(a).to_have_attribute("aria-label", re.compile("Text of answer A"))
    a.evaluate("pane => pane.scrollTo(0, 400)")
    bench.wait_for_timeout(100)
    assert b.evaluate("pane => pane.scrollTop") == 0
    bench.keyboard.press("s")
    a.evaluate("pane => pane.scrollTo(0, 900)")
    scrolled_to(b, 800)
    bench.keyboard.press("j")
    scrolled_to(a, 950)
    annotator.refresh_from_db()
    assert preferences.reading(annotator) == {"source": False, "panes": True, "together": True, "broad": False}
    bench.reload()
    expect(bench.locator("[data-aid=panes]")).to_have_attribute("aria-pressed", "true")


def test_long_answers_fold_only_when_asked(bench: Page):
    on_to(bench, "Item 2?")
    body = bench.locator(".answer > .body").first
    whole = body.bounding_box()["height"]
    bench.keyboard.press("l")
    assert body.bounding_box()["height"] < whole / 3
    bench.keyboard.press("l")
    assert body.bounding_box()["height"] == whole
    bench.keyboard.press("l")
    on_to(bench, "Item 3?")
    expect(bench.locator("[data-aid=fold]")).to_have_attribute("aria-pressed", "false")


def test_code_can_be_copied(bench: Page, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    on_to(bench, "Item 2?")
    on_to(bench, "Item 3?")
    bench.locator(".copy").click()
    expect(bench.locator(".copy")).to_have_text("Copied")
    assert "print('xxx" in bench.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(("width", "aid"), [(360, ""), (360, "m"), (360, "d"), (640, "")])  # 640: 1280 at 200% zoom
def test_no_content_makes_a_narrow_page_scroll_sideways(bench: Page, width, aid):
    bench.set_viewport_size({"width": width, "height": 640})
    on_to(bench, "Item 2?")
    on_to(bench, "Item 3?")
    if aid:
        bench.keyboard.press(aid)
        expect(bench.locator(".body .source, .body .difference").first).to_be_visible()
    assert bench.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_letter_of_the_answer_that_is_read_stays_in_sight(bench: Page):
    bench.set_viewport_size({"width": 360, "height": 640})
    on_to(bench, "Item 2?")
    for answer in bench.locator(".answer").all():
        answer.evaluate("answer => window.scrollTo(0, answer.offsetTop + 900)")
        assert 0 <= answer.locator("header").bounding_box()["y"] < 5


def test_what_scrolls_sideways_can_be_reached_without_a_mouse(bench: Page):
    on_to(bench, "Item 2?")
    on_to(bench, "Item 3?")
    for wide in (bench.locator(".table"), bench.locator(".code pre")):
        wide.focus()
        expect(wide).to_be_focused()
        bench.keyboard.press("ArrowRight")
        scrolled_to(wide, 10, "scrollLeft")


def test_the_aids_hold_for_an_item_that_was_fetched_ahead_while_the_network_is_away(bench: Page, context):
    with bench.expect_response("**/preferences/reading/"):
        bench.keyboard.press("m")
    bench.keyboard.press("4")
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 2?")
    bench.wait_for_load_state("networkidle")  # the third is fetched ahead, and with its source
    context.set_offline(True)
    bench.keyboard.press("4")
    bench.keyboard.press("Enter")
    expect(bench.locator(".turn").last).to_contain_text("Item 3?")
    expect(bench.locator(".body .source", has_text="# A title")).to_be_visible()
    bench.keyboard.press("d")
    expect(bench.locator("#toast")).to_contain_text("the network is away")
    expect(bench.locator("[data-aid=diff]")).to_have_attribute("aria-pressed", "false")
    context.set_offline(False)


def test_the_history_is_a_page_of_its_own_too(bench: Page, live_server, project):
    on_to(bench, "Item 2?")
    arrived(bench)
    bench.goto(live_server.url + reverse("label_history", args=[project.slug]))
    bench.get_by_role("link", name=re.compile("Item 1")).click()
    expect(bench.locator(".turn").last).to_contain_text("Item 1?")
