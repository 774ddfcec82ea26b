"""Each format on real rows and on small written ones: how it is known, and what becomes of a row."""

import gzip
import json
from collections import Counter
from itertools import islice

import pytest

from annotate.importing.errors import ItemError, RowError
from annotate.importing.formats import FORMATS, guess_mapping
from annotate.importing.native import check
from annotate.importing.plans import items, plan_for
from annotate.importing.reading import opened


def real_rows(path, most=None):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, most)]


def item_of(name, row, asked, mapping=None):
    """A row of a format as a checked item."""
    return check(FORMATS[name].item(row, mapping or {}), asked)


def choice(item, place=0):
    return item.annotations[place].answers["preference"]["choice"]


def texts(item):
    return [response.messages[-1]["content"] for response in item.responses]


def chosen_text(item):
    return texts(item)["ab".index(choice(item))]


def test_real_files_are_known_by_their_first_rows(shared_data):
    known = {name: plan_for(shared_data / name).format.name for name in
             ("pandalm.jsonl", "alpaca_eval.jsonl.gz", "hh_harmless.jsonl.gz")}  # fmt: skip

    assert known == {
        "pandalm.jsonl": "pandalm",
        "alpaca_eval.jsonl.gz": "alpaca-eval",
        "hh_harmless.jsonl.gz": "hh",
    }


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": [{"role": "user", "content": "x"}], "responses": ["a"]}, "native"),
        ({"prompt": "x", "chosen": "a", "rejected": "b"}, "trl-preference"),
        ({"chosen": [{"role": "user", "content": "x"}], "rejected": []}, "trl-preference"),
        ({"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: x\n\nAssistant: b"}, "hh"),
        ({"question": "x", "answer_a": "a", "answer_b": "b"}, "json-columns"),
    ],
)
def test_small_files_are_known_by_their_first_rows(write, row, name):
    assert plan_for(write([row])).format.name == name


def test_one_odd_row_does_not_hide_what_a_file_is(write):
    rows = [{"prompt": "x", "chosen": "a"}, {"prompt": "x", "chosen": "a", "rejected": "b"}]

    assert plan_for(write(rows)).format.name == "trl-preference"


# --- PandaLM -----------------------------------------------------------------------------------------------------


def test_pandalm_brings_three_people_and_two_judges(shared_data, asked):
    rows = real_rows(shared_data / "pandalm.jsonl")
    items = [item_of("pandalm", row, asked) for row in rows]

    assert len(items) == 499
    raters = Counter((said.kind, said.rater) for item in items for said in item.annotations)
    assert raters == {
        ("human", "annotator1"): 499,
        ("human", "annotator2"): 499,
        ("human", "annotator3"): 499,
        ("judge", "gpt-3.5-turbo"): 499,
        ("judge", "pandalm-7b"): 499,
    }
    by_judges = Counter(
        said.answers["preference"]["choice"] for item in items for said in item.annotations if said.kind == "judge"
    )
    assert by_judges == {"a": 474, "b": 439, "tie": 70, "unparsable": 15}


def test_pandalm_keeps_ids_models_reasons_and_references(shared_data, asked):
    item = item_of("pandalm", real_rows(shared_data / "pandalm.jsonl", 1)[0], asked)

    assert (item.own_id, item.tags, item.metadata) == ("pandalm-0", ["Grammarly"], {"source": "Grammarly"})
    assert [response.model for response in item.responses] == ["bloom-7b", "llama-7b"]
    assert item.prompt[0]["content"].startswith("The sentence you are given")
    assert item.prompt[0]["content"].endswith("\n\nIf you have any questions about my rate or if you find it "
                                              "necessary to increase or decrease the scope for this project, please "
                                              "let me know.")  # fmt: skip
    assert [choice(item, place) for place in range(5)] == ["b", "b", "b", "a", "b"]
    assert item.annotations[3].reason.startswith("Response 1 is better")
    assert item.annotations[4].reference == "If you have any questions, please let me know."


def test_pandalm_takes_booleans_and_empty_texts_as_responses(shared_data, asked):
    rows = {row["id"]: row for row in real_rows(shared_data / "pandalm.jsonl")}

    assert texts(item_of("pandalm", rows["pandalm-157"], asked)) == ["true", "True."]
    assert "" in texts(item_of("pandalm", rows["pandalm-738"], asked))


@pytest.mark.parametrize(
    ("label", "expected", "metadata"),
    [
        ("1", "a", {}),
        (2, "b", {}),
        ("Tie", "tie", {}),
        ("0", "tie", {}),
        ("garbage", "unparsable", {"label": "garbage"}),
    ],
)
def test_pandalm_judges_are_read_as_they_write(asked, label, expected, metadata):
    row = {"instruction": "Say hi", "response1": "Hi", "response2": "Ho", "judges": {"gpt": {"label": label}}}
    item = item_of("pandalm", row, asked)

    assert (choice(item), item.annotations[0].kind, item.annotations[0].metadata) == (expected, "judge", metadata)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"response1": None}, "there is no response in “response1”"),
        ({"annotator1": 7}, "“annotator1” is '7': write 1, 2 or 0"),
        ({"judges": ["x"]}, "“judges” is not an object"),
        ({"instruction": " ", "input": ""}, "the prompt is empty"),
    ],
)
def test_pandalm_rows_that_cannot_be_taken(asked, change, words):
    row = {"instruction": "Say hi", "response1": "Hi", "response2": "Ho", "annotator1": 1, **change}

    with pytest.raises(ItemError, match=words.replace("(", r"\(")):
        item_of("pandalm", row, asked)


# --- AlpacaEval --------------------------------------------------------------------------------------------------


def test_alpaca_eval_has_three_items_for_an_instruction(shared_data, asked):
    items = [item_of("alpaca-eval", row, asked) for row in real_rows(shared_data / "alpaca_eval.jsonl.gz")]

    assert len({item.content_hash for item in items}) == 2415
    assert len({item.prompt_hash for item in items}) == 805
    assert {said.rater for item in items for said in item.annotations} == {"weighted_alpaca_eval_gpt4_turbo"}
    assert Counter(choice(item) for item in items)["tie"] == 3


@pytest.mark.parametrize(
    ("preference", "expected", "confidence"),
    [(1.0, "a", 1.0), (1.25, "a", 0.5), (1.5, "tie", 0.0), (1.75, "b", 0.5), (2, "b", 1.0)],
)
def test_alpaca_eval_reads_sides_and_distance_from_the_middle(asked, preference, expected, confidence):
    row = {"instruction": "Hi", "output_1": "x", "output_2": "y", "preference": preference, "annotator": "gpt4"}
    item = item_of("alpaca-eval", row, asked)

    assert (choice(item), item.annotations[0].confidence, item.annotations[0].kind) == (expected, confidence, "judge")
    assert item.metadata["preference"] == preference


def test_alpaca_eval_without_a_preference_brings_no_label(asked):
    row = {"instruction": "Hi", "output_1": "x", "output_2": "y", "preference": None}

    assert item_of("alpaca-eval", row, asked).annotations == ()


@pytest.mark.parametrize("preference", [0.5, 2.5, True, "1"])
def test_alpaca_eval_refuses_preferences_off_its_scale(asked, preference):
    with pytest.raises(ItemError, match="write a number from 1"):
        item_of(
            "alpaca-eval",
            {"instruction": "Hi", "output_1": "x", "output_2": "y", "preference": preference},
            asked,
        )


# --- HH ----------------------------------------------------------------------------------------------------------


def test_hh_real_rows_split_after_their_shared_turns(shared_data, asked):
    items = [item_of("hh", row, asked) for row in real_rows(shared_data / "hh_harmless.jsonl.gz")]

    assert len(items) == 1800
    assert {item.prompt[-1]["role"] for item in items} == {"user"}
    assert {response.messages[0]["role"] for item in items for response in item.responses} == {"assistant"}
    assert {(said.rater, said.kind, said.order) for item in items for said in item.annotations} == {
        ("hh-rlhf", "human", (0, 1))
    }


def test_hh_position_says_nothing_about_the_choice(shared_data, asked):
    items = [item_of("hh", row, asked) for row in real_rows(shared_data / "hh_harmless.jsonl.gz")]
    first = sum(choice(item) == "a" for item in items) / len(items)

    assert 0.46 < first < 0.54  # 1,800 fair draws lie there in 99.9% of cases
    assert all(item.metadata["order_drawn"] for item in items)


def test_hh_with_several_turns(asked):
    shared = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye"
    row = {"chosen": shared + "\n\nAssistant: See you!", "rejected": shared + "\n\nAssistant: Go.\n\nAssistant: Now."}
    item = item_of("hh", row, asked)

    assert item.prompt == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
    ]
    assert chosen_text(item) == "See you!"
    assert sorted(len(response.messages) for response in item.responses) == [1, 2]


def test_hh_that_differs_in_a_persons_turn_keeps_the_answer_before_it_out_of_the_prompt(asked):
    start = "\n\nHuman: Hi\n\nAssistant: Hello."
    row = {"chosen": f"{start}\n\nHuman: One\n\nAssistant: 1", "rejected": f"{start}\n\nHuman: Two\n\nAssistant: 2"}
    item = item_of("hh", row, asked)

    assert item.prompt == [{"role": "user", "content": "Hi"}]
    assert {response.messages[0]["content"] for response in item.responses} == {"Hello."}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"chosen": "\n\nHuman: x\n\nAssistant: a"}, "there is no response in “rejected”"),
        ({"chosen": "hello", "rejected": "\n\nHuman: x\n\nAssistant: a"}, "“chosen” is not a transcript"),
        (
            {"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: y\n\nAssistant: a"},
            "do not start with the same user turn",
        ),
    ],
)
def test_hh_rows_that_cannot_be_taken(asked, row, words):
    with pytest.raises(ItemError, match=words):
        item_of("hh", row, asked)


# --- TRL preference ----------------------------------------------------------------------------------------------

SAID = {"role": "user", "content": "What is 2 + 2?"}
GOOD = {"role": "assistant", "content": "4"}
WRONG = {"role": "assistant", "content": "5"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": "What is 2 + 2?", "chosen": 4, "rejected": 5},
        {"chosen": "What is 2 + 2? 4", "rejected": "What is 2 + 2? 5"},
        {"prompt": [SAID], "chosen": [GOOD], "rejected": [WRONG]},
        {"chosen": [SAID, GOOD], "rejected": [SAID, WRONG]},
        {"prompt": "What is 2 + 2?", "chosen": [SAID, GOOD], "rejected": [SAID, WRONG]},
        {"prompt": "\n\nHuman: What is 2 + 2?\n\nAssistant:", "chosen": "4", "rejected": "5"},
    ],
)
def test_trl_rows_of_every_form_are_the_same_item(asked, row):
    item = item_of("trl-preference", row, asked)

    assert item.prompt == [SAID]
    assert sorted(texts(item)) == ["4", "5"]
    assert chosen_text(item) == "4"
    assert (item.annotations[0].rater, item.annotations[0].kind) == ("chosen in file", "human")


def test_trl_forms_of_one_pair_share_their_content(asked):
    one = item_of("trl-preference", {"prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"}, asked)
    other = item_of("trl-preference", {"chosen": [SAID, GOOD], "rejected": [SAID, WRONG]}, asked)
    turned = item_of("trl-preference", {"prompt": "What is 2 + 2?", "chosen": "5", "rejected": "4"}, asked)

    assert one.content_hash == other.content_hash == turned.content_hash
    assert choice(one) != choice(turned)


def test_texts_are_cut_at_a_words_edge(asked):
    row = {"chosen": "Say hello: heron", "rejected": "Say hello: hero is what I am"}
    item = item_of("trl-preference", row, asked)

    assert item.prompt[0]["content"] == "Say hello:"
    assert sorted(texts(item)) == ["hero is what I am", "heron"]


def test_texts_where_one_goes_on_with_a_space_lose_nothing(asked):
    item = item_of("trl-preference", {"chosen": "Say: a b c", "rejected": "Say: a bc"}, asked)

    assert item.prompt[0]["content"] == "Say: a"
    assert sorted(texts(item)) == ["b c", "bc"]


def test_trl_rows_keep_what_else_they_say(asked):
    row = {
        "id": 7,
        "prompt": "x",
        "chosen": "a",
        "rejected": "b",
        "tags": ["t"],
        "score_chosen": 8.5,
        "probability": 0.75,
        "source": "judge",
        "chosen_model": "m-1",
    }
    item = item_of("trl-preference", row, asked)

    assert (item.own_id, item.tags) == ("7", ["t"])
    assert item.metadata == {"score_chosen": 8.5, "source": "judge", "order_drawn": True}
    assert (item.annotations[0].kind, item.annotations[0].confidence) == ("judge", 0.75)
    assert item.responses["ab".index(choice(item))].model == "m-1"


def test_two_answers_of_the_same_words_are_a_tie(asked):
    assert choice(item_of("trl-preference", {"prompt": "x", "chosen": "a", "rejected": "a"}, asked)) == "tie"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "x", "chosen": "a"}, "there is no response in “rejected”"),
        ({"prompt": "x", "chosen": [], "rejected": "b"}, "there is no response in “chosen”"),
        ({"prompt": "x", "chosen": "a", "rejected": [GOOD]}, "not of one kind"),
        ({"chosen": "yes", "rejected": "no"}, "do not start with the same words"),
        ({"chosen": [GOOD], "rejected": [WRONG]}, "do not start with the same user turn"),
        ({"chosen": [SAID], "rejected": [SAID, WRONG]}, "do not start with the same user turn"),
    ],
)
def test_trl_rows_that_cannot_be_taken(asked, row, words):
    with pytest.raises(ItemError, match=words):
        item_of("trl-preference", row, asked)


# --- Named columns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        (
            ["Question", "Answer 1", "Answer 2", "Winner"],
            {"Question": "prompt", "Answer 1": "response_a", "Answer 2": "response_b", "Winner": "choice"},
        ),
        (
            ["id", "prompt", "response_a", "response_b", "model_a", "model_b", "tags", "note"],
            {
                "id": "id",
                "prompt": "prompt",
                "response_a": "response_a",
                "response_b": "response_b",
                "model_a": "model_a",
                "model_b": "model_b",
                "tags": "tags",
                "note": "metadata",
            },
        ),
        (
            ["instruction", "chosen", "rejected", "category"],
            {"instruction": "prompt", "chosen": "chosen", "rejected": "rejected", "category": "tags"},
        ),
        (
            ["instruction", "input", "output1", "output2"],
            {"instruction": "prompt", "input": "input", "output1": "response_a", "output2": "response_b"},
        ),
    ],
)
def test_columns_are_guessed_from_their_names(columns, mapping):
    assert guess_mapping(columns) == mapping


def csv_item(write, asked, text, **mapping):
    """The first row of a CSV file as an item; mapping is field=column."""
    plan = plan_for(write(text, "items.csv"), mapping={column: field for field, column in mapping.items()})
    with opened(plan.path) as file:
        found = next(iter(items(plan, file, "preference")))
    if isinstance(found, RowError):
        raise found
    return check(found[1], asked)


def test_a_csv_row_becomes_an_item_with_a_label(write, asked):
    text = "id;question;answer a;answer b;model a;model b;winner;annotator;why;topic\n"
    text += '7;"Two, or three?";2;3;m-1;m-2;m-2;mira;It counts.;maths, easy\n'
    item = csv_item(write, asked, text, reason="why")

    assert (item.own_id, item.tags, texts(item)) == ("7", ["maths", "easy"], ["2", "3"])
    assert [response.model for response in item.responses] == ["m-1", "m-2"]
    said = item.annotations[0]
    assert (said.rater, said.kind, said.reason, choice(item)) == ("mira", "human", "It counts.", "b")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("a", "a"), ("B", "b"), ("1", "a"), ("2", "b"), ("0", "tie"), ("Tie", "tie"), ("Response B", "b"),
     ("model_a", "a"), ("both bad", "both_bad"), ("tie (bothbad)", "both_bad")],
)  # fmt: skip
def test_choices_are_read_as_people_write_them(write, asked, cell, expected):
    assert choice(csv_item(write, asked, f"prompt,a,b,choice\nHi,x,y,{cell}\n")) == expected


def test_a_blank_choice_is_no_label_and_a_strange_one_an_error(write, asked):
    assert csv_item(write, asked, "prompt,a,b,choice\nHi,x,y,\n").annotations == ()
    with pytest.raises(RowError, match=r"Row 2: the choice is 'third': write a, b, tie"):
        csv_item(write, asked, "prompt,a,b,choice\nHi,x,y,third\n")


def test_chosen_and_rejected_columns_are_stored_in_a_drawn_order(write, asked):
    item = csv_item(write, asked, "prompt,chosen,rejected\nHi,hello,go\n")

    assert chosen_text(item) == "hello"
    assert item.metadata == {"order_drawn": True}


def test_what_belongs_below_the_prompt_is_put_there(write, asked):
    item = csv_item(write, asked, "instruction,input,output 1,output 2\nShorten:,A long text.,x,y\n")

    assert item.prompt == [{"role": "user", "content": "Shorten:\n\nA long text."}]


def test_columns_that_say_nothing_are_kept_and_those_left_out_are_not(write, asked):
    text = "prompt,a,b,note,secret\nHi,x,y,keep,drop\n"
    plan = plan_for(write(text, "items.csv"), mapping={"secret": ""})

    assert FORMATS["csv"].item({"prompt": "Hi", "a": "x", "b": "y", "note": "keep", "secret": "drop"}, plan.mapping)[
        "metadata"
    ] == {"note": "keep"}


def test_a_field_that_is_given_a_column_loses_the_guessed_one(write):
    plan = plan_for(write("prompt,question,a,b\n1,2,3,4\n", "items.csv"), mapping={"question": "prompt"})

    assert plan.mapping == {"prompt": "metadata", "question": "prompt", "a": "response_a", "b": "response_b"}


@pytest.mark.parametrize(
    ("header", "mapping", "words"),
    [
        ("x,y,z,w", {}, "no column holds a response (the columns are x, y, z, w): say which one does."),
        ("x,a,b,c", {}, "no column holds the prompt (the columns are x, a, b, c): say which one does."),
        ("prompt,a,b,c", {"d": "id"}, "there is no column “d”: the columns are prompt, a, b, c."),
        ("prompt,a,b,c", {"a": "answer"}, "“answer” is nothing that an item has"),
        ("prompt,a,b,c", {"b": "id", "c": "id"}, "two columns are to be the id: choose one of them."),
    ],
)
def test_a_wrong_header_is_one_sentence_on_row_1(write, header, mapping, words):
    with pytest.raises(RowError) as refused:
        plan_for(write(f"{header}\n1,2,3,4\n", "items.csv"), mapping=mapping)

    assert refused.value.row == 1
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("row", "words"),
    [("Hi,,y", "there is no response a: fill its cell"), (",x,y", "the prompt is empty: fill its cell")],
)
def test_blank_cells_are_named(write, asked, row, words):
    with pytest.raises(RowError, match=words):
        csv_item(write, asked, f"prompt,a,b\n{row}\n")
