"""Every kind of question on the page: what the form says is what is answered, whatever the presented order."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import presenting, questions
from annotate.models import Question
from annotate.presenting import Shown
from annotate.questions import AnswerError

pytestmark = pytest.mark.database_free

TEXTS = ("Eins. Zwei.\n\nDrei.", "**One** step", "", "Un\n\ndeux\n\ntrois")
REASONS = ["wrong", "too long"]


def question(kind: str, config: dict | None = None, **fields) -> Question:
    whole = questions.check_config(kind, config or {})
    return Question(name=kind, kind=kind, title=kind.title(), config=whole, **fields)


BETTER = question("preference")
RATING = question("rating")
RANKING = question("ranking")
CRITIQUE = question("critique", {"reasons": REASONS})
EACH = Question(
    name="each", kind="critique", title="Each", config={"min_characters": 0, "reasons": REASONS, "each": True}
)
CHOICE = question("choice", {"options": ["red", "green", "blue"]})
MANY = Question(name="many", kind="choice", title="Many", config={**CHOICE.config, "multiple": True})
STEP = question("step")
SPAN = question("span", {"tags": ["evidence", "so-so tag"]})
OPTIONAL = [
    Question(name=f"{asked.name}o", kind=asked.kind, title=asked.title, config=asked.config, required=False)
    for asked in (RATING, EACH, STEP)
]


@st.composite
def presented(draw, least=1, most=4):
    count = draw(st.integers(least, most))
    return Shown(tuple(draw(st.permutations(range(count)))), TEXTS[:count])


def critiques():
    made = st.fixed_dictionaries(
        {"text": st.text("ab 👍\n", max_size=9).map(str.strip), "reasons": st.sampled_from([[], REASONS, REASONS[1:]])}
    )
    return made.filter(lambda critique: critique["text"] or critique["reasons"])


def answers_to(asked: Question, shown: Shown):
    """Any answer that fits, in stored order."""
    count = shown.places
    mark = st.sampled_from([None, "good", "neutral", "bad"])
    if asked.kind == "rating":
        return st.lists(st.none() | st.integers(1, 5), min_size=count, max_size=count).filter(any)
    if asked.kind == "ranking":
        return st.lists(st.integers(1, count), min_size=count, max_size=count).map(questions.ranking.dense)
    if asked.kind == "critique":
        each = st.lists(st.none() | critiques(), min_size=count, max_size=count).filter(any)
        return each if asked.config["each"] else critiques()
    if asked.kind == "choice":
        many = st.lists(st.sampled_from(["red", "green", "blue"]), min_size=1, unique=True)
        return many.map(sorted) if asked.config["multiple"] else st.sampled_from([["red"], ["green"], ["blue"]])
    if asked.kind == "step":
        counts = [len(questions.step.steps_of(text, "paragraph")) for text in shown.texts]
        return (
            st.tuples(*(st.lists(mark, min_size=n, max_size=n) for n in counts))
            .map(list)
            .filter(lambda marks: any(map(any, marks)))
        )
    place = st.sampled_from([n for n in range(count) if TEXTS[n]]).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.integers(0, len(TEXTS[n])), min_size=2, max_size=2, unique=True).map(sorted)
        )
    )
    return st.lists(st.tuples(place, st.sampled_from(asked.config["tags"])), min_size=1, max_size=4).map(passages)


def passages(drawn):
    made = {
        (n, s, e, tag): {"response": n, "start": s, "end": e, "text": TEXTS[n][s:e], "tag": tag}
        for (n, (s, e)), tag in drawn
    }
    return [made[key] for key in sorted(made, key=lambda key: key[:3])]


@given(st.sampled_from([RANKING, CRITIQUE, CHOICE, MANY, SPAN, *OPTIONAL]), st.data())
def test_any_answer_comes_back_from_the_form_that_it_fills(asked, data):
    shown = data.draw(presented(least=2 if asked.kind == "ranking" else 1))
    answer = data.draw(answers_to(asked, shown))
    checked = questions.check_answer(asked, answer, shown.subject)
    form = presenting.form_of({asked.name: checked}, "", [asked], shown)
    assert presenting.form_from(form, [asked], shown) == form  # a draft keeps all of it
    again = presenting.answers_of(form, [asked], shown)
    assert questions.check_answers([asked], again, shown.places, shown.texts) == {asked.name: checked}
    assert presenting.unanswered(form, [asked], shown) == ""


def test_ranks_belong_to_what_stands_there():
    form = {"answer-ranking-0": "1", "answer-ranking-1": "3", "answer-ranking-2": "3"}
    assert presenting.answers_of(form, [RANKING], Shown((2, 0, 1))) == {"ranking": [2, 2, 1]}


def test_an_order_that_nobody_touched_is_no_answer():
    assert presenting.answers_of({}, [RANKING], Shown((0, 1, 2))) == {}
    assert "still needs an order" in presenting.unanswered({}, [RANKING], Shown((0, 1, 2)))


@pytest.mark.parametrize("required", [True, False])
def test_half_a_ranking_is_refused_even_where_it_is_optional(required):
    asked = question("ranking", required=required)
    half = {"answer-ranking-0": "1"}
    assert "still needs a rank for B and C" in presenting.unanswered(half, [asked], Shown((0, 1, 2)))
    with pytest.raises(AnswerError, match="rank for B and C"):
        presenting.answers_of(half, [asked], Shown((0, 1, 2)))


def test_words_quoted_by_hand_are_found_in_the_answer():
    form = {"answer-span": 'A [evidence] "Zwei.  Drei."\n\n b [so-so tag] 2-5'}
    found = presenting.answers_of(form, [SPAN], Shown((0, 1), TEXTS[:2]))["span"]
    assert [(passage["response"], passage["text"]) for passage in found] == [(0, "Zwei.\n\nDrei."), (1, "One")]


@pytest.mark.parametrize(
    "line", ["A evidence 1-2", 'C [evidence] "x"', 'A [evidence] "not there"', "A [evidence] 5-99"]
)
def test_a_passage_that_cannot_be_read_is_refused(line):
    with pytest.raises(AnswerError, match="“Span”"):
        presenting.answers_of({"answer-span": line}, [SPAN], Shown((0, 1), TEXTS[:2]))


@pytest.mark.parametrize(
    "name", ["answer-step-0-9", "answer-step-2-0", "answer-step-0", "answer-choice-0", "answer-many-7"]
)
def test_a_field_that_the_item_does_not_have_is_no_part_of_the_form_or_refused(name):
    shown = Shown((0, 1), TEXTS[:2])
    form = presenting.form_from({name: "good"}, [STEP, CHOICE, MANY], shown)
    if form:
        with pytest.raises(AnswerError, match="step 10 cannot"):
            presenting.answers_of(form, [STEP], shown)


def test_a_condition_is_told_in_what_the_page_shows():
    asked = [
        BETTER,
        question("choice", {"options": ["x", "y"], "when": {"question": "preference", "is": ["a", "both_bad"]}}),
    ]
    left = presenting.controls(asked, Shown((0, 1)), {})[1]
    right = presenting.controls(asked, Shown((1, 0)), {"answer-preference": "7"})[1]
    assert (left["when"]["name"], left["when"]["values"], left["is_asked"]) == (
        "answer-preference",
        "1|2|3|both_bad",
        False,
    )
    assert (right["when"]["values"], right["is_asked"]) == ("5|6|7|both_bad", True)


def test_what_is_filled_in_but_not_asked_any_more_is_left_out():
    when = {"question": "preference", "is": ["both_bad"]}
    asked = [BETTER, question("choice", {"options": ["x", "y"], "when": when})]
    shown = Shown((0, 1))
    form = {"answer-preference": "1", "answer-choice": "x"}
    assert presenting.answers_of(form, asked, shown) == {"preference": {"choice": "a", "strength": 3}}
    assert presenting.unanswered({"answer-preference": "1"}, asked, shown) == ""
    assert presenting.unanswered({"answer-preference": "both_bad"}, asked, shown) == "“Choice” still needs an answer."


def test_the_longest_text_of_a_critique_is_kept_and_no_more():
    form = presenting.form_from(
        {"answer-critique": "x" * 30_000, "answer-critique-0": "wrong"}, [CRITIQUE], Shown((0,))
    )
    assert (len(form["answer-critique"]), form["answer-critique-0"]) == (20_000, "wrong")


@pytest.mark.parametrize(
    "asked", [BETTER, RATING, RANKING, CRITIQUE, EACH, CHOICE, MANY, STEP, SPAN], ids=lambda q: q.name
)
def test_every_control_can_be_drawn_without_what_is_filled_in(asked):
    (control,) = presenting.controls([asked], Shown((1, 0), TEXTS[:2]), {})
    assert SimpleNamespace(**control).kind == asked.kind
    assert presenting.unanswered({}, [asked], Shown((1, 0), TEXTS[:2]))
