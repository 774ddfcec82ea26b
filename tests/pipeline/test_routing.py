"""Who is asked about an item: shares, reasons, propensities, replay."""

import threading
from collections import Counter

import pytest
from django.db import connection

from annotate import submitting, tallies
from annotate.models import Item, Rater
from pipeline.models import Route
from pipeline.routing import projects_to_route, route_items
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
    policy = FixedShare(judge=40, both=10, has_judge=True)
    for route in Route.objects.select_related("item"):
        assert route.policy_version == policy.version == "1/people-50/judge-40/both-10"
        assert policy.decide(project.slug, route.item.external_id).decision == route.decision


def test_the_draw_is_a_fixed_function():
    assert draw("1/people-50/judge-40/both-10", "everyday-help", "item-1") == pytest.approx(0.488929, abs=1e-6)


@pytest.mark.parametrize(("judge", "both", "decision"), [(100, 0, "judge"), (0, 100, "both"), (0, 0, "human")])
def test_a_share_of_100_takes_everything(judge, both, decision):
    policy = FixedShare(judge=judge, both=both, has_judge=True)
    decided = {policy.decide("p", str(n)).decision for n in range(200)}
    assert decided == {decision}
    assert policy.decide("p", "1").propensity == 1.0


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
