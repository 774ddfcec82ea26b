"""Rankings, ratings, choices, steps and spans of several people become one, with ties and doubt kept."""

from itertools import permutations

import numpy as np
import pytest

from annotate.statistics import choices, rankings, ratings, spans, steps


def disagreements(order, wins) -> float:
    return sum(wins[later, earlier] for n, earlier in enumerate(order) for later in order[n + 1 :])


def test_the_majority_of_three_rankings():
    found = rankings.consensus([[1, 2, 3], [1, 2, 3], [2, 1, 3]])
    assert (found.ranks, found.orders, found.method) == ([1, 2, 3], 1, "Kemeny")
    assert found.mean_ranks == pytest.approx([4 / 3, 5 / 3, 3])
    assert found.above[0, 1] == 3 / 5  # two of three, and one pseudo-vote each way
    assert found.above[1, 0] == pytest.approx(1 - found.above[0, 1])
    assert rankings.weakest(found) == 3 / 5


def test_a_tie_is_half_a_win_each_way():
    found = rankings.consensus([[1, 1, 2], [1, 2, 2]])
    assert found.above[0, 1] == (1.5 + 1) / (2 + 2)
    assert found.above[1, 2] == (1.5 + 1) / (2 + 2)
    assert found.mean_ranks == pytest.approx([1.25, 2.0, 2.75])


def test_two_who_say_the_opposite_make_a_tie():
    found = rankings.consensus([[1, 2, 3], [2, 1, 3]])
    assert (found.ranks, found.orders) == ([1, 1, 2], 2)
    assert rankings.consensus([[1, 2], [2, 1]]).ranks == [1, 1]
    assert rankings.weakest(rankings.consensus([[1, 1], [1, 1]])) is None


def test_a_circle_is_a_tie_of_all():
    found = rankings.consensus([[1, 2, 3], [3, 1, 2], [2, 3, 1]])
    assert (found.ranks, found.orders) == ([1, 1, 1], 3)


def test_kemeny_is_the_best_of_all_orders():
    draw = np.random.default_rng(1)
    for _ in range(20):
        given = draw.integers(1, 5, (4, 5))
        wins = rankings.wins_of([rankings.dense(list(row)) for row in given])
        costs = {order: disagreements(order, wins) for order in permutations(range(5))}
        best = [order for order, cost in costs.items() if cost < min(costs.values()) + 1e-9]
        places, orders = rankings.kemeny(wins)
        assert orders == len(best)
        means = [np.mean([order.index(i) + 1 for order in best]) for i in range(5)]
        assert [float(place) for place in places] == pytest.approx(means)


def test_nothing_is_decided_by_position():
    draw = np.random.default_rng(2)
    for responses in (4, 10):
        given = [rankings.dense(list(draw.integers(1, 6, responses))) for _ in range(3)]
        shuffle = draw.permutation(responses)
        moved = [[ranks[i] for i in shuffle] for ranks in given]
        one, other = rankings.consensus(given), rankings.consensus(moved)
        assert other.ranks == [one.ranks[i] for i in shuffle]


def test_more_than_eight_are_ordered_by_their_mean_rank():
    found = rankings.consensus([list(range(1, 11)), [2, 1, *range(3, 11)]])
    assert (found.method, found.ranks[:4]) == ("Borda", [1, 1, 2, 3])


def leaning_crowd(seed: int, per_rater: int = 30):
    """Things of known worth, rated by people who lean −1, 0 and +1, each rating two thirds of them."""
    draw = np.random.default_rng(seed)
    worth = draw.uniform(2, 4, per_rater)
    rows = [
        (thing, rater, worth[thing] + lean + draw.normal(0, 0.3))
        for rater, lean in enumerate((-1.0, 0.0, 1.0))
        for thing in range(per_rater)
        if (thing + rater) % 3
    ]
    thing, rater, rating = (np.array(column) for column in zip(*rows, strict=True))
    return worth, thing, rater, rating


def test_leanings_come_out_and_the_adjusted_means_are_nearer_the_truth():
    worth, thing, rater, rating = leaning_crowd(1, 60)
    found = ratings.leanings(thing, rater, rating)
    assert found.bias == pytest.approx([-1, 0, 1], abs=0.15)
    assert found.deviation == pytest.approx(0.3, abs=0.06)
    raw = np.bincount(thing, rating) / np.bincount(thing)
    adjusted = np.bincount(thing, rating - found.bias[rater]) / np.bincount(thing)
    assert np.abs(adjusted - worth).mean() < np.abs(raw - worth).mean() / 2
    assert adjusted.mean() == pytest.approx(raw.mean(), abs=1e-9)


def test_raters_who_share_nothing_or_rated_little_keep_their_word():
    thing = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] + [0, 1, 2])
    rater = np.array([0] * 5 + [1] * 5 + [2] * 3)
    rating = np.array([1.0] * 5 + [5.0] * 5 + [5.0] * 3)
    assert ratings.leanings(thing, rater, rating).bias == pytest.approx([0, 0, 0])


def test_standard_errors():
    assert ratings.standard_error([4], 0.6) == 0.6
    assert ratings.standard_error([4, 4, 4, 4], 0.6) == pytest.approx(0.3)
    assert ratings.standard_error([4]) is None
    assert ratings.standard_error([3, 5]) == pytest.approx(1.0)


def test_choices():
    assert choices.single(["x", "x", "y"], ["x", "y", "z"]) == (["x"], {"x": 3 / 6, "y": 2 / 6, "z": 1 / 6})
    assert choices.single(["x", "y"], ["y", "x", "z"])[0] == ["y", "x"]  # a shared first place keeps both
    assert choices.several([["x"], ["x", "y"], ["x"]], ["x", "y"]) == (["x"], {"x": 4 / 5, "y": 2 / 5})


def test_steps():
    found = steps.consensus([["good", "bad", None], ["good", "neutral", "bad"], ["good", "bad", "bad"]])
    assert found.marks == ["good", "bad", "bad"]
    assert found.probabilities[1] == {"good": 1 / 6, "neutral": 2 / 6, "bad": 3 / 6}
    assert found.first_error == pytest.approx([1 / 7, 3 / 7, 2 / 7, 1 / 7])  # step 2 twice, step 3 once
    assert steps.consensus([["good"], ["bad"]]).marks == [None]


def span(start: int, end: int, tag: str = "wrong", response: int = 0) -> dict:
    return {"response": response, "start": start, "end": end, "tag": tag}


def test_spans():
    people = [[span(0, 10)], [span(5, 15)], [span(6, 8), span(20, 25)]]
    assert spans.consensus(people) == [{**span(5, 10), "share": pytest.approx((2 * 3 + 3 * 2) / 15)}]
    assert spans.consensus([[span(0, 4)], []]) == []  # half is no majority
    assert spans.f1([span(0, 10)], [span(5, 15)]) == 0.5
    assert spans.f1([span(0, 10)], [span(0, 10, "other tag")]) == 0.0
    assert spans.f1([], []) == 1.0
    assert spans.agreement([[span(0, 10)]]) is None
