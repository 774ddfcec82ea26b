"""What opinions on one question add up to when votes weigh, and for every kind of question."""

from math import log
from types import SimpleNamespace

import pytest

from annotate.deciding import (
    DAWID_SKENE,
    LEANINGS,
    SKILL_WEIGHTED,
    Known,
    Opinion,
    aggregate_preference,
    aggregate_question,
)

CONFIG = {"both_bad": False}
GOOD = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]]
POOR = [[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]]
SKENE = Known(
    DAWID_SKENE,
    3,
    {"options": ["a", "b", "tie"], "prior": [0.45, 0.45, 0.1], "usual": {"confusion": POOR}},
    {1: {"confusion": GOOD}, 2: {"confusion": POOR}, 9: {"confusion": GOOD}},
)


def said(rater: int, choice: str, kind: str = "human") -> Opinion:
    return Opinion(rater, kind, {"preference": {"choice": choice}})


def decide(*opinions: Opinion, priors=(), known=SKENE):
    return aggregate_preference("preference", CONFIG, opinions, priors, known)


def test_the_posterior_is_bayes_rule_with_the_stored_parameters():
    label = decide(said(1, "a"), said(2, "b"))
    products = {"a": 0.45 * 0.9 * 0.3, "b": 0.45 * 0.05 * 0.4, "tie": 0.1 * 0.1 * 0.3}
    total = sum(products.values())
    assert label.distribution == pytest.approx({option: product / total for option, product in products.items()})
    assert (label.value, label.method, label.votes) == ("a", "Dawid–Skene, fit 3", 2)
    assert label.details == {"shares": {"a": 0.5, "b": 0.5}}  # the plain vote shares stay beside the posterior


def test_swapping_the_sides_swaps_their_probabilities_exactly():
    one = decide(said(1, "a"), said(2, "b"), said(3, "a")).distribution
    other = decide(said(1, "b"), said(2, "a"), said(3, "b")).distribution
    assert (one["a"], one["b"], one["tie"]) == (other["b"], other["a"], other["tie"])


def test_the_order_of_raters_changes_not_one_bit():
    votes = [said(1, "a"), said(2, "b"), said(3, "tie"), said(4, "a")]
    assert decide(*votes) == decide(*reversed(votes))


def test_a_person_whom_the_fit_does_not_know_is_a_usual_one():
    assert decide(said(77, "a")).distribution == decide(said(2, "a")).distribution


def test_judges_weigh_only_if_all_of_them_were_measured():
    assert decide(said(9, "a", "judge")).method == "Dawid–Skene, fit 3"
    assert decide(said(9, "a", "judge"), said(8, "b", "judge")).method == "majority"


def test_an_option_that_the_fit_never_saw_is_left_to_the_majority():
    assert decide(said(1, "both_bad")).method == "majority"


def test_a_prior_of_the_item_stands_in_for_how_common_options_are():
    label = decide(said(2, "a"), priors=[{"a": 0.1, "b": 0.8, "tie": 0.1}])
    products = {"a": 0.1 * 0.4, "b": 0.8 * 0.3, "tie": 0.1 * 0.3}
    assert label.distribution["b"] == pytest.approx(products["b"] / sum(products.values()))
    assert label.method == "Dawid–Skene with prior, fit 3"


def test_skill_weights_let_one_good_rater_outvote_two_poor_ones():
    parameters = {"options": ["a", "b", "tie"], "prior": [1 / 3] * 3, "usual": {"weight": 0.4}}
    known = Known(SKILL_WEIGHTED, 1, parameters, {1: {"weight": log(0.9 * 2 / 0.1)}})
    label = decide(said(1, "a"), said(5, "b"), said(6, "b"), known=known)
    weights = {"a": 18.0, "b": 2.718281828**0.8, "tie": 1.0}
    assert label.value == "a"
    assert label.probability == pytest.approx(18.0 / sum(weights.values()))
    assert label.method == "skill-weighted, fit 1"


def test_a_judge_that_differs_between_orders_weighs_half_each_way():
    parameters = {"options": ["a", "b", "tie"], "prior": [1 / 3] * 3, "usual": {"weight": 0.4}}
    known = Known(SKILL_WEIGHTED, 1, parameters, {9: {"weight": 2 * log(3)}})
    label = decide(said(9, "a", "judge"), said(9, "b", "judge"), known=known)
    assert label.distribution == pytest.approx({"a": 3 / 7, "b": 3 / 7, "tie": 1 / 7})
    assert (label.value, label.votes) == ("tie", 1)
    judged = {**SKENE.raters, 9: {"confusion": GOOD}}
    skene = decide(said(9, "a", "judge"), said(9, "b", "judge"), known=Known(DAWID_SKENE, 3, SKENE.parameters, judged))
    products = {"a": 0.45 * (0.9 * 0.05) ** 0.5, "b": 0.45 * (0.05 * 0.9) ** 0.5, "tie": 0.1 * 0.1}
    assert skene.distribution["a"] == pytest.approx(products["a"] / sum(products.values()))


def answered(kind: str, config: dict, *answers, known=None):
    question = SimpleNamespace(name="q", kind=kind, config=config)
    opinions = [Opinion(n, "human", {"q": answer}) for n, answer in enumerate(answers)]
    return aggregate_question(question, opinions, (), known)


def test_leanings_are_taken_from_ratings_and_the_raw_means_kept():
    known = Known(LEANINGS, 2, {"deviation": 0.5}, {0: {"bias": 1.0}, 1: {"bias": -0.5}})
    label = answered("rating", {"min": 1, "max": 5}, [4, 5], [3, None], known=known)
    assert label.value == pytest.approx([(3 + 3.5) / 2, 4])
    assert label.details["raw"] == [3.5, 5]
    assert label.details["standard_errors"] == pytest.approx([0.5 / 2**0.5, 0.5])
    assert label.method == "mean without leanings, fit 2"
    assert answered("rating", {"min": 1, "max": 5}, [5], [5], known=known).value == [4.75]
    assert answered("rating", {"min": 1, "max": 5}, [4, 5], [3, None]).value == [3.5, 5]


def test_a_mean_stays_on_the_scale():
    known = Known(LEANINGS, 1, {"deviation": 0.5}, {0: {"bias": -1.0}})
    assert answered("rating", {"min": 1, "max": 5}, [5], known=known).value == [5]


def test_rankings_become_a_consensus_with_ties_and_doubt():
    label = answered("ranking", {}, [1, 2, 3], [2, 1, 3])
    assert (label.value, label.votes, label.method) == ([1, 1, 2], 2, "Kemeny")
    assert label.distribution["a>b"] == 0.5
    assert label.distribution["a>c"] == label.probability == 0.75
    assert label.details == {"mean_ranks": [1.5, 1.5, 3.0], "equally_good_orders": 2}


def test_choices_become_the_options_that_most_took():
    config = {"options": [{"value": "x", "title": "X"}, "y", "z"]}
    label = answered("choice", config, ["x"], ["x"], ["y"])
    assert (label.value, label.probability) == (["x"], 0.5)
    assert answered("choice", config, ["x"], ["y"]).value == ["x", "y"]
    several = answered("choice", {**config, "multiple": True}, ["x", "y"], ["x"], [])
    assert (several.value, several.distribution["x"]) == (["x"], 3 / 5)


def test_steps_and_spans():
    label = answered("step", {}, [["good", "bad"], [None]], [["good", "bad"], ["good"]])
    assert label.value == [["good", "bad"], ["good"]]
    assert label.details["first_error"][0] == [1 / 5, 3 / 5, 1 / 5]
    span = {"response": 0, "start": 2, "end": 6, "tag": "wrong", "text": "text"}
    label = answered("span", {}, [span], [{**span, "end": 4}], [])
    assert [(found["start"], found["end"]) for found in label.value] == [(2, 4)]
    assert label.details["agreement"] == pytest.approx((2 * 2 / 6 + 0 + 0) / 3)


def test_free_text_is_not_voted_on():
    assert answered("critique", {}, {"text": "Both miss the point.", "reasons": []}) is None
