"""The native row: what it becomes, what is refused and with which words, and that nothing is lost on the way."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.importing.errors import ItemError
from annotate.importing.native import check
from pipeline.ml.splits import prompt_key

ROW = {
    "id": "mail-1",
    "tags": ["email"],
    "metadata": {"source": "by hand"},
    "prompt": [{"role": "user", "content": "Write a short apology."}],
    "responses": [
        {"model": "m-1", "messages": [{"role": "assistant", "content": "I am sorry."}]},
        {"model": "m-2", "messages": [{"role": "assistant", "content": "Sorry about that, truly."}]},
    ],
    "annotations": [
        {
            "rater": "ann-2",
            "kind": "human",
            "order": [1, 0],
            "answers": {"preference": {"choice": "a", "strength": 2}, "helpful": [4, 2]},
            "reason": "Shorter.",
            "seconds": 41.0,
        },
        {
            "rater": "gpt-4",
            "kind": "judge",
            "order": [0, 1],
            "answers": {"preference": {"choice": "b"}},
            "confidence": 0.93,
            "reference": "My apologies.",
        },
        {"rater": "gpt-4", "kind": "judge", "order": [1, 0], "answers": {"preference": {"choice": "unparsable"}}},
    ],
}


def without(row, *path):
    """A deep copy of a row without one of its entries."""
    key, *rest = path
    if isinstance(row, list):
        copied = list(row)
        copied[key] = without(row[key], *rest)
        return copied
    if not rest:
        return {name: value for name, value in row.items() if name != key}
    return {**row, key: without(row[key], *rest)}


def changed(row, value, *path):
    key, *rest = path
    copied = list(row) if isinstance(row, list) else dict(row)
    copied[key] = changed(row[key], value, *rest) if rest else value
    return copied


def test_a_row_keeps_every_field(asked):
    item = check(ROW, asked)

    assert (item.own_id, item.external_id, item.tags, item.metadata) == (
        "mail-1",
        "mail-1",
        ["email"],
        {"source": "by hand"},
    )
    assert item.prompt == ROW["prompt"]
    assert [(response.model, response.messages, response.words) for response in item.responses] == [
        ("m-1", [{"role": "assistant", "content": "I am sorry."}], 3),
        ("m-2", [{"role": "assistant", "content": "Sorry about that, truly."}], 4),
    ]
    human, judge, unparsable = item.annotations
    assert (human.rater, human.kind, human.order, human.reason, human.seconds) == (
        "ann-2",
        "human",
        (1, 0),
        "Shorter.",
        41.0,
    )
    assert human.answers == {"preference": {"choice": "a", "strength": 2}, "helpful": [4, 2]}
    assert (judge.confidence, judge.reference) == (0.93, "My apologies.")
    assert unparsable.answers == {"preference": {"choice": "unparsable"}}


def test_what_the_raw_export_adds_comes_back(asked):
    first = {"rater": "mira", "id": "7", "answers": {"preference": {"choice": "a"}}, "guideline_version": 3}
    second = {
        "rater": "mira",
        "id": "9",
        "replaces": "7",
        "answers": {"preference": {"choice": "b"}},
        "rubric_version": 2,
        "submitted_at": "2025-01-31T09:30:00+00:00",
        "counted": False,
    }
    old, new = check({**ROW, "annotations": [first, second]}, asked).annotations

    assert (old.revision, old.guideline_version, old.rubric_version, old.counted) == (0, 3, 1, True)
    assert (new.revision, new.rubric_version, new.counted) == (1, 2, False)
    assert new.submitted_at == datetime(2025, 1, 31, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(("value", "text"), [("Yes.", "Yes."), (True, "true"), (3.5, "3.5"), (12, "12"), ("", "")])
def test_a_bare_response_is_text_as_it_stands_in_the_file(asked, value, text):
    item = check({"prompt": "Is it?", "responses": [value]}, asked)

    assert item.prompt == [{"role": "user", "content": "Is it?"}]
    assert item.responses[0].messages == [{"role": "assistant", "content": text}]


def test_an_item_without_an_id_is_called_by_its_content(asked):
    one = check({"prompt": "Hi", "responses": ["a", "b"]}, asked)
    again = check({"prompt": "Hi", "responses": ["a", "b"], "tags": ["x"]}, asked)
    swapped = check({"prompt": "Hi", "responses": ["b", "a"]}, asked)
    other_model = check({"prompt": "Hi", "responses": [{"model": "m", "messages": "a"}, "b"]}, asked)

    assert one.external_id == one.content_hash[:32]
    assert one.content_hash == again.content_hash
    assert len({one.content_hash, swapped.content_hash, other_model.content_hash}) == 3
    assert one.prompt_hash == swapped.prompt_hash


def test_the_prompt_hash_is_the_one_that_decides_splits(asked):
    prompt = [{"role": "system", "content": "Sei kurz."}, {"role": "user", "content": "Grüß mich ☺"}]

    assert check({"prompt": prompt, "responses": ["Hallo"]}, asked).prompt_hash == prompt_key(prompt)


def test_the_title_is_the_start_of_the_last_user_turn(asked):
    prompt = [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Second\n\n  and " + "x" * 200},
    ]
    title = check({"prompt": prompt, "responses": ["."]}, asked).title

    assert title.startswith("Second and xxx")
    assert len(title) == 140
    assert title.endswith("…")


REFUSED = [
    (without(ROW, "responses"), "there is no response"),
    (changed(ROW, [], "responses"), "there is no response"),
    (changed(ROW, None, "responses", 1), "response 2 is missing"),
    (without(ROW, "responses", 0, "messages"), "“response 1” is missing or not a list of messages"),
    (changed(ROW, ["x"] * 27, "responses"), "there are 27 responses: an item takes 26 at most"),
    (without(ROW, "prompt"), "“prompt” is missing or not a list of messages"),
    (changed(ROW, "   ", "prompt"), "the prompt is empty"),
    (changed(ROW, [{"role": "user"}], "prompt"), "the “content” of a message of “prompt” is not text"),
    (changed(ROW, [{"role": "boss", "content": "x"}], "prompt"), "has the role 'boss': use one of system, user"),
    (changed(ROW, [{"role": "user", "content": "x", "name": "y"}], "prompt"), "“name”, which messages"),
    ({**ROW, "promt": 1}, "there is a field “promt”, which items do not have"),
    (changed(ROW, "x" * 201, "id"), "“id” has 201 characters: shorten it to 200"),
    (changed(ROW, {"a": 1}, "id"), "“id” is neither text nor a number"),
    (changed(ROW, "email", "tags"), "“tags” is not a list"),
    (changed(ROW, ["x"], "metadata"), "“metadata” is not a JSON object"),
    (changed(ROW, 7, "responses", 0, "model"), "“model” is not a name"),
    (changed(ROW, "N\0UL", "prompt"), "“prompt” holds a NUL character, which databases cannot store: remove it."),
    (changed(ROW, {"x\0": 1}, "metadata"), "“metadata” holds a NUL character"),
    (changed(ROW, "half \ud83d", "responses", 0), "“responses” holds half of a character"),
    (changed(ROW, {"x": float("inf")}, "metadata"), "“metadata” holds a number that is not finite"),
    (without(ROW, "annotations", 0, "rater"), "an annotation has no rater"),
    (changed(ROW, "robot", "annotations", 0, "kind"), "an annotation's kind is 'robot': use human or judge"),
    (changed(ROW, [0, 0], "annotations", 0, "order"), "an annotation's “order” is [0, 0]: list each of 0, 1 once"),
    (changed(ROW, {}, "annotations", 0, "answers"), "an annotation has no “answers”"),
    (changed(ROW, {"kind": [1, 2]}, "annotations", 0, "answers"), "the project asks no question “kind”"),
    (changed(ROW, {"choice": "c"}, "annotations", 0, "answers", "preference"), "choose one of a, b, tie"),
    (changed(ROW, 4, "annotations", 0, "answers", "preference", "strength"), "the strength is 4"),
    (changed(ROW, [4], "annotations", 0, "answers", "helpful"), "one entry for each of the 2 answers"),
    (changed(ROW, 1.5, "annotations", 0, "confidence"), "“confidence” is 1.5: write a number from 0 to 1"),
    (changed(ROW, -1, "annotations", 0, "seconds"), "“seconds” is -1: write a number of 0 or more"),
    (changed(ROW, 10**400, "annotations", 0, "seconds"), "write a number of 0 or more"),
    (changed(ROW, "yes", "annotations", 0, "counted"), "“counted” is 'yes': write true or false"),
    (changed(ROW, 0, "annotations", 0, "rubric_version"), "“rubric_version” is 0"),
    (changed(ROW, "2025-01-31T09:30:00", "annotations", 0, "submitted_at"), "write it as 2025-01-31T09:30:00+00:00"),
    (changed(ROW, "77", "annotations", 0, "replaces"), "replaces '77', which does not stand before it"),
    (changed(ROW, [ROW["annotations"][1]] * 2, "annotations"), "gpt-4 answers twice in one order"),
    (["not", "an", "object"], "the row is not a JSON object"),
]


@pytest.mark.parametrize(("row", "words"), REFUSED)
def test_what_cannot_be_an_item_is_refused_in_one_sentence(asked, row, words):
    with pytest.raises(ItemError) as refused:
        check(row, asked)

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nesting_beyond_what_databases_hold_is_refused(asked):
    deep = {"x": 1}
    for _ in range(40):
        deep = {"x": deep}

    with pytest.raises(ItemError, match="“metadata” nests deeper than 32 levels"):
        check({**ROW, "metadata": deep}, asked)


# --- Nothing is lost: any row that is taken can be written again from what was taken, and is the same ------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = texts.filter(lambda text: text.strip() == text and text)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": texts}),
    min_size=1,
    max_size=3,
)
prompts = messages.filter(lambda turns: any(turn["content"].strip() for turn in turns))
answers = st.one_of(
    st.sampled_from(["a", "b"]).flatmap(
        lambda choice: st.integers(1, 3).map(lambda n: {"choice": choice, "strength": n})
    ),
    st.sampled_from(["a", "tie", "both_bad", "unsure", "unparsable"]).map(lambda choice: {"choice": choice}),
)
annotations = st.fixed_dictionaries(
    {
        "rater": names,
        "kind": st.sampled_from(["human", "judge"]),
        "order": st.sampled_from([[0, 1], [1, 0]]),
        "answers": st.fixed_dictionaries({"preference": answers}, optional={"helpful": st.just([1, 5])}),
        "reason": texts,
        "reference": texts,
        "confidence": st.none() | st.floats(0, 1),
        "seconds": st.none() | st.floats(0, 1e6),
        "counted": st.booleans(),
        "guideline_version": st.integers(1, 9),
    }
)
responses = st.fixed_dictionaries({"model": texts, "messages": messages})
rows = st.fixed_dictionaries(
    {
        "id": names,
        "tags": st.lists(names, unique=True, max_size=3),
        "metadata": st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts)),
        "prompt": prompts,
        "responses": st.lists(responses, min_size=2, max_size=2),
        "annotations": st.lists(
            annotations, max_size=3, unique_by=lambda one: (one["rater"], one["kind"], tuple(one["order"]))
        ),
    }
)


def written(item):
    """A checked item as a native row again."""
    return {
        "id": item.own_id,
        "tags": item.tags,
        "metadata": item.metadata,
        "prompt": item.prompt,
        "responses": [{"model": response.model, "messages": response.messages} for response in item.responses],
        "annotations": [
            {
                "rater": said.rater,
                "kind": said.kind,
                "order": list(said.order),
                "answers": said.answers,
                "reason": said.reason,
                "reference": said.reference,
                "confidence": said.confidence,
                "seconds": said.seconds,
                "counted": said.counted,
                "guideline_version": said.guideline_version,
            }
            for said in item.annotations
        ],
    }


@settings(max_examples=150, deadline=None)
@given(row=rows)
def test_any_native_row_survives_the_round_trip(row):
    from types import SimpleNamespace

    asked = {
        "preference": SimpleNamespace(kind="preference", title="Which?", required=True, config={"points": 7}),
        "helpful": SimpleNamespace(kind="rating", title="Helpful", required=True, config={"min": 1, "max": 5}),
    }
    item = check(row, asked)

    assert written(item) == row
    assert check(written(item), asked) == item
