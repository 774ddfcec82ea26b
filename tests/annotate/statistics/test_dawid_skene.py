"""Dawid and Skene's model and skill weights: golden numbers, made-up crowds, real people, and what must not matter."""

import json

import numpy as np
import pytest

from annotate.statistics.dawid_skene import confusion_against, dawid_skene, expected_right, one_coin, posteriors
from annotate.statistics.skill_weights import skills, weighted_posterior
from annotate.statistics.votes import votes_of
from tests.annotate.statistics.crowds import crowd, right

TABLE = [[0, 0, 1], [0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 0]]
GOLDEN = votes_of([(item, rater, said) for item, row in enumerate(TABLE) for rater, said in enumerate(row)], 2)
# accuracies, then what majority, skill weights and Dawid–Skene reach on 200 items. Majority is exact: the sum over
# outcomes with even splits halved. The others are published figures of a few draws, so they are met within .025.
CROWDS = [
    ([0.7] * 5, 0.837, 0.837, 0.818),
    ([0.85] * 3 + [0.5] * 2, 0.872, 0.941, 0.938),
    ([0.95] * 2 + [0.6] * 5, 0.889, 0.964, 0.962),
    ([0.9] + [0.6] * 4, 0.786, 0.859, 0.862),
    ([0.9] * 3 + [0.1], 0.864, 0.975, 0.972),
]


def test_one_round_by_hand():
    fit = dawid_skene(GOLDEN, iterations=1)
    assert fit.posterior[:, 1] == pytest.approx([0.283597, 0.1876, 0.734821, 0.826098, 0.612921, 0.734821], abs=1e-4)
    assert fit.prior == pytest.approx([0.458333, 0.541667], abs=1e-4)
    assert fit.confusion[2] == pytest.approx(np.array([[0.571429, 0.428571], [0.4375, 0.5625]]), abs=1e-4)


@pytest.mark.parametrize(("accuracies", "majority", "weighted", "skene"), CROWDS)
def test_mixed_crowds(accuracies, majority, weighted, skene):
    reached = []
    for seed in range(30):
        truth, votes = crowd(accuracies, 200, seed)
        scores = votes.shares, weighted_posterior(votes, skills(votes).weight), dawid_skene(votes).posterior
        reached.append([right(score, truth) for score in scores])
    by_majority, by_skill, by_model = np.mean(reached, axis=0)
    assert by_majority == pytest.approx(majority, abs=0.012)
    assert [by_skill, by_model] == pytest.approx([weighted, skene], abs=0.025)


def test_the_parameters_of_known_raters_come_back():
    truth, votes = crowd([0.9, 0.8, 0.6, 0.7], 4000, 3, options=3, seen=0.8)
    fit = dawid_skene(votes)
    diagonal = fit.confusion[:, np.arange(3), np.arange(3)].mean(axis=1)
    assert diagonal == pytest.approx([0.9, 0.8, 0.6, 0.7], abs=0.04)
    assert right(fit.posterior, truth) > right(votes.shares, truth) + 0.02
    right_votes, compared = expected_right(votes, fit.posterior)
    assert right_votes / compared == pytest.approx([0.9, 0.8, 0.6, 0.7], abs=0.03)


def test_a_lone_inverted_rater_is_read_the_other_way_round():
    _, votes = crowd([0.85, 0.85, 0.85, 0.1], 500, 1)
    confusion = dawid_skene(votes).confusion
    assert confusion[3, 0, 1] > 0.8
    assert confusion[0, 0, 0] > 0.8


def test_a_spammer_who_always_says_the_same_counts_for_nothing():
    truth, votes = crowd([0.85, 0.85, 0.85], 500, 2)
    spam = np.column_stack([np.arange(500), np.full(500, 3), np.zeros(500, dtype=int)])
    with_spam = votes_of(np.concatenate([np.column_stack([votes.item, votes.rater, votes.option]), spam]), 2)
    assert right(dawid_skene(with_spam).posterior, truth) >= right(dawid_skene(votes).posterior, truth) - 0.004
    evidence = np.log(dawid_skene(with_spam).confusion[3])
    assert np.abs(evidence[0] - evidence[1]).max() < 0.7  # what they say speaks for neither side


@pytest.mark.parametrize("model", [dawid_skene, one_coin])
def test_swapping_the_two_sides_swaps_their_posteriors(model):
    _, votes = crowd([0.8, 0.7, 0.6], 100, 4, options=3, seen=0.7)
    swapped = votes_of(np.column_stack([votes.item, votes.rater, np.array([1, 0, 2])[votes.option]]), 3, items=100)
    assert model(swapped).posterior == pytest.approx(model(votes).posterior[:, [1, 0, 2]], abs=1e-12)


@pytest.mark.parametrize("model", [dawid_skene, one_coin])
def test_the_order_of_raters_items_and_rows_does_not_matter(model):
    _, votes = crowd([0.8, 0.7, 0.6, 0.9], 100, 5, seen=0.7)
    draw = np.random.default_rng(1)
    items, raters, rows = draw.permutation(100), draw.permutation(4), draw.permutation(len(votes.item))
    table = np.column_stack([items[votes.item], raters[votes.rater], votes.option])[rows]
    moved = model(votes_of(table, 2, items=100, raters=4))
    assert moved.posterior[items] == pytest.approx(model(votes).posterior, abs=1e-9)
    assert moved.confusion[raters] == pytest.approx(model(votes).confusion, abs=1e-9)


def test_an_item_without_votes_is_as_likely_as_its_options_are_common():
    _, votes = crowd([0.8, 0.8], 50, 6)
    more = votes_of(np.column_stack([votes.item, votes.rater, votes.option]), 2, items=51)
    fit = dawid_skene(more)
    assert fit.posterior[50] == pytest.approx(fit.prior)


def test_half_a_vote_is_half_the_evidence():
    confusion = np.array([[[0.9, 0.1], [0.2, 0.8]]])
    whole = votes_of([(0, 0, 0)], 2)
    halves = votes_of([(0, 0, 0), (0, 0, 0)], 2, weight=np.array([0.5, 0.5]))
    prior = np.array([0.5, 0.5])
    assert posteriors(halves, prior, confusion) == pytest.approx(posteriors(whole, prior, confusion))


def test_a_judge_is_measured_against_what_people_say():
    truth = np.eye(2)[[0, 0, 0, 1]]
    judge = votes_of([(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 0, 1)], 2)
    assert confusion_against(judge, truth)[0] == pytest.approx(np.array([[3 / 5, 2 / 5], [1 / 3, 2 / 3]]))


def test_agreement_with_the_others_leaves_ones_own_vote_out():
    found = skills(GOLDEN)
    # raters 1 and 2 agree on all items but the fifth; rater 3 says the same on the second and the fourth of them
    assert (found.right[2], found.compared[2]) == (2, 5)
    assert found.accuracy[2] == pytest.approx(0.4)
    assert found.weight[2] == pytest.approx(np.log(0.4 / 0.6))


def real_votes(path, raters: list[str]):
    """PandaLM's people (1, 2, 3) and judges as votes of 3 options, and the majority of all three people."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    side = {"0": 0, "Tie": 0, "tie": 0, "1": 1, "2": 2}
    people = np.array([[row[f"annotator{n}"] for n in (1, 2, 3)] for row in rows])
    triplets = []
    for item, row in enumerate(rows):
        for rater, name in enumerate(raters):
            said = row.get(name, None) if name.startswith("annotator") else row["judges"][name]["label"]
            if str(said) in side:
                triplets.append((item, rater, side[str(said)]))
    target = np.array([np.bincount(row, minlength=3).argmax() for row in people])
    return target, votes_of(triplets, 3, items=len(rows), raters=len(raters))


def test_two_people_and_two_judges_on_real_preferences(shared_data):
    """Judges as equals harm a majority (.912 on the whole set); the model learns whom to trust (.968)."""
    names = ["annotator1", "annotator2", "gpt-3.5-turbo", "pandalm-7b"]
    target, votes = real_votes(shared_data / "pandalm.jsonl", names)
    majority, model = right(votes.shares, target), right(dawid_skene(votes).posterior, target)
    assert majority < 0.93
    assert model > 0.95
