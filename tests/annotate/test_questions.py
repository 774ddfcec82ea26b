"""What a scale means in stored order, and what may be asked and answered."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import questions

pytestmark = pytest.mark.database_free


@dataclass
class Asked:
    name: str
    kind: str
    title: str = "Better?"
    required: bool = True
    config: dict = field(default_factory=dict)


PREFERENCE = Asked("preference", "preference", config={"points": 7})
HELPFUL = Asked("helpful", "rating", "Helpful", required=False, config={"min": 1, "max": 5})


@pytest.mark.parametrize(
    ("level", "points", "order", "answer"),
    [
        (1, 7, [0, 1], {"choice": "a", "strength": 3}),
        (3, 7, [0, 1], {"choice": "a", "strength": 1}),
        (4, 7, [0, 1], {"choice": "tie"}),
        (6, 7, [0, 1], {"choice": "b", "strength": 2}),
        (6, 7, [1, 0], {"choice": "a", "strength": 2}),
        (1, 2, [1, 0], {"choice": "b", "strength": 1}),
        (2, 4, [0, 1], {"choice": "a", "strength": 1}),
        (4, 4, [0, 1], {"choice": "b", "strength": 2}),
    ],
)
def test_a_point_of_the_scale_is_mapped_back_to_stored_order(level, points, order, answer):
    assert questions.answer_at_level(level, points, order) == answer


@given(st.integers(2, 9), st.data(), st.sampled_from([[0, 1], [1, 0]]))
def test_the_scale_shows_an_answer_where_it_was_given(points, data, order):
    level = data.draw(st.integers(1, points))
    assert questions.level_of_answer(questions.answer_at_level(level, points, order), points, order) == level


def test_the_scale_shows_no_point_for_an_answer_that_has_none():
    assert questions.level_of_answer({"choice": "both_bad"}, 7, [0, 1]) is None
    assert questions.level_of_answer({"choice": "tie"}, 4, [0, 1]) is None


def test_an_even_scale_has_no_tie():
    with pytest.raises(questions.QuestionError, match="6 points has no middle"):
        questions.check_config("preference", {"points": 6, "tie": True})
    assert questions.check_config("preference", {"points": 6})["tie"] is False


def test_an_anchor_outside_the_scale_is_refused():
    with pytest.raises(questions.QuestionError, match="anchor for 7.*from 1 to 5"):
        questions.check_config("rating", {"min": 1, "max": 5, "anchors": {"7": "superb"}})


def test_answers_are_kept_in_stored_order_and_made_uniform():
    answers = {"preference": {"choice": "a", "strength": 2, "noise": 1}, "helpful": [4, None]}
    assert questions.check_answers([PREFERENCE, HELPFUL], answers, 2) == {
        "preference": {"choice": "a", "strength": 2},
        "helpful": [4, None],
    }


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "“Better\\?” still needs an answer"),
        ({"preference": {"choice": "c"}}, "choose one of a, b"),
        ({"preference": {"choice": "a", "strength": 4}}, "strength is 4, and must be from 1 to 3"),
        ({"preference": {"choice": "a", "strength": True}}, "strength is True"),
        ({"preference": {"choice": "a"}, "helpful": [6, 1]}, "6 is not a rating from 1 to 5"),
        ({"preference": {"choice": "a"}, "helpful": [1]}, "one entry for each of the 2 answers"),
        ({"preference": {"choice": "a"}, "kind": 1}, "There is no question 'kind' here"),
    ],
)
def test_an_answer_that_does_not_fit_gets_one_clear_sentence(answers, message):
    with pytest.raises(questions.AnswerError, match=message):
        questions.check_answers([PREFERENCE, HELPFUL], answers, 2)
