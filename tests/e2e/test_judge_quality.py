"""A judge's quality in the browser: measured by a worker while the page waits, then calibrated."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotate.models import Annotation
from pipeline.models import Route
from pipeline.quality import measuring
from tests import factories
from tests.pipeline import stand_ins

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def judge(project):
    """A judge that says .95 in both orders and is right on 22 of 30 items that a draw brought to it and a person."""
    judge = stand_ins.judge(project)
    person, at = factories.rater(project, "pia"), timezone.now() - timedelta(days=1)
    own = {"model": judge.model, "prompt_version": judge.prompt_version}
    for number in range(30):
        item = factories.item(project, route="both", overlap=1, slots_open=0)
        Route.objects.create(
            item=item, decision="both", reason="x", propensity=0.1, policy="fixed_share", policy_version="1"
        )
        said = {"item": item, "submitted_at": at, "order": [0, 1], "order_key": "0-1"}
        right = {"preference": {"choice": "a" if number < 22 else "b"}}
        Annotation.objects.create(**said, rater=person, answers=right)
        for order, key in (([0, 1], "0-1"), ([1, 0], "1-0")):
            Annotation.objects.create(
                **{**said, "order": order, "order_key": key}, rater=judge.rater, metadata=own, confidence=0.95,
                answers={"preference": {"choice": "a"}},
            )  # fmt: skip
    return judge


def test_measure_now_waits_for_the_worker_and_then_shows_what_was_chosen_and_why(
    page: Page, live_server, signed_in, project, manager, judge
):
    signed_in(manager)
    page.goto(live_server.url + reverse("judge_quality", args=[project.slug, judge.pk]))
    expect(page.locator("#measured")).to_contain_text("Not measured yet")
    page.get_by_role("button", name="Measure now").click()
    expect(page.locator("#measured [role=status]")).to_contain_text("A worker measures it")
    assert measuring.measure_wanted(judge.rater_id)
    card = page.locator("section", has=page.get_by_role("heading", name="Calibration", exact=True))
    expect(card).to_contain_text("Temperature: P = σ(margin /", timeout=10_000)
    expect(card.locator("tr", has_text="used")).to_contain_text("temperature")
    expect(page.locator("#measured [role=status]")).to_have_count(0)
    page.get_by_role("link", name="Helpful").click()
    expect(page.locator("#measured")).to_contain_text("It does not answer this question")
    page.get_by_role("link", name="All of it").click()
    expect(page.locator("#measured")).to_contain_text("30 drawn by lot")
