"""When the work will be done: literal numbers, and what cannot be said."""

import pytest

from annotate.statistics.forecast import forecast

pytestmark = pytest.mark.database_free


def test_an_even_pace_leaves_no_doubt():
    found = forecast([50, 50, 50, 50], 200)
    assert (found.days, found.low, found.high) == (4.0, 4.0, 4.0)


def test_an_uneven_pace_widens_the_interval_around_the_mean():
    found = forecast([0, 0, 100, 100, 100, 100, 100], 1000)
    assert found.days == pytest.approx(14.0)
    assert found.low == pytest.approx(10.0)
    assert found.high == pytest.approx(23.3, abs=1.5)


def test_two_days_or_no_work_say_nothing():
    assert forecast([10, 10], 5) is None
    assert forecast([0, 0, 0], 5) is None


def test_a_pace_that_may_be_none_has_no_end():
    assert forecast([0, 0, 0, 0, 1], 1000).high is None


def test_nothing_left_is_now():
    assert forecast([5, 5, 5], 0).days == 0.0
