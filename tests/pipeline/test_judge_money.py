"""What judging costs: exact sums, caps, and workers that die or come back from the dead."""

import threading
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from annotate.models import Annotation
from pipeline.judging import calls, judge_items, judges_due, settling, setup
from pipeline.judging.books import Books
from pipeline.models import Judge, JudgeCall
from tests.pipeline.judge_server import PRICE, Answer, money, says

pytestmark = pytest.mark.django_db


def sum_bounds(requests):
    """The most that these requests can cost, as the judge's prices have it."""
    tokens = sum(64 + sum(16 + len(m["content"].encode()) for m in request["messages"]) for request in requests)
    return tokens * 1_500_000 + len(requests) * 300 * 6_000_000


def reply_of(answer):
    from pipeline.judging.exchange import read_reply

    return read_reply(answer.text(), 0.1)


def test_tokens_and_cost_are_exact(judge, judged_item, server):
    judged_item()
    server.script(Answer(usage=(1234, 57)), Answer(usage=(999, 1)))
    judge_items(judge=judge)
    # (1234 + 999) · 1.5 + (57 + 1) · 6 per million
    assert money(judge) == (3_697_500_000, 0, 0)
    assert judge.spent == Decimal("0.0036975")
    assert JudgeCall.objects.aggregate(total=Sum("cost_units"))["total"] == 3_697_500_000


@pytest.mark.slow
def test_the_spend_cap_is_never_overrun(judge, judged_item, server):
    for _ in range(20):
        judged_item()
    Judge.objects.update(spend_cap=Decimal("0.0300"), concurrency=8)
    server.respond = lambda request: Answer(usage=(900, 290))  # 0.00309 each, near the most it can cost
    counts = judge_items(judge=judge)
    spent, reserved, unknown = money(judge)
    assert spent <= 30_000_000_000
    assert (reserved, unknown) == (0, 0)
    assert spent == counts["answered"] * 3_090_000_000
    assert counts["answered"] >= 7
    assert counts["state"] == "stopped"
    assert counts["message"].startswith("The spend cap of 0.0300 is reached: 0.0")
    setup.change_judge(judge=judge, spend_cap=Decimal("1"))
    assert judge_items(judge=judge)["pending"] == 0


def test_a_reply_without_a_count_leaves_its_bound_booked(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: Answer(usage=None)
    judge_items(judge=judge)
    assert money(judge) == (0, 0, sum_bounds(server.requests))


def test_a_killed_worker_loses_nothing_and_doubles_nothing(judge, judged_item, server):
    items = [judged_item() for _ in range(3)]
    dead = Books(judge.pk, calls.take_lease(judge.pk))
    calls.plan(judge=judge)
    assert dead.claim(4) == 4
    lost = sum(letter.units for letter in dead.outgoing)
    assert money(judge) == (0, lost, 0)
    assert judge_items(judge=judge)["asked"] == 0  # the dead worker's lease is still fresh
    Judge.objects.update(lease_until=timezone.now())
    assert judges_due() == [judge.pk]
    assert judge_items(judge=judge)["answered"] == 6
    assert money(judge) == (6 * PRICE, 0, lost)
    assert {item.annotations.count() for item in items} == {2}


def test_a_worker_back_from_the_dead_books_its_money_and_nothing_else(judge, judged_item, server):
    item = judged_item()
    zombie = Books(judge.pk, calls.take_lease(judge.pk))
    calls.plan(judge=judge)
    zombie.claim(1)
    (letter,) = zombie.outgoing
    Judge.objects.update(lease_until=timezone.now())
    judge_items(judge=judge)
    assert money(judge) == (2 * PRICE, 0, letter.units)
    zombie.settle([(letter, reply_of(Answer(says("B"))))])
    assert money(judge) == (3 * PRICE, 0, 0)
    assert JudgeCall.objects.aggregate(total=Sum("cost_units"))["total"] == 3 * PRICE
    assert sorted(item.annotations.values_list("answers__preference__choice", flat=True)) == ["a", "b"]
    with pytest.raises(calls.LeaseLost):
        zombie.claim(1)


def test_a_worker_that_must_go_takes_in_what_comes_and_leaves_the_rest_due(judge, judged_item, server):
    for _ in range(6):
        judged_item()
    Judge.objects.update(concurrency=2)
    server.respond = lambda request: Answer(wait=0.05)
    counts = judge_items(judge=judge, stop=lambda: server.served >= 2)
    assert 2 <= counts["answered"] < 12
    assert counts["pending"] == 12 - counts["answered"]
    assert not JudgeCall.objects.exclude(claim="").exists()
    assert money(judge) == (counts["answered"] * PRICE, 0, 0)  # what was reserved and not sent is free again
    assert judge_items(judge=judge)["pending"] == 0
    assert Annotation.objects.count() == 12


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_ask_everything_once(judge, judged_item, server):
    for _ in range(8):
        judged_item()
    server.respond = lambda request: Answer(wait=0.02)
    asked = []

    def work():
        asked.append(judge_items(judge=Judge.objects.get(pk=judge.pk))["asked"])
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(asked) == [0, 16]
    assert Annotation.objects.count() == 16


@pytest.mark.slow
def test_a_slow_endpoint_is_given_up_and_may_have_cost_money(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(settling, "REST", 60.0)
    judged_item()
    Judge.objects.update(timeout_seconds=1, concurrency=2)
    server.script(Answer(wait=1.5), Answer(wait=1.5), Answer())
    assert judge_items(judge=judge)["answered"] == 2
    spent, reserved, unknown = money(judge)
    assert (spent, reserved) == (2 * PRICE, 0)
    assert unknown == sum_bounds(server.requests[:2])
