"""Each kind of question: its settings, its answers, when it is asked, and one sentence for what does not fit."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import questions
from annotate.questions import AnswerError, QuestionError, Subject
from annotate.questions.ranking import dense
from annotate.questions.step import SPLITS, steps_of

pytestmark = pytest.mark.database_free
TEXTS = ("One. Two.\n\nThree.", "Nur eins.")


@dataclass
class Asked:
    name: str
    kind: str
    config: dict = field(default_factory=dict)
    title: str = "Q"
    required: bool = True

    def __post_init__(self):
        self.config = questions.check_config(self.kind, self.config)


def passage(response, start, end, tag, **said):
    return {"response": response, "start": start, "end": end, **said, "tag": tag}


def said(text, *reasons):
    return {"text": text, "reasons": list(reasons)}


def answered(kind, config, answer, responses=2, texts=TEXTS, **fields):
    return questions.check_answer(Asked("q", kind, config, **fields), answer, Subject(responses, texts))


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("order", {}, "'order' is not a kind"),
        ("rating", {"maximum": 5}, "no setting 'maximum'"),
        ("preference", {"points": 10}, "points is 10"),
        ("critique", {"min_characters": -1}, "min_characters is -1"),
        ("critique", {"reasons": ["wrong", "wrong"]}, "reasons has a text twice"),
        ("critique", {"reasons": "wrong"}, "reasons is 'wrong': give a list"),
        ("choice", {"options": ["one"]}, "list of 2 to 40 options"),
        ("choice", {"options": ["a", "a"]}, "same value"),
        ("choice", {"options": [{"value": "a", "key": "x"}, {"value": "b", "key": "X"}]}, "same key"),
        ("choice", {"options": ["a", {"value": "b c"}]}, "'b c' cannot be used"),
        ("choice", {"options": ["a", {"value": "b", "key": "Enter"}]}, "cannot be pressed"),
        ("step", {"split": "word"}, "split is 'word': use one of paragraph, line, sentence"),
        ("span", {}, "tags is empty"),
        ("span", {"tags": ["a]"]}, "bracket"),
        ("rating", {"when": {"question": "x"}}, "when is"),
        ("rating", {"when": {"question": "x", "is": []}}, "names no values"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_the_remedy(kind, config, message):
    with pytest.raises(QuestionError, match=message):
        questions.check_config(kind, config)


@pytest.mark.parametrize("kind", questions.KINDS)
def test_whole_settings_are_whole_when_checked_again(kind):
    least = {"choice": {"options": ["yes", "no"]}, "span": {"tags": ["evidence"]}}.get(kind, {})
    whole = questions.check_config(kind, {**least, "when": {"question": "x", "is": ["a", "a"]}})
    assert whole["when"] == {"question": "x", "is": ["a"]}
    assert questions.check_config(kind, whole) == whole


@pytest.mark.parametrize(
    ("kind", "config", "given", "kept"),
    [
        ("ranking", {}, [4, 2, 4], [2, 1, 2]),
        ("critique", {"reasons": ["x", "y"]}, said(" so ", "y", "x"), said("so", "x", "y")),
        ("critique", {"each": True}, [{"text": "so"}, {"text": "la"}], [said("so"), said("la")]),
        ("choice", {"options": ["a", "b", "c"], "multiple": True}, ["c", "a", "c"], ["a", "c"]),
        ("step", {"split": "sentence"}, [["good", "bad", None], ["neutral"]], [["good", "bad", None], ["neutral"]]),
        (
            "span",
            {"tags": ["e"]},
            [passage(1, 0, 3, "e"), passage(0, 5, 9, "e", text="Two.")],
            [passage(0, 5, 9, "e", text="Two."), passage(1, 0, 3, "e", text="Nur")],
        ),
    ],
)  # fmt: skip
def test_an_answer_is_made_uniform(kind, config, given, kept):
    responses = 4 if kind == "ranking" else 2
    given = [*given, 4] if kind == "ranking" else given
    kept = [*kept, 2] if kind == "ranking" else kept
    assert answered(kind, config, given, responses) == kept


@pytest.mark.parametrize(
    ("kind", "config", "given", "message"),
    [
        ("ranking", {}, [1, 3], "3 is not a rank from 1 to 2"),
        ("ranking", {}, [1], "one entry for each of the 2"),
        ("ranking", {"ties": False}, [1, 1], "no ties"),
        ("ranking", {}, [True, 2], "True is not a rank"),
        ("critique", {"min_characters": 40}, {"text": "short"}, "has 5 of at least 40 characters"),
        ("critique", {}, {"text": "x", "reasons": ["ugly"]}, "pick reasons from –"),
        ("critique", {}, {"text": "  "}, "still needs an answer"),
        ("critique", {"each": True}, [{"text": "x"}, None], "critique of each answer"),
        ("choice", {"options": ["a", "b"]}, ["a", "b"], "takes one choice, not 2"),
        ("choice", {"options": ["a", "b"]}, "a", "list of values from a, b"),
        ("choice", {"options": ["a", "b"]}, ["c"], "list of values from a, b"),
        ("step", {}, [["good"], ["good"]], "1 marks for 2 steps"),
        ("step", {}, [["fine", None], ["good"]], "good, neutral, bad or not judged"),
        ("step", {}, [[None, None], ["good"]], "a step of each answer judged"),
        ("span", {"tags": ["e"]}, [passage(0, 0, 4, "e", text="Two.")], "is 'One.': correct"),
        ("span", {"tags": ["e"]}, [passage(0, 0, 99, "e")], "is not a passage"),
        ("span", {"tags": ["e"]}, [passage(0, -4, 2, "e")], "is not a passage"),
        ("span", {"tags": ["e"]}, [passage(0, 0, 4, "x")], "tag is 'x': use one of e"),
        ("span", {"tags": ["e"]}, [passage(2, 0, 4, "e")], "no response 2"),
        ("span", {"tags": ["e"]}, [passage(True, 0, 4, "e")], "as response, start, end"),
        ("span", {"tags": ["e"]}, [], "mark at least one"),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_gets_one_sentence(kind, config, given, message):
    with pytest.raises(AnswerError, match=f"“Q”.*{message}"):
        answered(kind, config, given)


def test_a_ranking_takes_two_to_ten_answers():
    with pytest.raises(AnswerError, match="the item has 11"):
        answered("ranking", {}, list(range(1, 12)), 11)
    assert answered("ranking", {}, list(range(1, 11)), 10) == list(range(1, 11))


@given(st.lists(st.integers(1, 10), min_size=1, max_size=10))
def test_dense_ranks_keep_the_order_and_leave_none_out(ranks):
    made = dense(ranks)
    assert set(made) == set(range(1, len(set(ranks)) + 1))
    assert [a < b for a in ranks for b in ranks] == [a < b for a in made for b in made]


# --- Conditions -----------------------------------------------------------------------------------------------

BETTER = Asked("better", "preference", title="Better?")
WHY = Asked(
    "why", "choice", {"options": ["wrong", "rude"], "when": {"question": "better", "is": ["both_bad"]}}, "Why?"
)
HOW = Asked("how", "critique", {"when": {"question": "why", "is": ["rude"]}}, "How?")


def test_a_question_that_is_not_asked_may_be_left_out_and_not_answered():
    asked = [BETTER, WHY, HOW]
    assert questions.check_answers(asked, {"better": {"choice": "a"}}, 2) == {"better": {"choice": "a"}}
    with pytest.raises(AnswerError, match="“Why\\?” is not asked"):
        questions.check_answers(asked, {"better": {"choice": "a"}, "why": ["rude"]}, 2)
    with pytest.raises(AnswerError, match="“Why\\?” still needs"):
        questions.check_answers(asked, {"better": {"choice": "both_bad"}}, 2)
    with pytest.raises(AnswerError, match="“How\\?” still needs"):
        questions.check_answers(asked, {"better": {"choice": "both_bad"}, "why": ["rude"]}, 2)


def test_what_waits_for_a_question_that_is_not_asked_is_not_asked_either():
    answers = {"better": {"choice": "a"}, "why": ["rude"], "how": {"text": "x"}}
    assert questions.asked_now([BETTER, WHY, HOW], answers) == ["better"]
    assert questions.can_ask([BETTER, WHY, HOW, Asked("rank", "ranking")], 3) == ["rank"]
    assert questions.can_ask([BETTER, WHY, HOW, Asked("rank", "ranking")], 2) == ["better", "why", "how", "rank"]
    assert questions.can_ask([BETTER, Asked("rank", "ranking")], 1) == []


def waits(name, for_, value="x", **fields):
    return Asked(
        name, "choice", {"options": ["x", "y"], "when": {"question": for_, "is": [value]}}, name.title(), **fields
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([waits("one", "two")], "“One” depends on 'two', which is not asked: the others are none"),
        ([waits("one", "two"), waits("two", "one")], "depends on itself .one → two"),
        ([waits("one", "one")], "depends on itself"),
        ([waits("one", "rate"), Asked("rate", "rating")], "neither a preference nor a choice"),
        ([waits("one", "better", "unsure"), BETTER], "waits for 'unsure', which “Better\\?” never is: use a, b, tie"),
        ([waits("one", "two", "z"), Asked("two", "choice", {"options": ["x", "y"]})], "never is: use x, y"),
        ([BETTER, BETTER], "Two questions are called 'better'"),
        ([BETTER, Asked("better-2", "rating")], "'better-2' is another question's with a number"),
    ],
)
def test_questions_that_do_not_fit_together_are_refused(asked, message):
    with pytest.raises(QuestionError, match=message):
        questions.check_together(asked)


def test_questions_that_fit_together_pass():
    questions.check_together([HOW, WHY, BETTER, Asked("better2", "rating")])


# --- Steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "text", "steps"),
    [
        ("paragraph", "One\ntwo\n\n\nThree", ["One\ntwo", "Three"]),
        ("line", "One\n\n  two\n", ["One", "two"]),
        (
            "sentence",
            "Es ist 3.5 km. Dr. Who says so! E.g. here?",
            ["Es ist 3.5 km.", "Dr. Who says so!", "E.g. here?"],
        ),
        ("sentence", "i.e. this one. 2. is not", ["i.e. this one.", "2. is not"]),
        ("sentence", "Then:\n- first\n- second. And more.", ["Then:", "- first", "- second.", "And more."]),
        ("sentence", "你好。再见！好", ["你好。", "再见！", "好"]),  # noqa: RUF001
        ("line", "See:\n```py\na\n\nb\n```\ndone", ["See:", "```py\na\n\nb\n```", "done"]),
        ("paragraph", "~~~\nx\n\n```\ny\n~~~", ["~~~\nx\n\n```\ny\n~~~"]),
        ("sentence", "Open.\n```\nnever. Closed", ["Open.", "```\nnever. Closed"]),
        ("paragraph", "  \r\n\r\n a\r\nb", ["a\nb"]),
        ("line", "", []),
    ],
)
def test_a_text_is_split_into_steps_and_code_stays_whole(split, text, steps):
    assert steps_of(text, split) == steps


@given(st.text(alphabet=st.sampled_from("ab.! \n`~-1"), max_size=80), st.sampled_from(SPLITS))
def test_no_step_is_blank_and_no_letter_is_lost(text, split):
    steps = steps_of(text, split)
    assert all(step.strip() for step in steps)
    assert "".join("".join(steps).split()) == "".join(text.split())
