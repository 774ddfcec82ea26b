"""The estimators of routing against numbers worked out elsewhere (§14 of the reference on routing)."""

import numpy as np
import pytest

from pipeline.routing.estimators import acquiring, calibrating, certifying, counting, judge_errors, value
from pipeline.routing.simulating import curves

pytestmark = pytest.mark.database_free


def near(*numbers):
    return pytest.approx(np.array(numbers), abs=1e-4)


SCORE = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.3, 0.2, 0.1])
JUDGE_RIGHT = np.array([0, 1, 0, 0, 1, 1, 1, 1.0])
HUMAN_RIGHT = np.array([1, 1, 1, 2 / 3, 1, 1, 2 / 3, 1])


def test_a_routing_curve_shares_out_equal_scores():
    curve = curves.static_curve(SCORE, JUDGE_RIGHT, HUMAN_RIGHT)
    assert curve == near(0.625, 0.75, 0.8125, 0.875, 0.958333, 0.958333, 0.958333, 0.916667, 0.916667)
    oracle = curves.static_curve(HUMAN_RIGHT - JUDGE_RIGHT, JUDGE_RIGHT, HUMAN_RIGHT)
    assert oracle == near(0.625, 0.75, 0.875, 0.958333, 0.958333, 0.958333, 0.958333, 0.958333, 0.916667)
    random = curves.static_curve(np.zeros(8), JUDGE_RIGHT, HUMAN_RIGHT)
    areas = [curves.area(one) for one in (curve, random, oracle)]
    assert areas == near(0.875, 0.770833, 0.898438)
    assert curves.skill(*areas) == near(0.816327)


def test_what_is_saved_at_a_target():
    assert curves.saved([0.7, 0.9, 1.0], [0, 0.5, 1], 0.95) == near(0.25)
    assert curves.saved([0.7, 0.9, 0.9], [0, 0.5, 1], 0.95) == 0.0
    assert curves.saved([0.96, 0.97, 0.97], [0, 0.5, 1], 0.95) == 1.0


def test_value_of_one_more_label():
    posterior = np.array([[0.1, 0.5, 0.4], [0.05, 0.9, 0.05], [0.02, 0.96, 0.02], [1 / 3, 1 / 3, 1 / 3]])
    assert value.value_of_information(posterior, 0.95) == near(0.45, 0.05, 0, 0.616667)
    assert value.value_of_information(posterior[:1], 0.8) == near(0.3)


def test_the_accuracy_of_people_follows_from_their_agreement():
    assert value.accuracy_from_agreement(0.92) == near(0.9587)
    nobody_twice = np.array([[1, 0, 0], [0, 1, 0.0]])
    assert value.accuracy_of_people(nobody_twice) == near(0.95)
    # 900 pairs of labels of which 92% agree, and 30 assumed ones of 90.375%.
    twice = np.array([[0, 2, 0.0]] * 828 + [[0, 1, 1.0]] * 72)
    assert value.accuracy_of_people(twice) == near((1 + (6 * (828 + 30 * 0.90375) / 930 - 2) ** 0.5) / 3)


def test_people_outvote_the_posterior_and_it_settles_their_ties():
    votes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1], [2, 1, 1.0]])
    posterior = np.array([[0.2, 0.5, 0.3]] * 4)
    assert list(value.settled(votes, posterior)) == [1, 2, 1, 0]


def test_corrected_mean():
    judge = np.array([1, 1, 0, 0.5, 1])
    human = np.array([1, 0, np.nan, 1, np.nan])
    bought = np.array([1, 1, 0, 1, 0])
    propensity = np.array([1, 0.5, 0.2, 0.5, 0.2])
    assert judge.mean() == near(0.7)
    assert certifying.corrected_mean(judge, human, bought, propensity) == near(0.5)
    # Truncated at 1 nothing is scaled up: .7 + (−1 + .5)/5.
    assert certifying.corrected_mean(judge, human, bought, propensity, least=1.0) == near(0.6)


def test_certified_accuracy_counts_each_stratum_by_its_size():
    strata = [certifying.Stratum(600, 100, 90), certifying.Stratum(0, 0, 0)]
    certificate = certifying.certified(400, 0.95, strata)
    # (400·.95 + 600·.9)/1000, SE = .6·√(.9·.1/100).
    assert (certificate.accuracy, certificate.error) == near(0.92, 0.018)
    # Wilson's interval of 90 of 100 is [.825634, .944771]; people's .95 is taken for certain.
    assert (certificate.low, certificate.high) == near(0.92 - 0.6 * (0.9 - 0.825634), 0.92 + 0.6 * 0.044771)
    doubted = certifying.certified(400, 0.95, strata, (0.9, 0.97))
    assert doubted.low == near(0.92 - ((0.6 * 0.074366) ** 2 + (0.4 * 0.05) ** 2) ** 0.5)
    perfect = certifying.certified(0, 0.95, [certifying.Stratum(100, 10, 10)])
    assert (perfect.accuracy, perfect.error, perfect.high) == (1, 0, 1)
    assert perfect.low == near(0.722467), "ten right of ten are not certainty"
    with pytest.raises(ValueError, match="no random audit"):
        certifying.certified(10, 0.95, [certifying.Stratum(5, 0, 0)])
    # ½·½ of nothing but unaudited labels, ± 3 points: 1.96²/.03²/4.
    assert certifying.audits_wanted(100, [certifying.Stratum(100, 0, 0)], 0.03) == 1068
    assert certifying.audits_wanted(100, [certifying.Stratum(0, 0, 0)], 0.03) == 0
    assert certifying.audits_wanted(1000, [certifying.Stratum(10, 20, 20)], 0.03) == 0


def test_bald_in_nats():
    mean, variance = np.array([0, 0, 0, 1, 2, 2.0]), np.array([0.25, 1, 4, 1, 1, 4])
    assert acquiring.bald(mean, variance) == near(0.028665, 0.093709, 0.231138, 0.081427, 0.054164, 0.1766)


def test_facility_location_covers_before_it_repeats():
    similarity = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1.0]])
    chosen = acquiring.facility_location(similarity, 2)
    assert {chosen[0] in (0, 1), chosen[1] in (0, 1)} == {True, False}
    assert len(acquiring.facility_location(similarity, 9)) == 4


def test_a_batch_for_a_head_covers_what_is_informative_and_takes_mirrors_for_one():
    assert acquiring.similarity(np.array([[1, 0], [-2, 0], [0, 3.0]])) == near([1, 1, 0], [1, 1, 0], [0, 0, 1])
    points = np.array([[1, 0], [-1, 0.1], [0, 1], [1, 1.0]])
    assert acquiring.spread_out(points, np.array([1, 1, 0.2, 0.1]), 2) in ([0, 2], [1, 2])
    assert acquiring.spread_out(points, np.array([0, 0, 1, 0.1]), 1) == [2]


def test_percentile_bins_are_half_open_and_frozen():
    frozen = counting.percentiles(np.arange(1, 10)[:, None].astype(float))
    values = np.array([0, 1, 3, 4, 6, 9.0])[:, None]
    assert frozen.share(values)[:, 0] == near(0, 0.1111, 0.3333, 0.4444, 0.6667, 1)
    bins = frozen.bins(values)[:, 0]
    assert list(np.bincount(bins)) == [2, 2, 2]
    # Binning a part gives each value the bin that it has in the whole.
    assert list(frozen.bins(values[3:])[:, 0]) == list(bins[3:])


def test_a_gain_over_counts_is_learned_and_its_greedy_choice_saturates():
    rng = np.random.default_rng(0)
    rows = counting.indicators(rng.integers(0, 3, size=(60, 1)))
    true = counting.Gain(0.6, np.array([0.08, 0.0, 0.05]))
    counts = np.array([rows[chosen].sum(axis=0) for chosen in counting.mixtures(rows, 200, rng)])
    gain = counting.fitted(counts, true.value(counts))
    assert gain.weights == pytest.approx(true.weights, abs=5e-3)
    chosen = rows[counting.greedy(true, rows, np.zeros(3), 12)].argmax(axis=1)
    assert chosen[0] == 0
    assert set(chosen) == {0, 2}
    assert counting.greedy(true, rows, np.zeros(3), 12, price=1.0) == []
    exhaustive, kept = [], np.zeros(3)
    left = list(range(60))
    for _ in range(12):
        best = max(left, key=lambda place: true.singly(rows[[place]], kept)[0])
        exhaustive.append(rows[best].argmax())
        kept, left = kept + rows[best], [place for place in left if place != best]
    assert list(chosen) == exhaustive


def test_errors_of_a_judge_are_learned_from_propensity_weighted_labels():
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(400, 3))
    wrong = (rng.random(400) < 1 / (1 + np.exp(-2 * columns[:, 0] + 1))).astype(int)
    model = judge_errors.fit_errors(columns, wrong, np.ones(400))
    found = model.probability(columns)
    assert found[wrong == 1].mean() > found[wrong == 0].mean() + 0.2
    assert found.mean() == pytest.approx(wrong.mean(), abs=0.03)
    # Wrong ones were sent to people four times as often; the weights take that back.
    propensity = np.where(wrong == 1, 0.8, 0.2)
    kept = rng.random(400) < propensity
    weighed = judge_errors.fit_errors(columns[kept], wrong[kept], propensity[kept]).probability(columns).mean()
    naive = judge_errors.fit_errors(columns[kept], wrong[kept], np.ones(kept.sum())).probability(columns).mean()
    assert abs(weighed - wrong.mean()) < 0.06 < naive - wrong.mean()


@pytest.mark.parametrize("wrong", [np.zeros(50, int), np.ones(50, int), np.array([0, 1] * 5)])
def test_nothing_is_learned_about_a_judge_from_one_class_or_a_handful(wrong):
    assert judge_errors.fit_errors(np.zeros((len(wrong), 2)), wrong, np.ones(len(wrong))) is None


def test_a_modest_posterior_is_sharpened_by_the_power_that_made_it_modest():
    rng = np.random.default_rng(0)
    true = rng.dirichlet([0.3, 0.3, 0.3], size=4000)
    labels = np.eye(3)[[rng.choice(3, p=row) for row in true]]
    modest = calibrating.sharpened(true, 0.4)
    assert calibrating.sharpness(modest, labels) == pytest.approx(2.5, rel=0.06)
    assert calibrating.sharpened(modest, 2.5) == pytest.approx(true, abs=1e-9)
    assert calibrating.sharpened(np.array([[0.5, 0.3, 0.2]]), 2) == near([25 / 38, 9 / 38, 4 / 38])
    # Nothing to learn from, or one label: near 1.
    assert calibrating.sharpness(modest[:0], labels[:0]) == 1.0
    assert calibrating.sharpness(modest[:1], labels[:1]) == pytest.approx(1, abs=0.4)


def test_the_accuracy_of_people_is_not_misled_by_second_labels_bought_where_the_first_surprised():
    rng = np.random.default_rng(1)
    posterior = np.tile([0.02, 0.9, 0.08], (3000, 1))
    true = np.array([rng.choice(3, p=row) for row in posterior])

    def asked():
        wrong = (true + rng.integers(1, 3, 3000)) % 3
        return np.eye(3)[np.where(rng.random(3000) < 0.9, true, wrong)]

    first, second = asked(), asked()
    votes = first + second * (first[:, [1]] == 0)
    assert calibrating.accuracy_given(posterior, votes) == pytest.approx(0.9, abs=0.015)
    assert value.accuracy_of_people(votes) < 0.8


def test_what_a_pair_cannot_have_says_nothing_of_the_judge():
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(200, 2))
    wrong = (columns[:, 0] > 0).astype(int)
    columns[::4, 1] = np.nan
    model = judge_errors.fit_errors(columns, wrong, np.ones(200))
    mean = np.nanmean(columns[:, 1])
    found = model.probability(np.array([[1.0, np.nan], [1.0, mean]]))
    assert found[0] == pytest.approx(found[1])
    assert found[0] > 0.6
