"""Responses that are none: flagged before a judge sees them, and decided by people."""

import pytest

from annotate.models import Item
from pipeline.judging import calls
from pipeline.models import JudgeCall, RoutingState
from pipeline.quality.guarding import EMPTY, ONE_WORD, OPENER, SYMBOLS, flaw, flaws
from pipeline.routing import adopting, showing
from pipeline.routing.choosing.plans import Budget, Plan
from tests import factories
from tests.pipeline.conftest import routed


@pytest.mark.database_free
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EMPTY),
        (" \n\t", EMPTY),
        (":", SYMBOLS),
        ("…?!", SYMBOLS),
        ("Thought process:", OPENER),
        ("Let us solve this step by step.", OPENER),
        ("Let's think step by step", OPENER),
        ("**Solution**", OPENER),
        ("Paris", ONE_WORD),
        ("Let us solve this step by step. 2 + 2 = 4.", ""),
        ("Answer: 42", ""),
        ("Sure, here it is: 4.", ""),
        ("水结冰时会膨胀", ""),
    ],
)
def test_flaws_of_a_response(text, expected):
    assert flaw(text) == expected


@pytest.mark.database_free
def test_a_question_for_one_word_is_answered_by_one_word():
    assert flaws(["Yes.", "No."]) == ["", ""]
    assert flaws(["Yes.", "Yes, because it is salty."]) == [ONE_WORD, ""]
    assert flaws(["Yes.", ""]) == [ONE_WORD, EMPTY]


@pytest.mark.django_db
def test_people_decide_what_a_judge_must_not_decide_alone(project, judge):
    hollow, sound = (
        factories.item(project, responses=texts, route=Item.JUDGE, overlap=0, slots_open=0)
        for texts in (("It is salty, from rivers.", "Thought process:"), ("It is salty.", "It is sweet."))
    )
    for item in (hollow, sound):
        routed(item, Item.JUDGE)
    calls.plan(judge=judge)
    hollow.refresh_from_db()
    sound.refresh_from_db()
    assert (hollow.route, hollow.slots_open, sound.route, sound.slots_open) == (Item.BOTH, 1, Item.JUDGE, 0)
    route = hollow.routes.first()
    assert (route.policy, route.reason) == (
        "guard",
        "Response B is an opener with nothing after it: no judge decides that alone.",
    )
    assert JudgeCall.objects.filter(item=hollow).count() == 2  # it is asked all the same
    calls.plan(judge=judge)
    assert hollow.routes.count() == 2


@pytest.mark.django_db
def test_what_it_asks_of_people_stands_with_all_else_that_the_budget_paid(project, judge, admin):
    adopting.adopt(project=project, plan=Plan(audit=0.0, budget=Budget(total=1)), by=admin)
    for number in range(2):
        texts = (f"It is salty, {number} times.", "")
        item = factories.item(project, f"Why {number}?", texts, route=Item.JUDGE, overlap=0, slots_open=0)
        routed(item, Item.JUDGE)
    calls.plan(judge=judge)
    state = RoutingState.objects.get(project=project)
    assert (state.spent, state.owed, state.made) == (1, 1, {"guard": [2, 1]})
    (row,) = showing.money(project, state)["rows"]
    assert (str(row["words"]), row["answers"], row["share"]) == ("a response without content", 1, 1.0)
