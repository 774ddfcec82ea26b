"""Everything that an endpoint can do wrong, in turns, while the worker is killed: money, annotations and states add
up.

Also what keeps replies: nothing is paid twice, samples are distinct, an item goes on where it was, and so many a
minute are not exceeded.
"""

import json
import signal
import threading
import time
from itertools import count

import pytest
from django.core.management import call_command
from django.db.models import Sum

from annotate.models import Annotation
from pipeline.judging import judge_items, outbox, settling, setup
from pipeline.models import Judge, JudgeCall, JudgeReply
from tests.pipeline.judge_server import Answer, error, says, shown
from tests.pipeline.test_judge_commands import judging_process, wait_for

pytestmark = pytest.mark.django_db

PRICE = 210_000_000  # of one whole reply of the server


class Hostile:
    """Answers rightly (the answer that says “good” wins), but does everything wrong in between; keeps what it billed.

    Items that say “odd” are answered by whatever stands first: their orders contradict each other.
    """

    WRONG = (
        lambda right: error(429, "slow down", headers={"retry-after": "0.2"}),
        lambda right: error(500, "out of memory"),
        lambda right: Answer(right, cut=True),
        lambda right: Answer(body='{"choices": [{"message"'),
        lambda right: Answer(
            body=json.dumps({"result": "A", "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
        ),
        lambda right: Answer(right[:12], finish_reason="length"),
        lambda right: Answer("A is better, because B ignores the guidelines."),
        lambda right: Answer(right, wait=2.5),
    )
    FREE = (0, 1)

    def __init__(self):
        self.numbers = count()
        self.billed = 0
        self.lock = threading.Lock()

    def __call__(self, request):
        with self.lock:
            number = next(self.numbers)
        place = shown(request)
        odd = "odd" in place["conversation"]
        right = says("A" if odd or "good" in place["A"] else "B")
        turn = number // 2 % len(self.WRONG)
        wrong = number % 2 == 1  # every other one, so that failures in a row do not let the judge rest
        with self.lock:
            self.billed += 0 if wrong and turn in self.FREE else PRICE
        return self.WRONG[turn](right) if wrong else Answer(right)


def fire_at(judge, judged_item, server, items):
    hostile = Hostile()
    server.respond = hostile
    for number in range(items):
        name = "odd" if number % 7 == 0 else "plain"
        texts = ("a good one", "a poor one") if number % 2 else ("a poor one", "a good one")
        judged_item(f"{name} {number}?", texts)
    Judge.objects.update(timeout_seconds=1, concurrency=4, spend_cap="5")
    return hostile


def check_books(judge, hostile, items):
    """What must hold whatever happened."""
    judge.refresh_from_db()
    calls = JudgeCall.objects.filter(judge=judge)
    assert set(calls.values_list("state", flat=True)) <= {"answered", "unparsable"}
    assert calls.count() == 2 * items
    assert Annotation.objects.filter(rater=judge.rater).count() == 2 * items
    assert not calls.filter(annotation=None).exists()
    for call in calls.select_related("item", "annotation"):
        said = call.annotation.answers["preference"]["choice"]
        first = "ab"[call.order[0]]
        good = "a" if call.item.responses.get(position=0).messages[0]["content"] == "a good one" else "b"
        right = first if "odd" in call.item.title else good
        assert said == (right if call.state == "answered" else "unparsable")
    assert (judge.reserved_units, calls.exclude(claim="").count()) == (0, 0)
    assert judge.spent_units == calls.aggregate(total=Sum("cost_units"))["total"]
    assert judge.spent_units % PRICE == 0
    assert judge.spent_units <= hostile.billed <= judge.spent_units + judge.unknown_units <= 5 * 10**12


@pytest.mark.slow
def test_an_endpoint_that_does_everything_wrong_leaves_no_wrong_annotation(judge, judged_item, server):
    hostile = fire_at(judge, judged_item, server, items=14)
    for _ in range(20):
        if not judge_items(judge=judge, again=True)["pending"]:
            break
    check_books(judge, hostile, 14)


@pytest.mark.stage
@pytest.mark.django_db(transaction=True)
def test_and_none_when_its_worker_is_killed_three_times_meanwhile(judge, judged_item, server):
    hostile = fire_at(judge, judged_item, server, items=40)
    for most in (6, 20, 36):
        process = judging_process(judge.project)
        wait_for(lambda most=most: Annotation.objects.count() >= most)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert Annotation.objects.count() < 80
        Judge.objects.update(lease_until=None)  # as if half a minute had passed
    for _ in range(20):
        if not judge_items(judge=judge, again=True)["pending"]:
            break
    check_books(judge, hostile, 40)
    assert judge.unknown_units > 0


def test_the_cap_holds_with_many_requests_an_item(project, judged_item, server, quick):
    """The last requests are not asked when they could overrun the cap; what was asked is not paid again after it."""
    judge = setup.create_endpoint_judge(
        project=project, name="rater", base_url=server.url, model="m", price_input="1.5", price_output="6",
        protocol={"pairwise": "ratings"}, concurrency=2, spend_cap="0.02", max_tokens=20,
    )  # fmt: skip
    for _ in range(12):
        judged_item()
    server.respond = lambda request: Answer(json.dumps({"rating": 4}), usage=(600, 20))
    price = 600 * 1_500_000 + 20 * 6_000_000
    assert judge_items(judge=judge)["state"] == "stopped"
    judge.refresh_from_db()
    assert judge.spent_units == server.served * price <= 0.02 * 10**12
    assert judge.reserved_units == judge.unknown_units == 0
    Judge.objects.update(spend_cap="10")
    assert judge_items(judge=judge, again=True)["pending"] == 0
    judge.refresh_from_db()
    # 12 items, both answers, one criterion, each once: both orders ask the same
    assert server.served == 24
    assert judge.spent_units == 24 * price == JudgeReply.objects.aggregate(total=Sum("cost_units"))["total"]


def test_the_same_question_to_the_same_model_is_paid_once(judge, judged_item, server, project):
    judged_item("Same?", ("x", "y"))
    judge_items(judge=judge)
    twin = setup.create_endpoint_judge(
        project=project, name="twin", base_url=server.url, model="careful-1", price_input="1.5", price_output="6"
    )
    assert judge_items(judge=twin)["answered"] == 2
    twin.refresh_from_db()
    assert (server.served, twin.spent_units, Annotation.objects.count()) == (2, 0, 4)
    other = setup.create_endpoint_judge(project=project, name="other", base_url=server.url, model="careful-2")
    judge_items(judge=other)
    assert server.served == 4  # another model is another question


def test_samples_are_distinct_questions_and_all_are_paid(project, judged_item, server, quick):
    judge = setup.create_endpoint_judge(
        project=project, name="often", base_url=server.url, model="m", price_input="1.5", price_output="6",
        protocol={"samples": 4},
    )  # fmt: skip
    item = judged_item()
    verdicts = iter(["A", "A", "A", "B"] * 2)
    lock = threading.Lock()

    def respond(request):
        with lock:
            return Answer(says(next(verdicts)))

    server.respond = respond
    Judge.objects.update(concurrency=1)
    judge_items(judge=judge)
    judge.refresh_from_db()
    assert (server.served, judge.spent_units) == (8, 8 * PRICE)
    assert {request["temperature"] for request in server.requests} == {0.7}
    assert set(item.annotations.values_list("confidence", flat=True)) == {0.75}


def test_a_cascade_pays_the_dear_judge_only_where_there_is_doubt_and_to_the_last_unit(
    project, judged_item, server, quick
):
    common = {"project": project, "base_url": server.url}
    cheap = setup.create_endpoint_judge(name="cheap", model="small", price_input="1", price_output="1", **common)
    dear = setup.create_endpoint_judge(name="dear", model="large", price_input="30", price_output="60", **common)
    both = setup.create_group_judge(project=project, name="both", kind="cascade", members=[cheap, dear], spend_cap="1")
    clear = judged_item("Clear?", ("good", "poor"))
    doubtful = judged_item("Doubtful?", ("good", "poor"))

    def respond(request):
        first = "good" in shown(request)["A"]
        if request["model"] == "small" and "Doubtful" in shown(request)["conversation"]:
            return Answer(says("A"))
        return Answer(says("A" if first else "B"))

    server.respond = respond
    counts = judge_items(judge=both)
    both.refresh_from_db()
    assert counts["answered"] == 4
    asked = [request["model"] for request in server.requests]
    assert (asked.count("small"), asked.count("large")) == (4, 2)
    assert both.spent_units == 4 * (100 + 10) * 10**6 + 2 * (100 * 30 + 10 * 60) * 10**6
    assert {annotation.metadata["tier"] for annotation in clear.annotations.all()} == {1}
    assert {annotation.metadata["tier"] for annotation in doubtful.annotations.all()} == {2}
    for member in (cheap, dear):
        member.refresh_from_db()
        assert member.spent_units == 0  # the cascade pays


def test_a_member_that_refuses_a_parameter_is_asked_without_it_from_then_on(project, judged_item, server, quick):
    members = [
        setup.create_endpoint_judge(project=project, name=name, base_url=server.url, model=name) for name in "xy"
    ]
    panel = setup.create_group_judge(project=project, name="panel", kind="panel", members=members)
    for _ in range(3):
        judged_item()
    server.respond = lambda request: (
        error(400, "no logprobs", param="logprobs") if "logprobs" in request and request["model"] == "x" else Answer()
    )
    assert judge_items(judge=panel)["answered"] == 6
    for member in members:
        member.refresh_from_db()
    assert [member.dialect for member in members] == [{"logprobs": None}, {}]
    assert server.served < 30  # learned once, not once a question


@pytest.mark.slow
def test_so_many_a_minute_are_sent_and_no_more(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(outbox, "MINUTE", 1.0)
    Judge.objects.update(per_minute=4, concurrency=8)
    for _ in range(5):
        judged_item()
    times = []

    def respond(request):
        times.append(time.monotonic())
        return Answer()

    server.respond = respond
    judge_items(judge=judge)
    assert len(times) == 10
    assert all(later - earlier >= 0.9 for earlier, later in zip(times, times[4:], strict=False))


def test_a_reply_that_is_kept_is_not_lost_with_the_worker(judge, judged_item, server):
    """A protocol of two steps whose second fails: the first is not asked and paid again."""
    Judge.objects.update(protocol={"reference": True}, concurrency=1)
    judged_item()
    broken = [error(400, "too long")] * 2

    def respond(request):
        if "reference answer" not in request["messages"][1]["content"]:
            return Answer("My own answer.")
        return broken.pop() if broken else Answer()

    server.respond = respond
    assert judge_items(judge=Judge.objects.get())["failed"] == 2
    settling.ask_again(judge=judge)
    assert judge_items(judge=judge)["answered"] == 2
    own = [request for request in server.requests if "reference answer" not in request["messages"][1]["content"]]
    assert len(own) == 1
    assert set(Annotation.objects.values_list("reference", flat=True)) == {"My own answer."}
    call_command("judge", judge.project.slug)
    assert Annotation.objects.count() == 2
