"""Files of pairs in every form that TRL knows, HH transcripts, and one clear sentence for what cannot be used."""

import gzip
import json

import pytest

from pipeline.ml.data import (
    Pair,
    encode_conversation,
    encode_prompt,
    length_batches,
    pair_of,
    read_pairs,
    read_prompts,
)
from pipeline.ml.models import load_tokenizer
from pipeline.ml.records import StageError
from tests.ml.conftest import write_rows


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_a_conversational_row_keeps_all_it_tells():
    row = {
        "prompt": [user("Hi")],
        "chosen": [assistant("Hello!")],
        "rejected": [assistant("No.")],
        "probability": 0.8,
        "item": "7",
        "tags": ["greeting"],
        "source": "human",
        "chosen_first": False,
    }
    assert pair_of(row) == Pair(
        [user("Hi")], [assistant("Hello!")], [assistant("No.")], 0.8, "7", ("greeting",), "human", False
    )


def test_plain_text_becomes_messages():
    pair = pair_of({"prompt": "Hi", "chosen": "Hello!", "rejected": "No."})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([user("Hi")], [assistant("Hello!")], [assistant("No.")])
    assert (pair.probability, pair.chosen_first) == (1.0, None)


def test_what_both_texts_share_is_the_prompt_up_to_a_words_edge():
    pair = pair_of({"chosen": "The sky is blue.", "rejected": "The sky is black."})
    assert (pair.prompt, pair.chosen, pair.rejected) == (
        [user("The sky is")],
        [assistant("blue.")],
        [assistant("black.")],
    )


def test_texts_that_share_nothing_have_an_empty_prompt():
    pair = pair_of({"chosen": "Yes", "rejected": "No"})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([], [assistant("Yes")], [assistant("No")])


@pytest.mark.parametrize("prompt", ["", []])
def test_answers_may_stand_alone(prompt):
    pair = pair_of({"prompt": prompt, "chosen": [assistant("Yes")], "rejected": [assistant("No")]})
    assert (pair.prompt, pair.chosen) == ([], [assistant("Yes")])


def test_a_prompt_to_be_answered_may_not_be_empty(tmp_path):
    path = write_rows(tmp_path / "prompts.jsonl", [{"prompt": "Hi"}, {"prompt": []}])
    with pytest.raises(StageError, match="prompts.jsonl, row 2: “prompt” must be text or a list of messages"):
        read_prompts(path)


def test_conversations_without_a_prompt_part_after_their_common_start():
    start = [user("Hi"), assistant("Hello"), user("How are you?")]
    pair = pair_of({"chosen": [*start, assistant("Fine.")], "rejected": [*start, assistant("Bad.")]})
    assert (pair.prompt, pair.chosen, pair.rejected) == (start, [assistant("Fine.")], [assistant("Bad.")])


def test_equal_answers_still_leave_one_message_on_each_side():
    both = [user("Hi"), assistant("Hello")]
    pair = pair_of({"chosen": both, "rejected": both})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([user("Hi")], [assistant("Hello")], [assistant("Hello")])


def test_hh_transcripts_become_turns():
    start = "\n\nHuman: Hi\nthere\n\nAssistant: Hello.\n\nHuman: Tell me: why?\n\nAssistant:"
    pair = pair_of({"chosen": start + " Because.", "rejected": start + " No idea."})
    assert pair.prompt == [user("Hi\nthere"), assistant("Hello."), user("Tell me: why?")]
    assert (pair.chosen, pair.rejected) == ([assistant("Because.")], [assistant("No idea.")])


def test_a_transcript_that_waits_for_an_answer_ends_with_the_human(tmp_path):
    path = write_rows(tmp_path / "prompts.jsonl", [{"prompt": "\n\nHuman: Hi\n\nAssistant:"}])
    assert read_prompts(path)[0].messages == [user("Hi")]


def test_an_empty_answer_in_a_transcript_is_an_answer():
    """Some real rows prefer no answer at all."""
    pair = pair_of({"chosen": "\n\nHuman: Hi\n\nAssistant:", "rejected": "\n\nHuman: Hi\n\nAssistant: Grr."})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([user("Hi")], [assistant("")], [assistant("Grr.")])


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "Hi", "chosen": "a"}, "“rejected” is missing or empty"),
        ({"prompt": "Hi", "chosen": "", "rejected": "b"}, "“chosen” is missing or empty"),
        ({"prompt": "Hi", "chosen": "a", "rejected": [assistant("b")]}, "must both be texts or both be lists"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "“prompt” must be text or a list of messages"),
        ({"prompt": "Hi", "chosen": ["a"], "rejected": ["b"]}, "each message of “chosen” must be an object"),
        ({"prompt": [{"role": "user", "content": 3}], "chosen": "a", "rejected": "b"}, "must be text"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "probability": 0.2}, "“probability” must be a number from"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "chosen_first": "yes"}, "true, false or null"),
        ([1, 2], "a row must be a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_number(tmp_path, row, sentence):
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    path = write_rows(tmp_path / "pairs.jsonl", [good, row])
    with pytest.raises(StageError, match=sentence) as refusal:
        read_pairs(path)
    assert str(refusal.value).startswith("pairs.jsonl, row 2: ")


def test_broken_json_is_named_with_its_row(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"chosen": "a", "rejected": "b"}\n\n{"chosen": \n')
    with pytest.raises(StageError, match="pairs.jsonl, row 3: not valid JSON"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_a_truncated_gzip_is_one_clear_sentence(tmp_path):
    rows = "".join(json.dumps({"chosen": f"a{n} {n * n}", "rejected": f"b{n}"}) + "\n" for n in range(2000))
    whole = gzip.compress(rows.encode())
    (tmp_path / "pairs.jsonl.gz").write_bytes(whole)
    assert len(read_pairs(tmp_path / "pairs.jsonl.gz")) == 2000

    (tmp_path / "pairs.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StageError, match=r"pairs.jsonl.gz, after row \d+: the gzip file is damaged"):
        read_pairs(tmp_path / "pairs.jsonl.gz")


def test_a_file_that_is_not_text_is_one_clear_sentence(tmp_path):
    (tmp_path / "pairs.jsonl").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(StageError, match="the text is not UTF-8"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n")
    with pytest.raises(StageError, match="holds no preference pairs"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_prompts_are_read_with_their_ids(tmp_path):
    path = write_rows(tmp_path / "prompts.jsonl", [{"id": "a", "prompt": [user("Hi")]}, {"prompt": "Ho"}])
    assert [(item.id, item.messages) for item in read_prompts(path)] == [("a", [user("Hi")]), ("2", [user("Ho")])]


def test_a_long_conversation_loses_its_beginning_and_keeps_its_end(tiny_model_folder):
    tokenizer = load_tokenizer(tiny_model_folder)
    messages = [user("x" * 100), assistant("the answer")]
    whole = encode_conversation(tokenizer, messages, 1000)
    short = encode_conversation(tokenizer, messages, 30)

    assert (whole.shortened, short.shortened) == (False, True)
    assert short.ids == whole.ids[-30:]
    assert tokenizer.decode(short.ids).endswith("<|start|>assistant\nthe answer<|end|>\n")


def test_a_prompt_ends_where_the_assistant_begins(tiny_model_folder):
    tokenizer = load_tokenizer(tiny_model_folder)
    ids = encode_prompt(tokenizer, [user("Hi")], 100).ids
    assert tokenizer.decode(ids) == "<|start|>user\nHi<|end|>\n<|start|>assistant\n"


def test_batches_hold_texts_of_like_length_longest_first():
    assert length_batches([3, 9, 1, 8, 2], 2) == [[1, 3], [0, 4], [2]]


def test_a_shared_start_that_ends_inside_a_word_takes_no_letter_of_either_answer():
    pair = pair_of({"chosen": "Say: a b c", "rejected": "Say: a bc"})
    assert (pair.chosen, pair.rejected) == ([assistant("b c")], [assistant("bc")])


def test_every_real_transcript_is_read(shared_data):
    pairs = read_pairs(shared_data / "hh_harmless.jsonl.gz")
    assert len(pairs) == 1800
    assert all(side[-1]["role"] == "assistant" for pair in pairs for side in (pair.chosen, pair.rejected))
    assert all(pair.prompt[-1]["role"] == "user" for pair in pairs)
    assert all(turn["content"].count("\n\nAssistant:") == 0 for pair in pairs for turn in pair.prompt)
