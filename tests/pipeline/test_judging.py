"""Judges behind an endpoint: what is asked, what is kept, what it costs, and what happens when things go wrong."""

import threading
import time
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from annotate.models import Annotation, Label
from pipeline.judging import calls, judge_items, judges_due, rounds, settling, setup
from pipeline.judging.books import Books
from pipeline.models import Judge, JudgeCall, Route
from tests.pipeline.judge_server import Answer, error, says, shown

pytestmark = pytest.mark.django_db

# The reply of the default answer costs 100 tokens at 1.5 and 10 at 6 per million: 0.000210.
PRICE = 210_000_000


def money(judge):
    judge.refresh_from_db()
    return judge.spent_units, judge.reserved_units, judge.unknown_units


def prefers(text):
    """A server that always prefers the answer that holds this text, wherever it stands."""

    def respond(request):
        return Answer(says("A" if text in shown(request)["A"] else "B"))

    return respond


# --- The protocol ---------------------------------------------------------------------------------------------
def test_both_orders_are_asked_and_mapped_back_before_anything_is_stored(judge, judged_item, server):
    item = judged_item("Is the sea salty?", ("It is sweet.", "It is salty."))
    server.respond = prefers("salty")
    counts = judge_items(judge=judge)
    assert (counts["asked"], counts["answered"], counts["pending"], counts["state"]) == (2, 2, 0, "ready")
    first, second = item.annotations.order_by("order_key")
    assert (first.order, first.answers) == ([0, 1], {"preference": {"choice": "b"}})
    assert (second.order, second.answers) == ([1, 0], {"preference": {"choice": "b"}})
    assert {shown(request)["A"] for request in server.requests} == {"It is sweet.", "It is salty."}
    assert Label.objects.get(item=item).value == "b"
    assert first.rater == judge.rater
    assert first.reason == "clearer"


def test_disagreement_between_the_orders_is_kept_and_is_no_winner(judge, judged_item, server):
    item = judged_item()
    server.respond = lambda request: Answer(says("A"))  # whatever stands first
    judge_items(judge=judge)
    assert {a.order_key: a.answers["preference"]["choice"] for a in item.annotations.all()} == {"0-1": "a", "1-0": "b"}
    assert Label.objects.get(item=item).value == "tie"


def test_a_request_holds_guidelines_rubric_and_material_at_temperature_0(judge, judged_item, server):
    judged_item("Is the sea salty?")
    judge_items(judge=judge)
    request = server.requests[0]
    system, user = request["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Pick the *better* answer." in system["content"]
    assert "Right, complete, clear, and no longer than it needs to be" in system["content"]
    assert shown(request)["conversation"].endswith("Is the sea salty?")
    assert (request["model"], request["temperature"], request["logprobs"]) == ("careful-1", 0, True)
    assert server.headers[0]["authorization" if "authorization" in server.headers[0] else "Authorization"] == (
        "Bearer sk-secret-of-the-test"
    )


def test_confidence_comes_from_the_log_probabilities_of_the_verdict(judge, judged_item, server):
    item = judged_item()
    tokens = [
        {"token": '{"', "logprob": 0.0, "top_logprobs": []},
        {"token": 'verdict": "', "logprob": 0.0, "top_logprobs": []},
        {
            "token": "A",
            "logprob": -0.2231,
            "top_logprobs": [{"token": "A", "logprob": -0.2231}, {"token": "B", "logprob": -1.6094}],
        },
        {"token": '"}', "logprob": 0.0, "top_logprobs": []},
    ]
    server.respond = lambda request: Answer('{"verdict": "A"}', logprobs=tokens)
    judge_items(judge=judge)
    assert item.annotations.first().confidence == pytest.approx(0.8, abs=1e-4)
    assert JudgeCall.objects.first().logprobs == pytest.approx({"A": -0.2231, "B": -1.6094})


def test_only_pairs_routed_to_the_judge_are_asked_and_each_once(judge, judged_item, server):
    judged_item(route="both")
    judged_item(route="human")
    judged_item(route="")
    judged_item(responses=("one", "two", "three"))
    judged_item(responses=("alone",))
    judged_item(state="archived")
    assert judge_items(judge=judge)["asked"] == 2
    assert judge_items(judge=judge)["asked"] == 0
    assert judges_due() == []


def test_what_is_done_is_not_looked_at_again(judge, judged_item, monkeypatch):
    """The cursor goes on once everything up to it has its calls, and not past what may still come to light."""
    judged_item()
    judge_items(judge=judge)
    judge.refresh_from_db()
    assert judge.route_cursor == 0  # too new: a slower transaction may still bring an older number
    monkeypatch.setattr(calls, "SETTLED", timezone.timedelta(0))
    judge_items(judge=judge)
    judge.refresh_from_db()
    assert judge.route_cursor == Route.objects.latest("id").pk
    late = judged_item()
    assert list(calls.items_due(judge)) == [late]
    assert judge_items(judge=judge)["answered"] == 2


def test_an_endpoint_that_refuses_parameters_is_asked_without_them(judge, judged_item, server):
    judged_item()

    def respond(request):
        for name in ("logprobs", "temperature", "max_tokens"):
            if name in request:
                return error(400, f"Unsupported parameter: '{name}'", param=name)
        return Answer()

    server.respond = respond
    assert judge_items(judge=judge)["answered"] == 2
    assert server.requests[-1]["max_completion_tokens"] == 300
    judge.refresh_from_db()
    assert judge.dialect == {"logprobs": None, "temperature": None, "max_tokens": "max_completion_tokens"}
    assert money(judge) == (2 * PRICE, 0, 0)


# --- Replies without a verdict --------------------------------------------------------------------------------
def test_an_unparsable_reply_is_asked_once_more_and_then_recorded_as_such(judge, judged_item, server):
    item = judged_item()
    server.respond = lambda request: Answer("I think A is better.")
    counts = judge_items(judge=judge)
    assert (counts["asked"], counts["unparsable"], counts["answered"]) == (4, 2, 0)
    assert {a.answers["preference"]["choice"] for a in item.annotations.all()} == {"unparsable"}
    assert not Label.objects.filter(item=item).exists()
    assert money(judge) == (4 * PRICE, 0, 0)
    assert JudgeCall.objects.first().error.startswith("The reply is not one JSON object")


def test_a_good_second_reply_counts(judge, judged_item, server):
    judged_item()
    server.script(Answer("Hm."), Answer("Hm."), Answer(says("tie")))
    counts = judge_items(judge=judge)
    assert (counts["answered"], counts["unparsable"], counts["asked"]) == (2, 0, 4)
    assert set(Annotation.objects.values_list("answers__preference__choice", flat=True)) == {"tie"}


def test_a_reply_that_was_cut_says_so(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: Answer('{"verdict": "A", "reas', finish_reason="length")
    judge_items(judge=judge)
    assert JudgeCall.objects.first().error.startswith("The reply was cut at the longest length")


# --- Trouble --------------------------------------------------------------------------------------------------
def test_bursts_of_errors_are_waited_out(judge, judged_item, server):
    for _ in range(5):
        judged_item()
    server.script(
        error(429, "slow down", headers={"retry-after": "0"}),
        error(500, "oops"),
        Answer(cut=True),
        Answer(body='{"choices": '),
        error(503, "starting", headers={"retry-after": "0"}),
        Answer(),
    )
    counts = judge_items(judge=judge)
    assert (counts["answered"], counts["failed"], counts["pending"], counts["state"]) == (10, 0, 0, "ready")
    assert Annotation.objects.count() == 10


@pytest.mark.slow
def test_retry_after_is_honoured(judge, judged_item, server, monkeypatch):
    judged_item()
    monkeypatch.setattr(settling, "BACKOFF", 0.0)
    times = []

    def respond(request):
        times.append(time.monotonic())
        return error(429, "slow", headers={"retry-after": "1"}) if len(times) == 1 else Answer()

    Judge.objects.update(concurrency=1)
    server.respond = respond
    judge_items(judge=judge)
    assert times[1] - times[0] >= 0.95


def test_a_long_wait_is_left_to_the_next_worker(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: error(429, "quota", headers={"retry-after": "120"})
    counts = judge_items(judge=judge)
    assert (counts["state"], counts["message"], counts["pending"]) == ("waiting", "The endpoint says 429: quota", 2)
    assert judges_due() == []
    assert judges_due(timezone.now() + timezone.timedelta(seconds=121)) == [judge.pk]
    assert Annotation.objects.count() == 0


def test_an_endpoint_that_is_down_ends_in_a_clear_state_and_items_stay_due(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(settling, "REST", 60.0)
    judged_item()
    server.respond = lambda request: error(500, "out of memory")
    counts = judge_items(judge=judge)
    assert counts["state"] == "waiting"
    assert counts["message"] == "The endpoint does not work. The endpoint says 500: out of memory"
    assert (counts["pending"], Annotation.objects.count(), counts["failed"]) == (2, 0, 0)
    server.respond = lambda request: Answer()
    judge_items(judge=judge, again=True)
    assert Annotation.objects.count() == 2
    judge.refresh_from_db()
    assert (judge.state, judge.message, judge.failures, judge.resume_at) == ("ready", "", 0, None)


def test_nobody_at_the_address_costs_nothing(judge, judged_item, monkeypatch):
    monkeypatch.setattr(settling, "REST", 60.0)
    judged_item()
    Judge.objects.update(base_url="http://127.0.0.1:9/v1")
    counts = judge_items(judge=judge)
    assert counts["message"].startswith("The endpoint does not work. Nobody answers at http://127.0.0.1:9/v1")
    assert (counts["state"], counts["pending"], money(judge)) == ("waiting", 2, (0, 0, 0))


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


def sum_bounds(requests):
    """The most that these requests can cost, as the judge's prices have it."""
    tokens = sum(64 + sum(16 + len(m["content"].encode()) for m in request["messages"]) for request in requests)
    return tokens * 1_500_000 + len(requests) * 300 * 6_000_000


def test_a_refused_key_stops_the_judge_and_is_not_repeated(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: error(401, "Incorrect API key provided: sk-secret-of-the-test.")
    counts = judge_items(judge=judge)
    assert counts["state"] == "stopped"
    assert counts["message"] == (
        "The endpoint says 401: Incorrect API key provided: •••. Check URL, key and model in the judge's settings."
    )
    assert (counts["pending"], judges_due(), Annotation.objects.count()) == (2, [], 0)
    assert "sk-secret" not in JudgeCall.objects.first().error


def test_a_question_that_the_endpoint_rejects_fails_alone(judge, judged_item, server):
    Judge.objects.update(concurrency=1)
    judged_item("short")
    judged_item("long")

    def respond(request):
        too_long = shown(request)["conversation"].endswith("long")
        return error(400, "This model's maximum context length is 10 tokens.") if too_long else Answer()

    server.respond = respond
    counts = judge_items(judge=judge)
    assert (counts["answered"], counts["failed"], counts["state"]) == (2, 2, "ready")
    server.respond = lambda request: Answer()
    assert settling.ask_again(judge=judge) == 2
    assert judge_items(judge=judge)["answered"] == 2


def test_an_endpoint_that_rejects_everything_stops_the_judge_and_gives_up_nothing(judge, judged_item, server):
    for _ in range(4):
        judged_item()
    server.respond = lambda request: error(400, "no such model")
    counts = judge_items(judge=judge)
    assert (counts["state"], counts["pending"]) == ("stopped", 8)
    assert not JudgeCall.objects.filter(state="failed").exists()


@pytest.mark.slow
def test_a_question_that_breaks_a_working_endpoint_is_given_up_in_the_end(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(settling, "MOST_STRIKES", 2)
    monkeypatch.setattr(settling, "MOST_BACKOFF", 0.02)
    monkeypatch.setattr(settling, "REST", 60.0)
    Judge.objects.update(concurrency=1)
    judged_item("poison")

    def respond(request):
        return error(500, "crash") if shown(request)["conversation"].endswith("poison") else Answer()

    server.respond = respond
    poison = JudgeCall.objects.filter(item__title="poison")
    for times in range(1, 6):
        judged_item("fine")
        judge_items(judge=judge, again=True)
        assert JudgeCall.objects.filter(item__title="fine", state="answered").count() == 2 * times
    # At least one strike a round, for the one that is asked right after an answer; two end one order.
    assert set(poison.values_list("state", flat=True)) == {"failed"}
    assert poison.first().error == "The endpoint says 500: crash"
    assert not Annotation.objects.filter(item__title="poison").exists()


def test_what_a_database_cannot_hold_is_replaced(judge, judged_item, server):
    item = judged_item()
    server.respond = lambda request: Answer('{"verdict": "A", "reason": "nul \\u0000 and half \\ud800"}')
    assert judge_items(judge=judge)["answered"] == 2
    assert item.annotations.first().reason == "nul \ufffd and half ?"


# --- Money ----------------------------------------------------------------------------------------------------
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


# --- Workers that come and go ---------------------------------------------------------------------------------
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


def reply_of(answer):
    from pipeline.judging.exchange import read_reply

    return read_reply(answer.text(), 0.1)


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


def test_a_limit_is_kept_even_when_questions_are_asked_again(judge, judged_item, server):
    for _ in range(4):
        judged_item()
    server.script(error(500, "once"), Answer())
    counts = judge_items(judge=judge, limit=2)
    assert (counts["answered"], counts["pending"]) == (4, 0)
    assert Annotation.objects.values("item").distinct().count() == 2


def test_no_more_questions_are_under_way_than_allowed(judge, judged_item, server):
    for _ in range(6):
        judged_item()
    Judge.objects.update(concurrency=3)
    server.respond = lambda request: Answer(wait=0.05)
    judge_items(judge=judge)
    assert server.most_at_once == 3


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


# --- Settings -------------------------------------------------------------------------------------------------
def test_a_changed_secret_key_is_said_clearly(judge, judged_item, settings):
    judged_item()
    settings.SECRET_KEY = "another key, as long as it has to be for a real one"
    counts = judge_items(judge=judge)
    assert counts["state"] == "stopped"
    assert counts["message"] == (
        "The endpoint's key cannot be read, because SECRET_KEY has changed since it was saved: "
        "enter the key again in the judge's settings."
    )


def test_a_key_is_not_kept_in_the_clear(judge):
    assert "sk-secret" not in judge.encrypted_key


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:8000", "http://", "http://a b/v1", "http://x:99999/", ""])
def test_what_is_no_address_is_refused(project, url):
    with pytest.raises(setup.SetupError, match="address of an endpoint"):
        setup.create_endpoint_judge(project=project, name="x", base_url=url, model="m")


def test_an_address_loses_what_the_client_adds():
    assert setup.checked_url("http://vllm:8000/v1/chat/completions ") == "http://vllm:8000/v1"


def test_another_model_is_another_judge(judge, judged_item):
    setup.change_judge(judge=judge, model="careful-2")
    judged_item()
    judge_items(judge=judge)
    with pytest.raises(setup.SetupError, match="Another model is another judge"):
        setup.change_judge(judge=judge, model="careful-3")


def test_a_name_is_taken_once(judge, project):
    with pytest.raises(setup.SetupError, match="choose another name"):
        setup.create_endpoint_judge(project=project, name="careful", base_url="http://x/v1", model="m")


def test_a_judge_that_is_switched_off_is_not_due(judge, judged_item):
    judged_item()
    assert judges_due() == [judge.pk]
    setup.change_judge(judge=judge, enabled=False)
    assert judges_due() == []
    assert judge_items(judge=judge)["asked"] == 0


def test_a_project_that_rests_spends_nothing_on_judges(judge, judged_item, project):
    judged_item()
    project.state = "paused"
    project.save()
    assert judges_due() == []


def test_a_rest_is_not_waited_for_longer_than_a_worker_has(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    judged_item()
    server.respond = lambda request: error(429, "slow", headers={"retry-after": "5"})
    begin = time.monotonic()
    assert judge_items(judge=judge)["state"] == "waiting"
    assert time.monotonic() - begin < 2


def test_a_redirect_is_not_followed_without_tls_and_says_where_to_look(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: Answer(status=307, headers={"location": "https://elsewhere.example/v1"}, body="")
    counts = judge_items(judge=judge)
    assert (counts["state"], len(server.requests) <= judge.concurrency) == ("stopped", True)
    assert "307" in counts["message"]
    assert "Check URL" in counts["message"]
