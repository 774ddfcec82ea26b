"""Signs of trouble in conversations and traces: where they fire, and where they must not."""

import pytest

from pipeline.models import Belief
from pipeline.routing import buying, triage


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def tool(text):
    return {"role": "tool", "content": text}


def call(name, given, number):
    return assistant(f'Calls `{name}` (call_{number}):\n\n```json\n{{\n  "q": "{given}"\n}}\n```')


def signs(prompt, *responses, **metadata):
    texts = responses or ("Yes.", "No.")
    return triage.signs(prompt, [([assistant(text)], {}) for text in texts], metadata)


@pytest.mark.database_free
@pytest.mark.parametrize(
    "result",
    [
        "Traceback (most recent call last):\n  File x", "Error: no such table", '{"error": {"code": 3}}',
        '{"success": false}', "exit code: 1", "HTTP/1.1 503 Service Unavailable", "bash: foo: command not found",
        "ValueError: bad", "the request timed out", "x" * 20_000 + "\nFAILED tests/test_x.py",
    ],
)  # fmt: skip
def test_a_tool_call_that_failed_is_seen(result):
    assert signs([user("Do it."), call("run", "a", 1), tool(f"Result of `run` (call_1):\n\n{result}")]) == [
        triage.FAILED
    ]


@pytest.mark.database_free
@pytest.mark.parametrize(
    "result",
    ['{"error": null, "rows": 3}', '{"errors": [], "ok": true}', "exit code: 0", "HTTP/1.1 200 OK", "12 passed",
     "An article on error correction in human speech", '{"status_code": 200}'],
)  # fmt: skip
def test_a_tool_call_that_went_well_is_not(result):
    assert signs([user("Do it."), call("run", "a", 1), tool(result)]) == []


@pytest.mark.database_free
def test_the_same_call_three_times_is_a_loop_whatever_its_ids():
    thrice = [user("Find it."), *(turn for n in range(3) for turn in (call("search", "cats", n), tool("Nothing.")))]
    assert signs(thrice) == [triage.LOOP]
    others = [
        user("Find it."),
        *(turn for n in range(3) for turn in (call("search", f"cats {n}", n), tool("Nothing."))),
    ]
    assert signs(others) == []
    within = ([call("search", "cats", n) for n in range(3)], {})
    assert triage.signs([user("Find it.")], [within, ([assistant("No.")], {})], {}) == [triage.LOOP]


@pytest.mark.database_free
@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("No, that's wrong.", True), ("That is not what I asked for.", True), ("You forgot the second part.", True),
        ("It still doesn't work", True), ("Try again please", True), ("Das stimmt nicht.", True),
        ("I meant Paris, TX.", True), ("Thanks, and now in French?", False), ("No problem, go on.", False), 
        ("Nobody knows.", False), ("What did I say is important?", False),
    ],
)  # fmt: skip
def test_a_user_who_corrects_is_heard_only_after_an_answer(text, fires):
    assert signs([user("Hi."), assistant("Hello!"), user(text)]) == ([triage.CORRECTED] if fires else [])
    assert signs([user(text)]) == []


@pytest.mark.database_free
def test_a_thumbs_down_counts_in_the_talk_and_in_the_metadata():
    assert signs([user("Hi."), assistant("Hello!"), user("👎")]) == [triage.DISLIKED]
    assert signs([user("Hi.")], feedback="down") == signs([user("Hi.")], thumbs=-1) == [triage.DISLIKED]
    assert signs([user("Is 👎 rude?")], feedback="up") == []


@pytest.mark.database_free
@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "As an AI language model, I cannot do this.", "I won't do that.",
     "Sorry, I am unable to open files.", "Es tut mir leid, aber ich kann dabei nicht helfen.",
     "I’m not able to say."],
)  # fmt: skip
def test_a_refusal_is_seen(text):
    assert signs([user("How?")], text, "Like this.") == [triage.REFUSED]


@pytest.mark.database_free
@pytest.mark.parametrize(
    "text", ["I can help.", "You can't do that with a spoon.", "I'm sorry to hear that. Try tea."]
)
def test_what_only_sounds_like_a_refusal_is_none(text):
    assert signs([user("How?")], text, "Like this.") == []


@pytest.mark.database_free
def test_a_response_that_breaks_off_and_a_very_long_trace():
    sentence = "The quick brown fox jumps over the lazy dog. " * 12
    assert signs([user("Go.")], sentence + "And then it", "Done.") == [triage.BROKEN]
    assert signs([user("Go.")], "```python\nprint(1)", "Done.") == [triage.BROKEN]
    assert signs([user("Go.")], sentence, "A title") == []
    cut = triage.signs([user("Go.")], [([assistant("Short")], {"finish_reason": "length"})], {})
    assert cut == [triage.BROKEN]
    assert signs([user("a"), assistant("b")] * 15) == [triage.LOOP, triage.LONG]
    assert signs([user("word " * 6001)]) == [triage.LONG]


@pytest.mark.django_db
def test_signs_are_kept_with_the_belief_and_add_up_in_the_score(project, judged, adopt):
    adopt(ranking="triage", seed=0, batch=1, explore=0, least=0)
    items = judged(6)
    talk = [user("Do it."), assistant("Done."), user("No, that's wrong."), call("run", "a", 1), tool("Error: no")]
    type(items[1]).objects.filter(pk=items[1].pk).update(prompt=talk)
    buying.look(project)
    beliefs = {belief.item_id: belief for belief in Belief.objects.all()}
    troubled = beliefs[items[1].pk]
    assert {triage.FAILED, triage.CORRECTED} <= set(troubled.signs)
    assert troubled.triage >= 2
    assert all(triage.FAILED not in beliefs[item.pk].signs for item in items if item.pk != items[1].pk)
    reason = items[1].routes.get().reason
    assert "a tool call failed; a user corrects the assistant" in reason
