"""Chat messages as other tools write them become one text that says all that they said."""

import pytest

from annotate.importing.errors import ItemError
from annotate.importing.native import messages_of
from annotate.rendering import to_html

pytestmark = pytest.mark.database_free

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Tromsø"}'}}


def said(message) -> str:
    (made,) = messages_of([message], "prompt")
    assert set(made) == {"role", "content"}
    return made["content"]


def test_parts_of_text_are_paragraphs():
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert said({"role": "user", "content": parts}) == "One.\n\nTwo."


def test_a_call_of_a_tool_is_shown_with_its_arguments():
    text = said({"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert text == 'Calls `weather` (call_1):\n\n```json\n{\n  "city": "Tromsø"\n}\n```'
    assert '<div class="code">' in to_html(text)


def test_words_and_calls_stand_together_and_what_is_no_json_stays():
    call = {"name": "search", "arguments": "all {of it"}
    text = said({"role": "assistant", "content": "Let me look.", "function_call": call})
    assert text == "Let me look.\n\nCalls `search`:\n\n```json\nall {of it\n```"


def test_a_result_says_whose_it_is():
    message = {"role": "tool", "name": "weather", "tool_call_id": "call_1", "content": "3 °C"}
    assert said(message) == "Result of `weather` (call_1):\n\n3 °C"
    assert said({"role": "tool", "content": "3 °C"}) == "3 °C"


def test_a_plain_message_stays_as_it_is():
    assert said({"role": "user", "content": "  as is \n", "tool_calls": [], "name": None}) == "  as is \n"
    assert said({"role": "assistant", "content": ""}) == ""


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "has an image"),
        ({"role": "user", "content": [{"type": "audio"}]}, "is not text"),
        ({"role": "user", "content": {"text": "x"}}, "is not text"),
        ({"role": "user", "content": None}, "is not text"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "names no tool"),
        ({"role": "assistant", "tool_calls": "weather"}, "not a list of calls"),
        ({"role": "user", "content": "x", "mood": "good"}, "do not keep"),
        ({"role": "user", "content": "x", "name": "Ann"}, "do not keep"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "do not keep"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_remedy(message, problem):
    with pytest.raises(ItemError, match=problem):
        messages_of([message], "prompt")
