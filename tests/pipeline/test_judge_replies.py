"""Replies that look like a success and say nothing, and counts that cannot be: read by the protocol's schema."""

import json

import pytest

from annotate.models import Annotation
from pipeline.judging import judge_items
from pipeline.judging.exchange import Tokens, Trouble, read_reply
from pipeline.models import Judge, JudgeCall, JudgeReply
from tests.pipeline.judge_server import PRICE, Answer, error, money, says

USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def body(message=None, *, usage=USAGE, choices=None, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": says("A"), **(message or {})}, **more}
    return json.dumps({"choices": [choice] if choices is None else choices, "usage": usage})


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        (body({"refusal": "I will not."}), "refusal"),
        (body({"content": None, "refusal": "I will not."}), "refusal"),
        (body({"tool_calls": [{"id": "1", "function": {"arguments": says("B")}}]}), "tool_calls"),
        (body(finish_reason="content_filter"), "content_filter"),
    ],
)
@pytest.mark.django_db
def test_what_is_refused_filtered_or_called_is_no_verdict_whatever_stands_in_it(
    judge, judged_item, server, said, finish
):
    assert read_reply(said, 0.1).finish_reason == finish
    judged_item()
    server.respond = lambda request: Answer(body=said)
    assert judge_items(judge=judge)["unparsable"] == 2
    assert {row.answers["preference"]["choice"] for row in Annotation.objects.all()} == {"unparsable"}


def test_text_in_parts_is_text():
    parts = [{"type": "text", "text": '{"verdict": '}, {"type": "text", "text": '"A"}'}]
    assert read_reply(body({"content": parts}), 0.1).text == '{"verdict": "A"}'


@pytest.mark.parametrize(
    "said",
    [
        body({"content": [{"type": "image_url", "text": says("B")}]}),
        body({"content": {"text": says("B")}}),
        body(choices=[]),
        body(choices={"0": {"message": {"content": says("B")}}}),
        body(choices=[{"message": {"content": says("A")}}, {"message": {"content": says("B")}}]),
        "[" + body() + "]",
        "",
        "[" * 100_000,
        '{"choices": ' + "9" * 10_000 + "}",
    ],
)
def test_another_schema_is_trouble_and_keeps_what_it_counts(said):
    with pytest.raises(Trouble) as raised:
        read_reply(said, 0.1)
    assert (raised.value.tokens is None) == raised.value.maybe_charged


def test_an_error_that_comes_as_a_success_is_said_in_its_own_words():
    with pytest.raises(Trouble, match="The endpoint says: the model is loading"):
        read_reply('{"error": {"message": "the model is loading", "code": 503}}', 0.1)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": "100", "completion_tokens": "10"},
        {"prompt_tokens": 12.5, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": 100},
        {"completion_tokens": 10},
        [],
        "many",
        None,
    ],
)
def test_what_is_no_count_is_none(usage):
    assert read_reply(body(usage=usage), 0.1).tokens is None


@pytest.mark.django_db
@pytest.mark.parametrize("usage", [(2**31 - 1, 2**31 - 1), (100, 301), (10**6, 1)])
def test_a_count_that_cannot_be_is_not_spent_but_booked_as_unknown_within_the_cap(judge, judged_item, server, usage):
    judged_item()
    Judge.objects.update(spend_cap="1", spent_units=0)
    server.respond = lambda request: Answer(usage=usage)
    counts = judge_items(judge=judge)
    spent, reserved, unknown = money(judge)
    assert (counts["answered"], spent, reserved) == (2, 0, 0)
    assert 0 < unknown <= 10**12
    assert set(JudgeReply.objects.values_list("tokens_input", "tokens_output")) == {(None, None)}


@pytest.mark.django_db
def test_what_was_read_before_has_its_own_price_and_the_full_one_without(judge, judged_item, server):
    judged_item()
    cached = {**USAGE, "prompt_tokens_details": {"cached_tokens": 80}}
    assert read_reply(body(usage=cached), 0.1).tokens == Tokens(100, 10, 80)
    server.respond = lambda request: Answer(body=body(usage=cached))
    judge_items(judge=judge)
    assert money(judge) == (2 * PRICE, 0, 0)
    Judge.objects.update(price_cached="0.15", spent_units=0)
    judged_item()
    judge_items(judge=judge)
    assert money(judge) == (2 * (20 * 1_500_000 + 80 * 150_000 + 10 * 6_000_000), 0, 0)


@pytest.mark.django_db
def test_a_reply_longer_than_any_that_was_asked_for_is_not_taken_in(judge, judged_item, server):
    judged_item()
    server.script(Answer(content="A" * 4_000_000), Answer(content="A" * 4_000_000), then=Answer())
    assert judge_items(judge=judge)["answered"] == 2
    assert not JudgeReply.objects.filter(text__startswith="AAA").exists()
    assert money(judge)[2] > 0


@pytest.mark.django_db
def test_an_empty_account_stops_the_judge_and_fails_no_item(judge, judged_item, server):
    judged_item()
    server.respond = lambda request: error(402, "Insufficient credits")
    counts = judge_items(judge=judge)
    assert (counts["state"], counts["failed"], counts["pending"]) == (Judge.STOPPED, 0, 2)
    assert "Insufficient credits" in counts["message"]
    assert "Fill up the account" in counts["message"]


@pytest.mark.django_db
def test_what_got_lost_behind_a_gateway_may_have_been_paid(judge, judged_item, server):
    judged_item()
    server.script(error(502, "Bad gateway"), error(504, "Late"), error(500, "Failed"), then=Answer())
    Judge.objects.update(concurrency=1)
    judge_items(judge=judge)
    spent, reserved, unknown = money(judge)
    bounds = [call.attempts for call in JudgeCall.objects.all()]
    assert (spent, reserved, sum(bounds)) == (2 * PRICE, 0, 5)
    one = unknown // 2
    assert unknown == 2 * one  # the failure inside costs nothing
    assert one > PRICE
