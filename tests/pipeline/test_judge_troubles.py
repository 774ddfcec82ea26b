"""What becomes of questions and of the judge when the endpoint refuses, fails, is slow or says what it may not."""

import time

import pytest
from django.utils import timezone

from annotate.models import Annotation, Label
from pipeline.judging import calls, judge_items, judges_due, rounds, settling
from pipeline.models import Judge, JudgeCall
from tests.pipeline.judge_server import PRICE, Answer, error, money, says, shown

pytestmark = pytest.mark.django_db


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


def test_a_changed_secret_key_is_said_clearly(judge, judged_item, settings):
    judged_item()
    settings.SECRET_KEY = "another key, as long as it has to be for a real one"
    counts = judge_items(judge=judge)
    assert counts["state"] == "stopped"
    assert counts["message"] == (
        "The endpoint's key cannot be read, because SECRET_KEY has changed since it was saved: "
        "enter the key again in the judge's settings."
    )


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
    assert "sends us on to https://elsewhere.example/v1" in counts["message"]


def test_many_failures_at_once_make_one_short_rest(judge, judged_item, server, monkeypatch):
    """Sixteen questions that break off together are one trouble, and no reason to rest for hours."""
    monkeypatch.setattr(settling, "REST", 60.0)
    for _ in range(8):
        judged_item()
    Judge.objects.update(concurrency=16)
    server.respond = lambda request: Answer(wait=0.05, cut=True)
    judge_items(judge=judge)
    judge.refresh_from_db()
    assert (judge.state, judge.failures) == (Judge.WAITING, calls.BREAKER)
    assert (judge.resume_at - timezone.now()).total_seconds() < 61


def test_an_endpoint_that_says_wait_no_time_is_not_asked_without_end(judge, judged_item, server, monkeypatch):
    monkeypatch.setattr(settling, "BACKOFF", 0.2)
    judged_item()
    Judge.objects.update(concurrency=1)
    server.respond = lambda request: error(429, "slow down", headers={"Retry-After": "0"})
    judge_items(judge=judge, seconds=1.0)
    assert len(server.requests) < 6


def test_a_redirect_is_followed_nowhere_over_tls_either():
    from pipeline.judging.client import Endpoint
    from pipeline.judging.exchange import Address

    with Endpoint() as endpoint:
        for url in ("http://127.0.0.1:9/v1", "https://127.0.0.1:9/v1"):
            assert not endpoint.client(Address(url, "", "m", 10, 1.0)).follow_redirects
