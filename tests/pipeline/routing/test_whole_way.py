"""The router's whole way under a real worker and a judge on loopback: nothing here calls the router itself.

Items come in and are routed; the judge answers; people are asked about some; where they disagree a third is; where a
label is sure, open places are closed. `wake` is sent as beat would.
"""

import time

import pytest
from celery.contrib.testing.worker import start_worker

from annotate import queue
from annotate.models import Annotation, Item, Label, Rater
from annotate.submitting import submit_annotation
from config.celery import app
from pipeline.models import JudgeCall, Route, RoutingState
from pipeline.routing import adopting
from pipeline.routing.choosing.plans import Budget, Plan
from pipeline.tasks import wake
from tests import factories
from tests.pipeline.judge_server import Answer, says, shown

pytestmark = [pytest.mark.stage, pytest.mark.django_db(transaction=True)]
ITEMS, SEED, PATIENCE = 16, 6, 90


@pytest.fixture
def worker(transactional_db):
    app.control.purge()
    with start_worker(app, pool="threads", concurrency=3, queues=["default"], perform_ping_check=False):
        yield


def until(happened, what):
    """Wake the worker until something has happened."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"it never came to this: {what}"
        wake.delay()
        time.sleep(0.3)


def policies(item):
    return list(Route.objects.filter(item=item).order_by("number").values_list("policy", flat=True))


def answers(user, item, choice):
    """Answer this item in the way of the label page: lease and submit."""
    lease = queue.next_assignment(user=user, project=item.project)
    while lease is not None and lease.item_id != item.pk:
        queue.skip(assignment=lease)
        lease = queue.next_assignment(user=user, project=item.project)
    assert lease is not None, f"{user} is not asked about {item.external_id}"
    submit_annotation(assignment=lease, answers={"preference": {"choice": choice}})


def test_items_go_the_whole_way_from_router_to_judge_to_people_and_back(project, admin, judge, server, worker):
    def says_yes(request):
        return Answer(says("A" if "Yes" in shown(request)["A"] else "B"))

    server.respond = says_yes
    people = [factories.member(project, name, "annotator") for name in ("one", "two", "three")]
    project.overlap = 2
    project.save()
    budget = Budget(total=2 * SEED + 2)
    plan = Plan(seed=SEED, batch=SEED, audit=0, explore=0, sure=0.9, most=3, budget=budget)
    adopting.adopt(project=project, plan=plan, by=admin)
    for _ in range(ITEMS):
        factories.item(project, route="", overlap=0, slots_open=0)

    asked = Item.objects.filter(project=project, slots_open__gt=0)
    until(lambda: asked.count() == SEED, "the judge has answered and people are asked about a draw")
    assert set(Route.objects.filter(number=1).values_list("policy", "decision")) == {("judge_first", "judge")}
    assert Annotation.objects.filter(rater__kind=Rater.JUDGE).count() == 2 * ITEMS == server.served
    assert not JudgeCall.objects.exclude(state=JudgeCall.ANSWERED).exists()

    split, *others = list(asked.order_by("pk"))
    answers(people[0], split, "a")
    answers(people[1], split, "b")
    until(lambda: "disagreement" in policies(split), "a third is asked where two disagree")
    answers(people[2], split, "a")
    for _ in others:
        lease = queue.next_assignment(user=people[0], project=project)
        submit_annotation(assignment=lease, answers={"preference": {"choice": "a"}})
    answered = [item for item in others if Annotation.objects.filter(item=item, rater__user=people[0]).exists()]
    assert len(answered) >= SEED - 2
    until(lambda: all("sure" in policies(item) for item in answered), "who agrees with the judge is enough")

    assert policies(split)[:3] == ["judge_first", "seed", "disagreement"]
    assert Label.objects.get(item=split, question__name="preference").value == "a"
    for item in answered:
        item.refresh_from_db()
        assert item.slots_open == 0
    state = RoutingState.objects.get(project=project)
    assert state.spent <= budget.total
    places = sum(Item.objects.filter(project=project, route=Item.BOTH).values_list("overlap", flat=True))
    assert places == state.spent, "what was closed unused came back, and nothing else was opened"
