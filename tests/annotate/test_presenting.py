"""What a person sees and presses, and what it means in stored order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import presenting
from annotate.models import Item, Question, Response
from annotate.presenting import Shown
from annotate.questions import AnswerError

pytestmark = pytest.mark.database_free

SCALE = {"points": 7, "tie": True, "both_bad": True, "unsure": False, "reasons": []}
BETTER = Question(name="preference", kind="preference", title="Which is better?", config=SCALE)
HELPFUL = Question(
    name="helpful",
    kind="rating",
    title="Helpful",
    required=False,
    config={"min": 1, "max": 5, "anchors": {"5": "Right", "1": "Wrong"}},
)
ASKED = [BETTER, HELPFUL]


def response(position, text, model="secret-model") -> Response:
    return Response(position=position, model=model, words=2, messages=[{"role": "assistant", "content": text}])


def test_the_sides_stand_in_presented_order_and_name_no_model():
    shown = presenting.sides([response(0, "first"), response(1, "second")], [1, 0])
    assert [(side.letter, side.words, side.turns[0].text) for side in shown] == [("A", 2, "second"), ("B", 2, "first")]
    assert "secret-model" not in repr(shown)


def test_a_conversation_ends_with_the_turn_that_is_answered():
    item = Item(prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    history, last = presenting.conversation(item)
    assert [(turn.role, turn.text) for turn in history] == [("Instructions", "Be brief.")]
    assert [(turn.role, turn.text) for turn in last] == [("Person", "Why?")]


def test_the_left_end_of_the_scale_is_for_what_stands_left():
    form = {"answer-preference": "2", "answer-helpful-0": "5", "answer-helpful-1": "3"}
    assert presenting.answers_of(form, ASKED, Shown((0, 1))) == {
        "preference": {"choice": "a", "strength": 2},
        "helpful": [5, 3],
    }
    assert presenting.answers_of(form, ASKED, Shown((1, 0))) == {
        "preference": {"choice": "b", "strength": 2},
        "helpful": [3, 5],
    }


def test_what_is_left_blank_is_no_answer():
    assert presenting.answers_of({"reason": "because"}, ASKED, Shown((0, 1))) == {}
    assert presenting.answers_of({"answer-helpful-1": "3"}, ASKED, Shown((1, 0))) == {"helpful": [3, None]}


@pytest.mark.parametrize("value", ["8", "0", "left", "unsure", "1e1", "²"])
def test_a_value_that_is_no_choice_is_refused(value):
    with pytest.raises(AnswerError):
        presenting.answers_of({"answer-preference": value}, ASKED, Shown((0, 1)))


def test_a_scale_without_a_middle_offers_none_and_takes_none():
    question = Question(name="preference", kind="preference", title="?", config={**SCALE, "tie": False})
    (control,) = presenting.controls([question], Shown(tuple(range(2))), {})
    assert [point["level"] for point in control["points"]] == [1, 2, 3, 5, 6, 7]
    with pytest.raises(AnswerError, match="no middle"):
        presenting.answers_of({"answer-preference": "4"}, [question], Shown((0, 1)))


def test_each_point_says_what_it_means():
    (control,) = presenting.controls([BETTER], Shown(tuple(range(2))), {"answer-preference": "6"})
    spoken = [point["spoken"] for point in control["points"]]
    assert spoken[0] == "A is much better"
    assert spoken[3] == "equal"
    assert spoken[5] == "B is clearly better"
    assert [point["level"] for point in control["points"] if point["chosen"]] == [6]
    assert [out["key"] for out in control["outs"]] == ["b"]


def test_ratings_have_a_letter_row_for_each_answer():
    (control,) = presenting.controls([HELPFUL], Shown(tuple(range(3))), {"answer-helpful-1": "2"})
    keys = ["".join(pip["key"] for pip in group["pips"]) for group in control["groups"]]
    assert keys == ["qwert", "yuiop", ""]
    assert [pip["value"] for pip in control["groups"][1]["pips"] if pip["chosen"]] == [2]
    assert control["anchors"] == [("1", "Wrong"), ("5", "Right")]


def test_a_longer_scale_keeps_its_keys_for_the_first_five():
    question = Question(name="x", kind="rating", title="X", config={"min": 1, "max": 7, "anchors": {}})
    (control,) = presenting.controls([question], Shown(tuple(range(2))), {})
    assert [pip["key"] for pip in control["groups"][0]["pips"]] == ["q", "w", "e", "r", "t", "", ""]


def test_only_what_belongs_to_the_form_is_kept_of_what_was_posted():
    posted = {
        "answer-preference": "2",
        "csrfmiddlewaretoken": "x",
        "answer-other": "1",
        "reason": "a\x00b",
        "key": "k",
    }
    assert presenting.form_from(posted, ASKED, Shown((0, 1))) == {"answer-preference": "2", "reason": "ab"}
    assert len(presenting.form_from({"reason": "long " * 9000}, ASKED, Shown((0, 1)))["reason"]) == presenting.LONGEST


def test_what_is_still_lacking_is_said_in_a_sentence():
    required = Question(name="helpful", kind="rating", title="Helpful", required=True, config=HELPFUL.config)
    assert presenting.unanswered({}, ASKED, Shown((0, 1))) == "“Which is better?” still needs an answer."
    assert (
        presenting.unanswered({"answer-helpful-0": "1"}, [required], Shown((0, 1)))
        == "“Helpful” still needs a rating for B."
    )
    assert presenting.unanswered({}, [required], Shown((0, 1))) == "“Helpful” still needs a rating for A and B."
    assert presenting.unanswered({"answer-preference": "1"}, ASKED, Shown((0, 1))) == ""


@given(
    st.sampled_from(["1", "2", "3", "4", "5", "6", "7", "both_bad"]),
    st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=2, max_size=2),
    st.sampled_from([[0, 1], [1, 0]]),
)
def test_an_answer_brought_back_fills_in_the_form_it_was_given_with(preference, ratings, order):
    form = {"answer-preference": preference, "reason": "so"}
    form |= {f"answer-helpful-{place}": str(rating) for place, rating in enumerate(ratings) if rating is not None}
    shown = Shown(tuple(order))
    answers = presenting.answers_of(form, ASKED, shown)
    assert presenting.form_of(answers, "so", ASKED, shown) == form
