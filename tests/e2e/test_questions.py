"""Every kind of question in a browser, by keyboard alone: answered, kept in drafts, sent, and what is missing said."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate import preferences, projects
from annotate.models import Annotation, Membership, Project
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]

FIRST = "Two and two **are** four.\n\nSo the sum is four.\n\nHence it is five."
SECOND = "It is four 👍 of course.\n\nNothing else."
KINDS = [
    {"name": "better", "kind": "preference", "title": "Which is better?"},
    {
        "name": "safer",
        "kind": "preference",
        "title": "Which is safer?",
        "config": {"points": 3, "criterion": "safety"},
    },
    {
        "name": "why",
        "kind": "choice",
        "title": "Why both bad?",
        "config": {"options": ["wrong", "rude"], "when": {"question": "better", "is": ["both_bad"]}},
    },
    {"name": "helpful", "kind": "rating", "title": "Helpful"},
    {"name": "order", "kind": "ranking", "title": "Order"},
    {
        "name": "said",
        "kind": "critique",
        "title": "What is wrong?",
        "config": {"min_characters": 12, "reasons": ["false", "too long"]},
    },
    {"name": "tags", "kind": "choice", "title": "Topics", "config": {"options": ["maths", "code"], "multiple": True}},
    {"name": "steps", "kind": "step", "title": "Steps"},
    {"name": "proof", "kind": "span", "title": "Evidence", "config": {"tags": ["evidence", "error"]}},
]


@pytest.fixture
def open_bench(page: Page, live_server, signed_in, admin):
    """The workbench of a project with these questions and one item with these responses."""

    def open_it(asked, responses=(FIRST, SECOND), own_keys=()) -> Page:
        project = projects.create_project(name="All kinds", by=admin, asked=asked)
        member = factories.member(project, "mira", Membership.ANNOTATOR)
        for action, key in own_keys:
            preferences.change_key(user=member, action=action, key=key)
        factories.item(project, "What is 2 + 2?", responses)
        signed_in(member)
        page.goto(live_server.url + reverse("label", args=[project.slug]))
        expect(page.locator("#reading")).to_be_focused()
        return page

    return open_it


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def now_asks(page: Page, name: str) -> None:
    expect(page.locator("[data-question].current")).to_have_attribute("data-question", name)


def in_stored_order(made: Annotation, shown: list) -> list:
    """What was given from left to right, by stored position."""
    stored = [None] * len(shown)
    for place, position in enumerate(made.order):
        stored[position] = shown[place]
    return stored


def answer_all(page: Page) -> None:
    now_asks(page, "better")
    press(page, "b")
    now_asks(page, "safer")  # an answered question hands on by itself
    press(page, "2")
    now_asks(page, "why")  # asked since both are bad
    press(page, "2")
    now_asks(page, "helpful")
    press(page, "r", "u")
    now_asks(page, "order")
    press(page, "2", "1")
    now_asks(page, "said")
    press(page, "2", "c")
    page.keyboard.type("it is not true")
    expect(page.locator(".counter")).to_have_text("14 of 12 characters")
    press(page, "Escape", ".")
    now_asks(page, "tags")
    press(page, "1", "2", ".")
    now_asks(page, "steps")
    steps = page.locator("[data-question=steps] .steps").first.locator("li")
    press(page, *(["1"] * steps.count()), "ArrowDown", "e")
    press(page, ".")
    now_asks(page, "proof")
    press(page, "w", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "1")
    expect(page.locator(".passages li")).to_have_count(1)


def test_an_item_with_every_kind_is_labelled_with_the_keyboard_alone(open_bench):
    page = open_bench(KINDS)
    expect(page.locator(".stepper")).to_contain_text("1 of 8")
    answer_all(page)
    expect(page.locator(".stepper")).to_contain_text("9 of 9")
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    made = Annotation.objects.get()
    texts = [FIRST, SECOND]
    left = made.order[0]
    assert made.answers["better"] == {"choice": "both_bad"}
    assert made.answers["safer"] == {"choice": "tie"}
    assert made.answers["why"] == ["rude"]
    assert made.answers["helpful"] == in_stored_order(made, [4, 2])
    assert made.answers["order"] == in_stored_order(made, [2, 1])
    assert made.answers["said"] == {"text": "it is not true", "reasons": ["too long"]}
    assert made.answers["tags"] == ["maths", "code"]
    assert made.answers["steps"][left] == ["good"] * len(made.answers["steps"][left])
    assert made.answers["steps"][made.order[1]][:2] == ["good", "bad"]
    (passage,) = made.answers["proof"]
    assert passage["response"] == left
    assert passage["text"] == texts[left][passage["start"] : passage["end"]]
    assert passage["text"] == {FIRST: "two **are", SECOND: "four 👍"}[texts[left]]
    assert passage["tag"] == "evidence"


def test_what_was_answered_is_there_again_after_leaving(open_bench):
    page = open_bench(KINDS)
    answer_all(page)
    page.wait_for_timeout(500)  # the draft is due
    expect(page.locator("#saved")).to_have_text(re.compile("^saved "))
    page.reload()
    expect(page.locator("[data-question=why] :checked")).to_have_value("rude")
    expect(page.locator(".ranks .place").first).to_contain_text("B")
    expect(page.locator("[data-question=said] textarea")).to_have_value("it is not true")
    expect(page.locator("[data-question=proof] .passages q")).not_to_be_empty()
    expect(page.locator("[data-question=tags] :checked")).to_have_count(2)
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    assert set(Annotation.objects.get().answers) == {spec["name"] for spec in KINDS}


def test_enter_says_what_is_missing_and_goes_there(open_bench):
    page = open_bench(KINDS[:6])
    press(page, "b", "2", "1")
    page.locator(".submit").click()
    expect(page.locator("#problem")).to_have_text("“Helpful, A” still needs an answer.")
    now_asks(page, "helpful")
    press(page, "q", "q", "y")
    page.locator(".submit").click()
    expect(page.locator("#problem")).to_contain_text("“Order” still needs an order")
    press(page, "0")
    now_asks(page, "said")
    press(page, "1", "c")
    page.keyboard.type("short")
    press(page, "Enter")
    expect(page.locator("#problem")).to_contain_text("needs at least 12 characters")
    expect(page.locator("[data-question=said] textarea")).to_be_focused()
    assert not Annotation.objects.exists()


def test_a_conditional_question_comes_and_goes_with_its_condition(open_bench):
    page = open_bench(KINDS[:3])
    why = page.locator("[data-question=why]")
    expect(why).to_be_hidden()
    press(page, "b", "2")
    expect(why).to_be_visible()
    press(page, "1", "ArrowUp", "ArrowUp", "3")
    expect(why).to_be_hidden()
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    made = Annotation.objects.get()
    assert "why" not in made.answers
    assert made.answers["better"]["strength"] == 1


RANKING = [{"name": "order", "kind": "ranking", "title": "Order"}]
FOUR = ("Alpha", "Beta", "Gamma", "Delta")


def test_ranks_are_given_by_key_with_ties_and_moved_by_arrow(open_bench):
    page = open_bench(RANKING, FOUR, [("pick-d", "s"), ("level-4", "-"), ("unsure", "=")])  # the rest as at first
    press(page, "Enter")
    expect(page.locator("#problem")).to_contain_text("press = if they stand right")
    press(page, "2", "1", "2", "-")
    letters = page.locator(".ranks .letter")
    expect(letters).to_have_text(["B", "A", "C", "D"])
    press(page, "s", "Alt+ArrowUp")  # above the tie
    expect(letters).to_have_text(["B", "D", "A", "C"])
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    made = Annotation.objects.get()
    assert made.answers["order"] == in_stored_order(made, [3, 1, 3, 2])


def test_an_answer_is_dragged_to_its_rank(open_bench):
    page = open_bench(RANKING, FOUR)
    places = page.locator(".ranks .place")
    last, first = places.nth(3).locator(".letter").bounding_box(), places.nth(0).bounding_box()
    page.mouse.move(last["x"] + 5, last["y"] + 5)
    page.mouse.down()
    page.mouse.move(first["x"] + 15, first["y"] + 15, steps=12)
    page.mouse.up()
    expect(page.locator(".ranks .letter")).to_have_text(["D", "A", "B", "C"])
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    made = Annotation.objects.get()
    assert made.answers["order"] == in_stored_order(made, [2, 3, 4, 1])


def test_words_marked_with_the_mouse_are_offsets_of_the_source(open_bench):
    page = open_bench(KINDS[-1:], (FIRST, FIRST))
    page.evaluate("""() => {
        const strong = document.querySelectorAll('.prose strong')[1];
        getSelection().setBaseAndExtent(strong.firstChild, 0, strong.nextSibling, 5);
    }""")
    page.locator("[data-tag=error]").click()
    expect(page.locator(".passages q")).to_have_text("are four")
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    made = Annotation.objects.get()
    start = FIRST.index("are**")
    assert made.answers["proof"] == [
        {"response": made.order[1], "start": start, "end": start + 10, "text": "are** four", "tag": "error"}
    ]


def test_a_button_of_the_page_in_a_text_is_no_part_of_it(open_bench):
    code = "See:\n\n```python\nprint(1)\n```\n\nThat **is** all."
    page = open_bench(KINDS[-1:], (code, code))
    expect(page.locator(".prose button").first).to_be_attached()
    press(page, "w", *["ArrowRight"] * 3, "1")
    expect(page.locator(".passages q")).to_have_text("is")
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    (passage,) = Annotation.objects.get().answers["proof"]
    assert (passage["start"], passage["text"]) == (code.index("is**"), "is")


def test_words_are_marked_in_the_text_as_it_was_written_too(open_bench):
    page = open_bench(KINDS[-1:], (FIRST, FIRST))
    press(page, "m")
    expect(page.locator(".body .source").first).to_be_visible()
    page.evaluate("""() => {
        const text = document.querySelector('.body .source').firstChild;
        const at = text.data.indexOf('are**');
        getSelection().setBaseAndExtent(text, at, text, at + 10);
    }""")
    page.locator("[data-tag=error]").click()
    press(page, "Enter")
    expect(page.locator("#waiting")).to_be_visible()
    (passage,) = Annotation.objects.get().answers["proof"]
    assert (passage["start"], passage["text"]) == (FIRST.index("are**"), "are** four")


def test_a_passage_is_removed_again(open_bench):
    page = open_bench(KINDS[-1:], (FIRST, FIRST))
    press(page, "w", "1", "w", "b", "2")
    expect(page.locator(".passages .letter")).to_have_text(["A", "B"])
    page.get_by_role("button", name=re.compile("Remove")).first.press("Enter")
    expect(page.locator(".passages .letter")).to_have_text(["B"])
    expect(page.get_by_role("button", name=re.compile("Remove"))).to_be_focused()


@pytest.mark.parametrize(("width", "height"), [(360, 640), (1920, 1080)])
def test_no_kind_is_wider_than_the_screen(open_bench, width, height):
    page = open_bench(KINDS)
    page.set_viewport_size({"width": width, "height": height})
    for _spec in KINDS:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".submit").bounding_box()["y"] < height
        press(page, ".")
    assert Project.objects.count() == 1


def test_a_question_is_written_in_the_browser_with_its_preview_beside_it(page: Page, live_server, signed_in, admin):
    project = projects.create_project(name="Empty", by=admin, asked=[])
    signed_in(admin)
    page.goto(live_server.url + reverse("questions", args=[project.slug]))
    page.get_by_role("button", name="Pairwise, with a rubric").click()
    expect(page.locator("#sample .preference")).to_be_visible()
    expect(page.locator("#sample [data-question=why-both-bad]")).to_be_hidden()
    page.locator("#sample .out span").first.click()
    expect(page.locator("#sample [data-question=why-both-bad]")).to_be_visible()  # the real controls
    page.get_by_role("link", name="Ranking of several answers").click()
    expect(page.locator("#sample .ranks .place")).to_have_count(3)
    page.get_by_label("Question", exact=True).fill("Sort them")
    expect(page.locator("#sample")).to_contain_text("Sort them")
    page.get_by_role("button", name="Ask it").click()
    expect(page.locator(".list")).to_contain_text("Sort them")
    assert list(project.questions.values_list("name", flat=True)) == [
        "preference", "why-both-bad", "helpful", "sort-them",
    ]  # fmt: skip
