"""Two ways to judge on the same items, and phrases by contrast."""

import pytest

from pipeline.quality.comparing import Pair, compare
from pipeline.quality.phrasing import contrast, phrases_of, z

pytestmark = pytest.mark.database_free


def pairs(better, worse, same, prompts=None):
    rows = [(0.0, 1.0)] * better + [(1.0, 0.0)] * worse + [(1.0, 1.0)] * same
    return [Pair(f"p{n % prompts if prompts else n}", *row) for n, row in enumerate(rows)]


def test_a_way_that_is_nearer_to_people_on_more_items_than_chance():
    found = compare(pairs(10, 2, 28))
    assert (found["n"], found["present"], found["proposed"]) == (40, 0.75, 0.95)
    assert found["difference"] == pytest.approx(0.2)
    # McNemar's exact test: 2 · (66 + 12 + 1) / 2¹²
    assert found["p"] == pytest.approx(2 * 79 / 4096)
    assert found["low"] > 0
    assert found["points"] == "toward"


@pytest.mark.parametrize(
    ("rows", "points"),
    [((2, 10, 28), "away"), ((4, 3, 33), "unclear"), ((10, 0, 5), "few"), ((0, 0, 40), "unclear")],
)
def test_which_way_it_points(rows, points):
    assert compare(pairs(*rows))["points"] == points


def test_items_of_few_prompts_prove_nothing():
    assert compare(pairs(10, 0, 30))["points"] == "toward"
    assert compare(pairs(10, 0, 30, prompts=9))["points"] == "few"


def test_items_that_never_differ_leave_room_for_some_that_would():
    found = compare(pairs(0, 0, 40))
    assert (found["difference"], found["high"]) == (0.0, pytest.approx(0.0722, abs=1e-4))  # 1 − 0.05^(1/40)


def test_nothing_to_compare():
    found = compare([])
    assert (found["n"], found["difference"], found["p"], found["points"]) == (0, None, 1.0, "few")


def test_phrases_begin_and_end_with_words_that_say_something():
    assert phrases_of("It gives a clear source, and it's short.") == {
        "gives", "gives a clear", "clear", "clear source", "source", "source and it's", "it's", "short", "it's short",
    }  # fmt: skip


def test_the_contrast_is_the_log_odds_ratio_over_its_error():
    # 8 of 10 texts against 1 of 10: ln(8.5/2.5 · 9.5/1.5) = 3.0696, error √(1/8.5 + 1/2.5 + 1/1.5 + 1/9.5) = 1.1356
    assert z(8, 10, 1, 10) == pytest.approx(2.703, abs=1e-3)
    assert z(3, 10, 3, 10) == 0


def test_what_is_said_of_preferred_answers_only_stands_out_and_each_word_once():
    preferred = ["It cites sources.", "cites sources well", "cites sources", "Cites sources, short.", "polite, kind"]
    others = ["too long", "polite tone", "rude", "no point", "polite, kind"]
    found = contrast(preferred * 2, others * 2)
    assert [(each.words, each.preferred, each.others) for each in found] == [("cites sources", 8, 0)]
    assert contrast([], others) == []
