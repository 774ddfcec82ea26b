"""Judges that ask the same model: they take turns, and a member's limits hold whoever asks it."""

import pytest
from django.urls import reverse

from annotate.models import Annotation
from pipeline.judging import calls, judge_items, judges_due, rounds, setup
from pipeline.models import Judge
from pipeline.quality import attacks
from pipeline.quality.kinds import KINDS
from pipeline.quality.rounds import run_study
from tests.pipeline.judge_server import Answer, money

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(project, server, quick):
    """A judge behind the server, by its name and model."""

    def make(name, model="m", **fields):
        values = {"price_input": "1.5", "price_output": "6", **fields}
        return setup.create_endpoint_judge(project=project, name=name, base_url=server.url, model=model, **values)

    return make


def a_panel(project, *members, **fields):
    return setup.create_group_judge(project=project, name="panel", kind=Judge.PANEL, members=members, **fields)


def test_judges_that_ask_the_same_model_take_turns_and_never_pay_for_one_question_twice(
    made, project, judged_item, server
):
    judged_item()
    one, two, other = made("one"), made("two"), made("other", "n")
    token = calls.take_lease(one.pk)
    counts = judge_items(judge=two)
    assert (counts["busy"], counts["asked"], counts["pending"]) == ("one", 0, 2)
    assert judge_items(judge=other)["answered"] == 2
    calls.give_back(one.pk, token)
    server.requests.clear()
    assert [judge_items(judge=each)["answered"] for each in (one, two)] == [2, 2]
    assert len(server.requests) == 2
    assert money(two) == (0, 0, 0)


def test_a_panel_takes_turns_with_its_members_and_with_other_panels(made, project):
    first, second, third = made("one", "m"), made("two", "n"), made("three", "o")
    panel = a_panel(project, first, second)
    token = calls.take_lease(panel.pk)
    assert [calls.take_lease(each.pk) for each in (first, second)] == [None, None]
    assert calls.take_lease(third.pk)
    calls.give_back(panel.pk, token)
    assert calls.take_lease(second.pk)
    assert calls.take_lease(panel.pk) is None


def test_who_has_waited_longest_is_next(made, judged_item, server):
    judged_item()
    one, two = made("one"), made("two")
    assert judges_due() == [one.pk, two.pk]
    judge_items(judge=one)
    judged_item()
    assert judges_due() == [two.pk, one.pk]


def test_the_same_judge_in_another_project_is_nobodys_kin(made, admin, server):
    from tests import factories

    one = made("one")
    elsewhere = factories.project(by=admin, name="Elsewhere")
    other = setup.create_endpoint_judge(project=elsewhere, name="one", base_url=server.url, model="m")
    assert calls.take_lease(one.pk)
    assert calls.take_lease(other.pk)


def test_a_members_cap_holds_for_what_panels_spend_at_it(made, project, judged_item, server):
    for _ in range(6):
        judged_item()
    dear, cheap = made("dear", "m", spend_cap="0.005"), made("cheap", "n", spend_cap="1")
    panel = a_panel(project, dear, cheap, concurrency=2)
    counts = judge_items(judge=panel)
    dear.refresh_from_db()
    assert counts["state"] == Judge.STOPPED
    assert "The spend cap of 0.0050 of its member dear is reached" in counts["message"]
    assert (dear.spent_units, dear.reserved_units) == (0, 0)
    assert 0 < dear.elsewhere_units <= 5 * 10**9
    assert 0 < Annotation.objects.count() < 12
    cheap.refresh_from_db()
    assert dear.elsewhere_units + cheap.elsewhere_units == money(panel)[0]
    counts = judge_items(judge=dear)  # and for what it is asked itself
    dear.refresh_from_db()
    assert counts["state"] == Judge.STOPPED
    assert "by panels and cascades" in counts["message"]
    assert dear.spent_units + dear.elsewhere_units <= 5 * 10**9


def test_a_members_own_limit_of_questions_a_minute_and_at_a_time_holds_and_delays_no_other(
    made, project, judged_item, server
):
    for _ in range(4):
        judged_item()
    slow, quick_one = made("slow", "m", per_minute=3, concurrency=1), made("quick", "n", concurrency=8)
    server.respond = lambda request: Answer(wait=0.02)
    panel = a_panel(project, slow, quick_one, concurrency=8)
    judge_items(judge=panel, stop=lambda: server.served >= 11)
    models = [request["model"] for request in server.requests]
    assert (models.count("m"), models.count("n")) == (3, 8)
    for asking in (panel, slow):  # the next worker knows what was asked a moment ago
        limit = next(each for each in rounds.outbox_of(asking).limits if each.per_minute == 3)
        assert limit.pause() > 0


def test_a_study_waits_for_its_turn_like_another_judge(made, server):
    one, two = made("one"), made("two")
    study = attacks.start(judge=two, by=None)
    token = calls.take_lease(one.pk)
    run_study(study=study, kind=KINDS[study.kind])
    assert server.requests == []
    calls.give_back(one.pk, token)
    run_study(study=study, kind=KINDS[study.kind])
    assert server.requests
    assert calls.take_lease(one.pk)


def test_the_page_says_whose_turn_it_is_and_what_panels_spent(made, project, manager, as_user):
    one, two = made("one", price_input="0", price_output="0"), made("two")
    calls.book_elsewhere(0, two.pk, 5 * 10**9)
    calls.take_lease(one.pk)
    page = as_user(manager).get(reverse("judge_live", args=[project.slug, two.pk])).content.decode()
    assert "waits its turn: one asks the same model" in page
    assert "up to 0.0050 more by panels and cascades" in page
    page = as_user(manager).get(reverse("judge_live", args=[project.slug, one.pk])).content.decode()
    assert "working" in page
    assert "no prices are set" in page
