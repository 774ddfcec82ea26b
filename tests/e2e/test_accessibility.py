"""Every screen against WCAG 2.2 AA by axe-core, in light and dark, on a desk and on a phone; and what axe cannot see:
the way by keyboard, motion, zoom, forced colours.
"""

import json

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate.models import Annotation, Assignment
from tests import factories, test_permissions
from tests.e2e import furnished
from tests.e2e.waiting import arrived

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
QUICK = {"resultTypes": ["violations"], "preload": False}
EVERYTHING = {"runOnly": {"type": "tag", "values": TAGS}, **QUICK}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, **QUICK}
# Structure does not depend on colours, so each width is looked at whole in one scheme, and for contrast in the other.
LOOKS = [
    ({"width": 1280, "height": 800}, "light", EVERYTHING),
    ({"width": 1280, "height": 800}, "dark", CONTRAST),
    ({"width": 360, "height": 740}, "dark", EVERYTHING),
    ({"width": 360, "height": 740}, "light", CONTRAST),
]

SCREENS = {
    "anonymous": [
        "account_login", "account_reset_password", "account_reset_password_done", "account_reset_password_from_key",
        "account_reset_password_from_key_done", "account_inactive", "invitation",
    ],
    "annotator": [
        "home", "keys", "label", "label_again", "label_history", "guidelines", "account_change_password",
        "account_reauthenticate", "account_logout", "mine", "discussion",
    ],
    "reviewer": [
        "account_set_password", "project", "items", "item", "flags", "agreement", "judges", "routing", "datasets",
        "runs", "models", "raters", "rater", "review", "review_item", "trust", "routing_audits",
    ],
    "manager": [
        "project_settings", "questions", "import_new", "import", "acts", "people", "people_member", "pool_new", "pool",
        "items_bulks", "items_bulk", "item_gold", "quality", "judge_new", "judge", "judge_edit", "judge_quality",
        "judge_prompts", "judge_rubric", "routing_policy", "snapshot", "generate", "train", "run", "model", "loops",
        "exclude", "exclusion", "pay",
    ],
    "admin": ["all_acts", "project_new"],
}  # fmt: skip
# What is no page of its own: fragments that pages swap in, files, plain text, and addresses that only act.
NO_SCREENS = {
    "health", "label_ahead", "label_back", "label_waiting", "label_guidelines", "label_source", "label_diff",
    "label_lesson", "project_live", "items_count", "import_preview", "import_progress", "items_bulk_progress",
    "item_pipeline", "rater_pipeline", "raters_on", "project_cost", "judge_live", "judge_attacks", "judge_rubric_live",
    "judge_measured",
    "routing_live", "routing_what_if",
    "datasets_table", "snapshot_zip", "snapshot_file", "pay_table", "runs_table", "run_live", "run_metrics", "run_log",
    "attachment",
}  # fmt: skip
ONLY_ACT = {name for name, page in test_permissions.PAGES.items() if page.look is None} - {"account_logout"}


def test_every_page_is_looked_at():
    """A new page is a row of SCREENS; what is no page is said to be none."""
    listed = [name for names in SCREENS.values() for name in names]
    assert sorted({*listed, *NO_SCREENS, *ONLY_ACT}) == sorted(test_permissions.names())
    assert len(listed) == len(set(listed))


@pytest.fixture
def people(admin, manager, reviewer, annotator) -> dict:
    annotator.set_password("a long password")
    annotator.save()
    return {"admin": admin, "manager": manager, "reviewer": reviewer, "annotator": annotator}


@pytest.fixture
def address(project, annotator, manager, tmp_path):
    """The name of a page → the address of one with something on it."""

    def of(name: str) -> str:
        thing = test_permissions.PAGES[name].thing
        if name == "account_reset_password_from_key":
            return reverse(name, kwargs={"uidb36": "1", "key": "set-password"})
        if thing == "token":
            return test_permissions.accounts.link(
                test_permissions.accounts.invite(
                    email="new@example.org", role="annotator", project=project, by=manager
                )
            )
        if not thing:
            return reverse(name)
        if thing == "slug":
            return reverse(name, args=[project.slug])
        makers = {
            "rater": lambda: project.raters.get(name="person-0").pk,
            "run": lambda: furnished.live_run(project).pk,
            "model": lambda: furnished.measured_model(project).pk,
            "item": lambda: project.items.filter(labels__isnull=False).first().pk,
            "assignment": lambda: Assignment.objects.get(rater__user=annotator, state=Assignment.SUBMITTED).pk,
            "labelled": lambda: Assignment.objects.get(rater__user=annotator, state=Assignment.SUBMITTED).item_id,
        }
        if name in ("judge_quality", "judge_rubric"):
            makers["judge"] = lambda: furnished.measured_judge(project).pk
        make = makers.get(thing, lambda: test_permissions.THINGS[thing](project, annotator, manager, tmp_path))
        return reverse(name, args=[project.slug, make()])

    return of


def settled(page: Page) -> None:
    expect(page.locator(".htmx-request")).to_have_count(0)


def violations(page: Page, looks=LOOKS) -> list[str]:
    """What axe finds wrong in each look, told by rule and element."""
    page.evaluate(AXE_SCRIPT)
    found = []
    for size, scheme, options in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        result = page.evaluate(f"axe.run(document, {json.dumps(options)})")
        found += [
            f"{size['width']} {scheme}: {rule['id']} {' '.join(node['target'])}: {node['html'][:160]} "
            f"{' '.join(check['message'] for check in node['any'][:1])}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]
    page.set_viewport_size(LOOKS[0][0])
    return found


def as_text(wrong: dict[str, list[str]]) -> str:
    return "\n".join(f"{name}: {line}" for name, lines in wrong.items() for line in lines)


@pytest.mark.parametrize("role", SCREENS)
def test_no_screen_has_a_barrier(role, page: Page, live_server, signed_in, people, project, address, tmp_path):
    furnished.furnish(project, people["annotator"], people["manager"], tmp_path)
    if role in people:
        signed_in(people[role])
    wrong = {}
    for name in SCREENS[role]:
        expected = address(name)
        assert page.goto(live_server.url + expected).status == 200
        settled(page)
        if found := violations(page):
            wrong[name] = found
    assert not wrong, as_text(wrong)


OPENS = {"keys": "?", "history": "h", "guidelines": "g", "flag": "f"}


def test_the_workbench_has_no_barrier_whatever_is_open(page: Page, live_server, signed_in, admin, annotator):
    """Every kind of question, each step; every dialog; the differences; a skip; and once all is done."""
    project = furnished.all_kinds(admin, annotator)
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    wrong = {}

    def look(name: str) -> None:
        settled(page)
        if found := violations(page, LOOKS[::2]):
            wrong[name] = found

    page.keyboard.press("b")
    for number in range(page.locator(".ask:visible, .stepwise .ask").count()):
        look(f"question {number + 1}")
        page.keyboard.press(".")
    for name, key in OPENS.items():
        page.locator("#reading").focus()
        page.keyboard.press(key)
        expect(page.locator(f"#{name}")).to_have_attribute("open", "")
        look(name)
        page.keyboard.press("Escape")
    for name, key in {"differences": "d", "source": "m", "panes": "v"}.items():
        page.keyboard.press(key)
        look(name)
    page.keyboard.press("x")
    look("skip")
    page.keyboard.press("Enter")
    expect(page.locator("#waiting")).to_be_visible()
    look("all done")
    assert not wrong, as_text(wrong)


def focused(page: Page) -> str:
    """The name of what has the focus, as a screen reader would say it, or its words."""
    return page.evaluate(
        "(() => { const e = document.activeElement; return e.getAttribute('aria-label') || "
        "(e.labels && e.labels[0] && e.labels[0].innerText) || e.innerText || e.tagName; })()"
    ).strip()


def tab_to(page: Page, name: str, most: int = 40) -> None:
    """Press Tab until this has the focus."""
    seen = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1].startswith(name):
            return
    raise AssertionError(f"Tab does not lead to {name}: {seen}")


def test_from_signing_in_to_a_submitted_answer_by_tab_alone(page: Page, live_server, project, annotator):
    """No key of the workbench is used: only what every page has."""
    annotator.set_password("a long password")
    annotator.save()
    factories.item(project)
    page.goto(live_server.url)
    expect(page).to_have_title("Sign in · Plumbline")
    tab_to(page, "Name or e-mail address")
    page.keyboard.type("mira")
    page.keyboard.press("Tab")
    page.keyboard.type("a long password")
    tab_to(page, "Sign in")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    page.keyboard.press("Tab")
    tab_to(page, "Start labelling")
    page.keyboard.press("Enter")
    expect(page.locator("#reading")).to_be_focused()
    tab_to(page, "1:")  # one stop for the whole scale; nothing is chosen by passing through
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=answer-preference]:checked").get_attribute("value") == "2"
    tab_to(page, "Submit, next")
    page.keyboard.press("Enter")
    expect(page.locator("#waiting")).to_be_visible()
    arrived(page)
    assert Annotation.objects.count() == 1


def test_tab_leaves_the_workbench_and_comes_round_again(page: Page, live_server, signed_in, admin, annotator):
    """There is no trap: every stop is another one, and the page's first link comes again."""
    project = furnished.all_kinds(admin, annotator)
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    tab_to(page, "Skip to the content", most=80)


def test_a_dialog_gives_the_focus_back(page: Page, live_server, signed_in, project, annotator):
    factories.item(project)
    signed_in(annotator)
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    for name in ("My last 50", "Guidelines", "Keys", "Flag"):
        opener = page.get_by_role("button", name=name).first
        opener.focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(opener).to_be_focused()


def test_nothing_moves_for_those_who_want_no_motion(page: Page, live_server, signed_in, project, annotator):
    factories.item(project)
    signed_in(annotator)
    moving = (
        "[...document.querySelectorAll('*')].filter((e) => { const s = getComputedStyle(e);"
        " return [s.transitionDuration, s.animationDuration].some((d) => d.split(',').some((x) => parseFloat(x) > 0))"
        " || s.scrollBehavior === 'smooth'; }).length"
    )
    for motion, some in (("no-preference", True), ("reduce", False)):
        page.emulate_media(reduced_motion=motion)
        page.goto(live_server.url + reverse("label", args=[project.slug]))
        assert bool(page.evaluate(moving)) is some


@pytest.mark.parametrize("name", ["account_login", "home", "keys", "label"])
def test_at_twice_the_size_nothing_is_lost(name, browser, live_server, people, project, address, as_user):
    """A screen of 1280 by 800 at 200%: nothing has to be scrolled sideways, and submitting stays in reach."""
    factories.item(project, "A question?", (furnished.RICH, furnished.REASONED))
    context = browser.new_context(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    if name != "account_login":
        session = as_user(people["annotator"]).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page = context.new_page()
    page.goto(live_server.url + address(name))
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    if name == "label":
        page.keyboard.press("4")
        expect(page.get_by_role("button", name="Submit")).to_be_in_viewport(ratio=1)
        expect(page.locator(".scale")).to_be_in_viewport(ratio=1)
    context.close()


def test_what_is_chosen_can_be_told_in_forced_colours(page: Page, live_server, signed_in, project, annotator):
    """Windows' high contrast takes backgrounds away: the point chosen must differ by more than its background."""
    factories.item(project)
    signed_in(annotator)
    page.emulate_media(forced_colors="active")
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    expect(page.locator("#reading")).to_be_focused()
    page.keyboard.press("2")
    points = page.locator(".scale label > span")
    page.locator("#reading").focus()
    outlines = points.evaluate_all("(all) => all.map((one) => getComputedStyle(one).outlineStyle)")
    assert [place for place, style in enumerate(outlines, start=1) if style != "none"] == [2]
