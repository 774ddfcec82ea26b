"""The watch for change: how often it cries wolf, and how soon it sees a wolf."""

import numpy as np
import pytest

from pipeline.quality.drifting import ALPHA, WARM_UP, change_point, draw_of, p_values, watch

pytestmark = pytest.mark.database_free


def errors(seed, *stretches):
    """Errors of stretches of (audits, error rate), with the draws that cut ties."""
    draw = np.random.default_rng(seed)
    made = np.concatenate([(draw.random(n) < rate).astype(float) for n, rate in stretches])
    return made, draw.random(len(made))


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_a_judge_that_does_not_change_is_rarely_called_changed(rate):
    """At most 5% ever, looked at after each of 200 audits: 300 judges give at most 5% + 2 standard errors."""
    alarms = sum(watch(*errors(seed, (200, rate)))["alarm"] is not None for seed in range(300))
    assert alarms / 300 <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / 300) ** 0.5


def test_a_judge_that_becomes_worse_is_found_and_when_it_began():
    found = [watch(*errors(seed, (100, 0.1), (150, 0.4))) for seed in range(40)]
    caught = [each for each in found if each["alarm"] is not None and each["alarm"] >= 100]
    assert len(caught) >= 36
    assert np.median([each["alarm"] for each in caught]) <= 150
    assert np.median([each["change"] for each in caught]) == pytest.approx(100, abs=15)
    assert np.median([each["since"] for each in caught]) == pytest.approx(0.4, abs=0.08)


def test_a_judge_that_becomes_better_is_no_alarm():
    alarms = [watch(*errors(seed, (100, 0.4), (150, 0.1)))["alarm"] for seed in range(20)]
    assert all(alarm is None or alarm < 100 for alarm in alarms)


def test_a_p_value_is_the_share_of_audits_so_far_that_went_worse():
    # of the audit itself and those before it: none worse and one alike, cut in half; …; one of four worse, one alike
    found = p_values(np.array([0.0, 1.0, 0.0, 0.5]), np.full(4, 0.5))
    assert found == pytest.approx([0.5 / 1, 0.5 / 2, (1 + 1) / 3, (1 + 0.5) / 4])


def test_where_it_most_likely_began():
    assert change_point([0, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1]) == 6
    assert change_point([1, 1, 0, 1, 0, 0, 0.5, 0, 0, 1]) == 9  # only where errors become more frequent


def test_the_first_audits_only_tell_what_is_usual():
    assert watch([1.0] * WARM_UP, [0.5] * WARM_UP)["wealth"] == 1.0
    assert watch([], [])["before"] is None


def test_the_same_audits_give_the_same_word():
    assert draw_of("17") == draw_of("17")
    assert 0 <= draw_of("17") < 1
    assert draw_of("17") != draw_of("18")
