"""The routing page: a policy in versions, what a budget would give, comparisons, why an item went where it went."""

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.models import Act, Item
from pipeline.models import Route, RoutingPolicy, RoutingState
from pipeline.routing import buying, comparing, showing
from pipeline.routing.choosing import plans
from pipeline.routing.choosing.plans import Plan
from pipeline.routing.forms import initial
from pipeline.tasks import compare_policies
from tests import factories

pytestmark = pytest.mark.django_db


def form(**changes):
    return {name: "" if value is None else value for name, value in {**initial(Plan()), **changes}.items()}


@pytest.fixture
def at(project):
    return lambda name, *more: reverse(name, args=[project.slug, *more])


def test_a_policy_is_kept_as_a_new_version_with_who_and_why(manager, as_user, at):
    client = as_user(manager)
    sent = form(rules="tag law: people", audit="7.5", total="400", note="Law needs people.")
    assert client.post(at("routing_policy"), sent).status_code == 302
    kept = RoutingPolicy.objects.get()
    assert (kept.number, kept.created_by, kept.note) == (1, manager, "Law needs people.")
    assert (kept.settings["audit"], kept.settings["budget"]["total"]) == (0.075, 400)
    assert kept.settings["rules"] == [{"about": "tag", "values": ["law"], "decision": "human"}]
    page = client.get(at("routing")).content.decode()
    assert "Policy 1" in page
    assert "tag law: people" in page
    assert "0 of 400 answers" in page
    client.post(at("routing_policy"), form(audit="10"))
    assert list(RoutingPolicy.objects.values_list("number", flat=True)) == [2, 1]
    assert Act.objects.filter(kind="routing policy").latest("pk").before["audit"] == 0.075


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"rules": "tag law"}, "Line 1: a rule ends in"), ({"judge": 80, "both": 30}, "more than 100% together")],
)
def test_a_policy_that_cannot_be_is_refused_in_words(manager, as_user, at, wrong, said):
    answer = as_user(manager).post(at("routing_policy"), form(**wrong))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not RoutingPolicy.objects.exists()


@pytest.fixture
def compared(project, judged, answer, adopt, monkeypatch):
    """Forty pairs that people and judges both answered, in a file, compared by the worker."""
    monkeypatch.setattr(comparing, "SEEDS", (0,))
    adopt(seed=5, batch=5, ranking="uncertainty")
    items = judged(40)
    project.tallies.create(name="items", shard=0, value=40)
    answer(items)
    RoutingState.objects.update_or_create(project=project, defaults={"report_asked": True})
    compare_policies(project.pk)
    return RoutingState.objects.get()


def test_a_comparison_gives_curves_and_error_rates_of_the_projects_own(compared, project, manager, as_user, at):
    report = compared.report
    assert (report["n"], report["pairs"], report["left_out"]) == (40, 40, 0)
    assert set(report["curves"]) == {"shares", *plans.RANKINGS}
    assert set(report["leads"]) == set(plans.RANKINGS) - {report["best"]}
    assert all(
        low <= gap <= high and gap >= 0 for name, (gap, low, high) in report["leads"].items() if name != "shares"
    )
    assert [point["budget"] for point in report["curves"]["learned"]][::10] == [0.0, 0.5, 1.0]
    everything = report["errors"]["rows"][0]["all"]
    # Two judges that differ have no label of their own; where they agree, both are right or both are wrong.
    assert everything["n"] == 40
    assert everything["low"] < everything["share"] < everything["high"]
    assert not compared.report_asked
    page = as_user(manager).get(at("routing"), {"budget": "50"}).content.decode()
    now = showing.at(report["curves"]["uncertainty"], 0.5)
    assert f"{100 * now['label_accuracy']:.1f}%" in page
    assert "20 answers of people" in page
    fragment = as_user(manager).get(at("routing_what_if"), {"budget": "25"}).content.decode()
    assert "10 answers of people" in fragment
    assert "<html" not in fragment


def test_the_best_is_proposed_and_taken_with_its_evidence(compared, manager, reviewer, as_user, at):
    compared.report |= {"best": "learned", "leads": {"uncertainty": [0.02, -0.001, 0.04]}}
    compared.save()
    assert "Take “" not in as_user(manager).get(at("routing")).content.decode(), "it may be luck"
    compared.report["leads"] = {"uncertainty": [0.02, 0.001, 0.04]}
    compared.save()
    assert "Take “learned”" in as_user(manager).get(at("routing")).content.decode()
    assert "Take “learned”" not in as_user(reviewer).get(at("routing")).content.decode()
    as_user(manager).post(at("routing_take"))
    taken = RoutingPolicy.objects.first()
    assert (taken.number, taken.settings["ranking"], taken.settings["batch"]) == (2, "learned", 5)
    assert taken.evidence["pairs"] == 40
    as_user(manager).post(at("routing_take"))
    assert RoutingPolicy.objects.count() == 2, "nothing better is left to take"


def test_a_lead_counts_pairs_of_one_prompt_together():
    gaps = np.array([0.1, 0.3, 0.2, 0.2])
    assert comparing.lead(gaps, np.arange(4)) == pytest.approx([0.2, 0.1307, 0.2693])  # √(.01 + .01)/4 · 1.96
    assert comparing.lead(gaps, np.array([1, 1, 2, 2])) == pytest.approx([0.2, 0.2, 0.2])


def test_the_sliders_budget_becomes_a_version(project, manager, as_user, at):
    for _ in range(10):
        factories.item(project)
    buying.deciding.route_items(project=project)
    project.tallies.create(name="items", shard=0, value=10)
    as_user(manager).post(at("routing_budget"), {"budget": "40"})
    assert RoutingPolicy.objects.get().settings["budget"]["total"] == 4
    for wrong in ("", "nan", "140", "-1"):
        as_user(manager).post(at("routing_budget"), {"budget": wrong})
    assert RoutingPolicy.objects.count() == 1


def test_what_a_ranking_chose_proves_nothing_about_the_judge(project, judged, answer, adopt):
    adopt(seed=5, batch=10, explore=0)
    judged(40)
    for _ in range(3):
        buying.look(project)
        answer(list(Item.objects.filter(project=project, slots_open__gt=0)))
    buying.look(project)
    found, left_out = comparing.fair(project)
    assert len(found) == 5
    assert left_out == Route.objects.filter(policy__in=["value", "kin"]).exclude(item__slots_open__gt=0).count() > 0
    report = comparing.report(project)
    assert (report["n"], "curves" in report) == (5, False)


def test_too_little_is_said_in_words_and_draws_no_curve(project, judged, adopt, manager, as_user, at):
    adopt()
    judged(10)
    RoutingState.objects.update_or_create(project=project, defaults={"report_asked": True})
    comparing.run(project)
    page = as_user(manager).get(at("routing")).content.decode()
    assert "people and judges have both answered 0 pairs" in page
    assert "<polyline" not in page


def test_the_items_page_says_why(project, judged, answer, adopt, reviewer, as_user, at):
    adopt(seed=20, batch=20)
    judged(50)
    buying.look(project)
    answer(list(Item.objects.filter(project=project, slots_open__gt=0)))
    buying.look(project)
    route = Route.objects.filter(policy="value").first()
    page = as_user(reviewer).get(at("item_pipeline", route.item_id)).content.decode()
    assert "Its label is open" in page
    assert "probability 100.0%" in page
    assert "answers asked for: 1" in page
    assert route.features["signals"][0]["name"].replace("'", "&#x27;") in page
    assert "Believed now (fit" in page
    assert "Warning signs" in page
    assert "judges differ" in page


def test_the_page_costs_the_same_however_many_items_there_are(project, judged, adopt, reviewer, as_user, at):
    adopt(seed=5, batch=5)
    judged(10)
    buying.look(project)
    client = as_user(reviewer)
    client.get(at("routing"))
    with CaptureQueriesContext(connection) as few:
        client.get(at("routing"))
    judged(20)
    buying.look(project)
    with CaptureQueriesContext(connection) as many:
        client.get(at("routing"))
    assert len(many) == len(few)
