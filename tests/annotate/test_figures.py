"""Numbers as people read them, and what a page shows where there is none."""

import pytest
from django.template import Context, Template

from annotate.templatetags import figures

pytestmark = pytest.mark.database_free


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(41, "41 s"), (200, "3 min 20 s"), (4860, "1 h 21 min"), (183_600, "2 d 3 h"), (0.4, "0 s"), (None, "–")],
)
def test_a_span_of_time_is_said_in_its_two_largest_units(seconds, words):
    assert figures.span(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(12, "12 B"), (3_100_000_000, "3.1 GB"), (1500, "1.5 kB")])
def test_a_size_is_said_in_the_unit_that_fits(count, words):
    assert figures.size(count) == words


def test_shares_and_intervals():
    assert figures.percent(0.684, 1) == "68.4%"
    assert figures.interval(0.649, 0.717) == "64.9 – 71.7%"


def test_what_is_not_known_is_a_dash_and_never_an_error():
    """A report may lack a number, and a page must then say so."""
    page = "{{ a.b|percent }} {{ a.b|figure }} {{ a.b|span }} {{ a.b|size }} {% interval a.b a.c %}."
    assert Template(page).render(Context({"a": {}})) == "– – – – ."
