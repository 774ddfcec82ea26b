"""Prompts that somebody pasted."""

import pytest

from annotate.importing import RowError, prompts_from_text


def words(text):
    return [prompt["prompt"][-1]["content"] for prompt in prompts_from_text(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One?\nTwo?\n", ["One?", "Two?"]),
        ("One?\r\nTwo?", ["One?", "Two?"]),
        ("One,\nstill one?\n\n  \nTwo?", ["One,\nstill one?", "Two?"]),
        ("One?\nOne?\nTwo?", ["One?", "Two?"]),
        ('{"prompt": "One?"}\n\n{"prompt": [{"role": "user", "content": "Two?"}]}', ["One?", "Two?"]),
        ("   \n", []),
    ],
)
def test_prompts_are_lines_blocks_or_json(text, expected):
    assert words(text) == expected


def test_a_prompt_is_called_by_its_words_unless_it_has_an_id():
    plain, named = prompts_from_text("One?")[0], prompts_from_text('{"id": 4, "prompt": "One?", "tags": ["x"]}')[0]

    assert plain["id"].startswith("prompt-")
    assert plain["tags"] == []
    assert named == {"id": "4", "prompt": [{"role": "user", "content": "One?"}], "tags": ["x"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "x"}\n{"prompt": 1', "Row 2: this is not valid JSON"),
        ('{"prompt": ""}', "Row 1: the prompt is empty"),
        ('{"prompt": "x", "answer": "y"}', "Row 1: there is a field “answer”, which prompts do not have"),
        ('{"id": 1, "prompt": "x"}\n{"id": 1, "prompt": "y"}', "Row 2: the id “1” is used above for another prompt"),
        ("One?\nN\0UL?", "Row 2: “prompt” holds a NUL character"),
    ],
)
def test_what_cannot_be_a_prompt_is_one_sentence_with_its_place(text, message):
    with pytest.raises(RowError) as refused:
        prompts_from_text(text)

    assert str(refused.value).startswith(message)
