"""Judges behind an endpoint: what is asked, in which order, and what is kept."""

import pytest
from django.utils import timezone

from annotate.models import Annotation, Label
from pipeline.judging import calls, judge_items, judges_due, setup
from pipeline.models import Judge, JudgeCall, Route
from tests.pipeline.judge_server import Answer, error, says, shown

pytestmark = pytest.mark.django_db


def prefers(text):
    """A server that always prefers the answer that holds this text, wherever it stands."""

    def respond(request):
        return Answer(says("A" if text in shown(request)["A"] else "B"))

    return respond


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


def test_a_limit_is_kept_even_when_questions_are_asked_again(judge, judged_item, server):
    for _ in range(4):
        judged_item()
    server.script(error(500, "once"), Answer())
    counts = judge_items(judge=judge, limit=2)
    assert (counts["answered"], counts["pending"]) == (4, 4)
    assert Annotation.objects.values("item").distinct().count() == 2


def test_no_more_questions_are_under_way_than_allowed(judge, judged_item, server):
    for _ in range(6):
        judged_item()
    Judge.objects.update(concurrency=3)
    server.respond = lambda request: Answer(wait=0.05)
    judge_items(judge=judge)
    assert server.most_at_once == 3


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
