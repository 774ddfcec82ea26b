"""Who is asked about an item: shares, reasons, propensities, replay."""

import threading
from collections import Counter

import pytest
from django.db import connection
from django.db.models import Sum

from annotate import submitting, tallies
from annotate.models import Item, Rater
from pipeline.models import Route, RoutingPolicy, RoutingState
from pipeline.routing import adopting, deciding, projects_to_route, route_items
from pipeline.routing.choosing.opening import Facts, choose, facts_of
from pipeline.routing.choosing.plans import Budget, Plan, PlanError, plan_from, rules_from
from pipeline.routing.fixed_share import FixedShare, draw
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(project):
    """Makes items that nobody has routed yet."""

    def make(count, **fields):
        return [factories.item(project, route="", overlap=0, slots_open=0, **fields) for _ in range(count)]

    return make


def test_without_a_judge_everything_goes_to_people_and_says_so(project, waiting):
    project.judge_share, project.overlap = 60, 2
    project.save()
    items = waiting(3)
    counts = route_items(project=project)
    assert counts == {
        "routed": 3,
        "human": 3,
        "judge": 0,
        "both": 0,
        "note": "This project has no enabled judge, so everything goes to people.",
    }
    route = Route.objects.get(item=items[0])
    assert (route.decision, route.propensity, route.policy, route.number) == ("human", 1.0, "fixed_share", 1)
    assert route.reason == "This project has no enabled judge, so everything goes to people."
    items[0].refresh_from_db()
    assert (items[0].route, items[0].overlap, items[0].slots_open) == ("human", 2, 2)
    assert tallies.read(project.pk)["routed_human"] == 3


def test_shares_are_kept_and_every_decision_has_its_propensity(project, judge, waiting):
    project.judge_share, project.both_share = 50, 20
    project.save()
    waiting(300)
    counts = route_items(project=project)
    assert (counts["routed"], counts["note"]) == (300, "")
    # Binomial: five standard deviations of 300 draws at 50% are 43, at 20% 35, at 30% 40.
    assert abs(counts["judge"] - 150) < 43
    assert abs(counts["both"] - 60) < 35
    assert abs(counts["human"] - 90) < 40
    kept = set(Route.objects.values_list("decision", "propensity"))
    assert kept == {("judge", 0.5), ("both", 0.2), ("human", 0.3)}
    by_route = Counter(Item.objects.values_list("route", flat=True))
    assert by_route == {name: counts[name] for name in ("human", "judge", "both")}
    judged = Item.objects.filter(route="judge").first()
    assert (judged.overlap, judged.slots_open) == (0, 0)
    assert "50% to the judge" in judged.routes.get().reason


def test_a_decision_can_be_replayed(project, judge, waiting):
    project.judge_share, project.both_share = 40, 10
    project.save()
    waiting(30)
    route_items(project=project)
    plan = Plan(ranking="shares", audit=0, judge=40, both=10)
    for route in Route.objects.select_related("item"):
        assert route.policy_version == FixedShare(40, 10).version == "1/people-50/judge-40/both-10"
        place = draw(route.policy_version, project.slug, route.item.external_id)
        again = choose(plan, Facts(), has_judge=True, place=place)
        assert (again.decision, again.reason, again.propensity) == (route.decision, route.reason, route.propensity)


def test_the_draw_is_a_fixed_function():
    assert draw("1/people-50/judge-40/both-10", "everyday-help", "item-1") == pytest.approx(0.488929, abs=1e-6)


@pytest.mark.parametrize(("judge", "both", "decision"), [(100, 0, "judge"), (0, 100, "both"), (0, 0, "human")])
def test_a_share_of_100_takes_everything(judge, both, decision):
    plan = Plan(ranking="shares", audit=0, judge=judge, both=both)
    decided = [choose(plan, Facts(), has_judge=True, place=draw("1", "p", str(n))) for n in range(200)]
    assert {(choice.decision, choice.propensity) for choice in decided} == {(decision, 1.0)}


def test_items_that_have_what_they_need_are_not_routed(project, waiting):
    labelled, archived, unsure, fresh = waiting(4)
    mira = factories.rater(project)
    record(project, labelled, mira, "a")
    record(project, unsure, mira, "unsure")
    Item.objects.filter(pk=archived.pk).update(state="archived")
    assert route_items(project=project)["routed"] == 1
    assert Route.objects.get().item == fresh


def record(project, item, rater, choice):
    row = submitting.ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choice}})
    submitting.record_imported(project=project, rows=[row])


def test_an_imported_vote_takes_one_of_the_places(project, waiting):
    project.overlap = 2
    project.save()
    (item,) = waiting(1)
    record(project, item, factories.rater(project, "file", Rater.HUMAN), "unsure")
    route_items(project=project)
    item.refresh_from_db()
    assert (item.overlap, item.slots_open) == (2, 1)


def test_a_limit_is_kept_and_nothing_is_routed_twice(project, waiting):
    waiting(5)
    assert route_items(project=project, limit=2)["routed"] == 2
    assert route_items(project=project)["routed"] == 3
    assert route_items(project=project)["routed"] == 0
    assert Route.objects.count() == 5


def test_projects_with_something_to_route(project, waiting):
    assert projects_to_route() == []
    waiting(1)
    assert projects_to_route() == [project.pk]
    project.state = "paused"
    project.save()
    assert projects_to_route() == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_route_each_item_once(project, waiting):
    waiting(20)
    routed = []

    def work():
        routed.append(route_items(project=project)["routed"])
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    route_items(project=project)
    assert Route.objects.count() == 20
    assert Route.objects.values("item").distinct().count() == 20
    assert tallies.read(project.pk)["routed_human"] == 20


# --- Policies -------------------------------------------------------------------------------------------------

RULES = "tag medicine, law: people\nlanguage de: both\nsafety: people"


@pytest.mark.parametrize(
    ("tags", "metadata", "decision", "arm"),
    [
        (["Law"], {}, "human", "rule"),
        ([], {"language": "de-AT"}, "both", "rule"),
        (["safety:high"], {}, "human", "rule"),
        ([], {"safety_concern": "moderate"}, "human", "rule"),
        ([], {"safety": "none"}, "judge", "judge_first"),
        (["maths"], {"language": "fr"}, "judge", "judge_first"),
    ],
)
def test_the_first_rule_that_fits_decides_and_says_why(tags, metadata, decision, arm):
    plan = Plan(rules=rules_from(RULES), audit=0.1, explore=0.2)
    choice = choose(plan, facts_of(tags, metadata), has_judge=True, place=0.999)
    assert (choice.decision, choice.arm) == (decision, arm)
    assert sum(choice.chances.values()) == pytest.approx(1.0)
    # The lowest tenth is for audits, whatever the rules say.
    audit = choose(plan, facts_of(tags, metadata), has_judge=True, place=0.0999)
    assert (audit.decision, audit.arm) == ("both", "audit")


def test_a_rule_is_checked_on_a_part_of_its_items():
    plan = Plan(rules=rules_from("tag law: people"), audit=0.1, explore=0.2)
    choice = choose(plan, Facts(tags=("law",)), has_judge=True, place=0.27)
    # 10% audits, then a fifth of the other 90%: both has 28% in all.
    assert (choice.arm, choice.decision) == ("explore", "both")
    assert choice.propensity == pytest.approx(0.28)
    assert choice.chances == pytest.approx({"human": 0.72, "judge": 0.0, "both": 0.28})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tag law people", "Line 1: a rule ends in"),
        ("\ncolour red: people", "Line 2: A rule is about"),
        ("tag: judge", "names at least one"),
    ],
)
def test_a_rule_that_cannot_be_read_says_what_is_wrong(text, said):
    with pytest.raises(PlanError, match=said):
        rules_from(text)


def test_a_policy_is_checked_and_survives_being_kept():
    plan = Plan(rules=rules_from(RULES), audit=0.1, budget=Budget(total=5))
    assert plan_from(plan.as_json()) == plan
    for wrong in (
        {"audit": 1.5},
        {"ranking": "luck"},
        {"judge": 80, "both": 30},
        {"colour": 1},
        {"budget": {"total": -1}},
    ):
        with pytest.raises(PlanError):
            plan_from(wrong)


@pytest.fixture
def adopt(project, admin):
    def adopted(**settings):
        return adopting.adopt(project=project, plan=plan_from(settings), by=admin)

    return adopted


def test_policies_are_versions_and_each_decision_can_be_made_again(project, judge, waiting, adopt):
    adopt(audit=0.3, rules=[{"about": "tag", "values": ["law"], "decision": "human"}])
    waiting(15, tags=["law"])
    waiting(15)
    route_items(project=project)
    adopt(audit=0.9)
    waiting(10)
    route_items(project=project)
    assert Counter(Route.objects.values_list("policy_version", flat=True)) == {"policy 1": 30, "policy 2": 10}
    kept = {str(policy): plan_from(policy.settings) for policy in RoutingPolicy.objects.all()}
    for route in Route.objects.select_related("item"):
        facts = Facts(**{**route.features["facts"], "tags": tuple(route.features["facts"]["tags"])})
        place = draw(route.policy_version, project.slug, route.item.external_id)
        again = choose(kept[route.policy_version], facts, has_judge=route.features["has_judge"], place=place)
        assert (again.decision, again.arm, again.chances) == (route.decision, route.policy, route.chances)
        assert sum(route.chances.values()) == pytest.approx(1.0)


def test_a_budget_of_people_is_kept_and_what_it_cannot_pay_waits(project, judge, waiting, adopt):
    project.overlap = 2
    project.save()
    adopt(ranking="shares", audit=0, budget={"total": 7})
    waiting(6)
    counts = route_items(project=project)
    assert counts["human"] == 6
    assert Item.objects.aggregate(n=Sum("slots_open"))["n"] == 6
    waits = Route.objects.filter(people=0)
    assert (waits.count(), {route.cost for route in waits}) == (3, {0.0})
    assert all(route.reason.endswith("once the budget allows it.") for route in waits)
    state = RoutingState.objects.get()
    assert (state.spent, state.spent_today, state.owed) == (6, 6, 3)


def test_a_new_day_has_its_own_budget(project, judge, waiting, adopt):
    adopt(ranking="shares", audit=0, budget={"daily": 2})
    waiting(3)
    route_items(project=project)
    RoutingState.objects.update(day="2020-01-01")
    waiting(3)
    route_items(project=project)
    state = RoutingState.objects.get()
    assert (state.spent, state.spent_today, state.owed) == (4, 2, 2)


@pytest.mark.django_db(transaction=True)
def test_workers_that_route_at_once_cannot_overrun_the_budget(project, judge, waiting, adopt, monkeypatch):
    monkeypatch.setattr(deciding, "BATCH", 3)
    adopt(ranking="shares", audit=0, budget={"total": 20})
    waiting(40)

    def work():
        route_items(project=project)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    route_items(project=project)
    assert Route.objects.count() == 40
    assert Item.objects.aggregate(n=Sum("slots_open"))["n"] == RoutingState.objects.get().spent == 20
