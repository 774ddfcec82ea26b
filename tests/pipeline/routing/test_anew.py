"""Items that went to people before there was a judge: decided anew, unless somebody has begun them or meant them."""

import pytest

from annotate import queue
from annotate.models import Assignment, Item
from annotate.submitting import submit_annotation
from pipeline.models import Route, RoutingState
from pipeline.routing import anew, by_hand, deciding
from pipeline.routing.choosing.plans import Plan
from pipeline.routing.forms import initial
from tests import factories
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(project):
    """Makes items and lets the router send them to people, as it does without a judge."""

    def make(count: int) -> list[Item]:
        items = [factories.item(project, route="", overlap=0, slots_open=0) for _ in range(count)]
        deciding.route_items(project=project)
        return items

    return make


def routes(items) -> list[str]:
    return [Item.objects.get(pk=item.pk).route for item in items]


def test_what_nobody_has_begun_is_decided_by_the_policy_in_force(project, admin, sent, adopt):
    items = sent(3)
    stand_ins.judge(project)
    adopt(audit=0)
    assert routes(items) == ["human"] * 3, "a policy alone moves nothing"
    found = anew.decide_anew(project=project, by=admin, limit=100)
    assert (found["routed"], found["judge"], found["left"]) == (3, 3, False)
    assert routes(items) == ["judge"] * 3
    assert set(Item.objects.values_list("slots_open", "overlap")) == {(0, 0)}
    first, second = Route.objects.filter(item=items[0]).order_by("number")
    assert (first.decision, first.number) == ("human", 1)
    assert (second.decision, second.number, second.policy_version) == ("judge", 2, "policy 1")
    assert anew.decide_anew(project=project, by=admin, limit=100)["routed"] == 0, "this version has decided"


def test_what_was_begun_or_meant_keeps_its_decision(project, admin, annotator, sent, adopt):
    leased, answered, skipped, by_word, pooled, free = items = sent(6)
    for priority, item in enumerate((skipped, answered, leased)):
        Item.objects.filter(pk=item.pk).update(priority=priority + 1)
    first, second = queue.leases(user=annotator, project=project, wanted=2)
    assert (first.item_id, second.item_id) == (leased.pk, answered.pk)
    submit_annotation(assignment=second, answers={"preference": {"choice": "a", "strength": 1}})
    passed = {"state": Assignment.SKIPPED, "order": [0, 1], "expires_at": first.expires_at}
    Assignment.objects.create(item=skipped, rater=first.rater, **passed)
    by_hand.keep([by_word.pk], Item.HUMAN, admin)
    Item.objects.filter(pk=pooled.pk).update(pool=factories.pool(project))
    stand_ins.judge(project)
    adopt(audit=0)
    assert anew.decide_anew(project=project, by=admin, limit=100)["routed"] == 1
    assert routes(items) == ["human"] * 5 + ["judge"]
    assert routes([free]) == ["judge"]


def test_its_places_go_back_to_the_budget_and_more_is_said_to_wait(project, admin, sent, adopt):
    adopt(audit=0, ranking="shares", judge=0, both=0, budget={"total": 5})
    items = sent(7)
    state = RoutingState.objects.get(project=project)
    assert (state.spent, state.owed) == (5, 2)
    stand_ins.judge(project)
    adopt(audit=0, budget={"total": 5})
    assert anew.decide_anew(project=project, by=admin, limit=4)["left"]
    state.refresh_from_db()
    assert (state.spent, state.owed) == (1, 2)
    found = anew.decide_anew(project=project, by=admin, limit=4)
    assert (found["routed"], found["left"]) == (3, False)
    state.refresh_from_db()
    assert (state.spent, state.owed) == (0, 0)
    assert routes(items) == ["judge"] * 7


def test_a_manager_is_told_what_the_policy_does_not_reach(project, manager, as_user, sent):
    sent(2)
    stand_ins.judge(project)
    client = as_user(manager)
    sheet = {key: "" if value is None else value for key, value in initial(Plan(audit=0.0)).items()}
    page = client.post(f"/p/{project.slug}/routing/policy/", sheet, follow=True).content.decode()
    assert "“Decide anew” applies it to what people have not begun." in page
    page = client.post(f"/p/{project.slug}/routing/anew/", follow=True).content.decode()
    assert "2 items that nobody had begun are decided anew: 0 to people, 2 to the judge, 0 to both." in page
    page = client.post(f"/p/{project.slug}/routing/anew/", follow=True).content.decode()
    assert "Nothing that an earlier policy sent to people is still unbegun." in page
