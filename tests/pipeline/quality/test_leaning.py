"""Leanings: measured against people's on the same items."""

import numpy as np
import pytest

from pipeline.quality.leaning import Compared, lean, position, report, slices, traits_of

pytestmark = pytest.mark.database_free


def row(number=0, judge=1.0, people=None, longer=1, **more):
    values = {"places": (), "orders": 2, "same": True, "traits": {"longer": longer}, **more}
    return Compared(prompt=f"p{number}", judge=judge, people=people, **values)


def test_traits_say_which_response_has_more():
    texts = ("# Title\n\n- one\n- two\n\nA **bold** word and many more words", "1. one")
    assert traits_of(texts, ("gpt-4", "llama"), "openai/GPT-4") == {
        "longer": 1, "lists": 1, "headings": 1, "bold": 1, "own model": 1,
    }  # fmt: skip
    assert traits_of(("same words", "also same"), ("x", "x"), "x")["own model"] == 0
    assert "own model" not in traits_of(("a", "b"), ("x", "y"), "")


def test_a_judge_that_takes_the_longer_answer_as_often_as_people_has_no_bias():
    rows = [row(n, judge=float(n % 2), people=float(n % 2)) for n in range(40)]
    found = lean(rows, "longer")
    assert (found["judge"], found["people"], found["difference"], found["found"]) == (0.5, 0.5, 0.0, False)


def test_a_judge_that_takes_the_longer_answer_more_often_has_one():
    rows = [row(n, judge=1.0, people=float(n % 2)) for n in range(40)]
    found = lean(rows, "longer")
    assert (found["judge"], found["people"], found["difference"]) == (1.0, 0.5, 0.5)
    assert found["low"] > 0.3
    assert found["found"]


def test_the_side_of_the_trait_counts_and_what_is_alike_does_not():
    rows = [row(1, judge=0.0, longer=-1), row(2, judge=0.0, longer=-1), row(3, judge=1.0, longer=-1)]
    rows += [row(4, judge=1.0, longer=0), row(5, judge=0.5)]
    assert (lean(rows, "longer")["all"]["share"], lean(rows, "longer")["all"]["n"]) == (pytest.approx(2 / 3), 3)


def test_pairs_of_one_prompt_are_drawn_together():
    """Ten pairs of one prompt say hardly more than one: their interval is that of few prompts."""
    alone = [row(n, judge=1.0, people=float(n % 4 > 0)) for n in range(40)]
    together = [row(n // 10, judge=1.0, people=float(n // 10 > 0)) for n in range(40)]
    wide = lean(together, "longer")
    narrow = lean(alone, "longer")
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])
    assert lean([row(1, people=0.0)], "longer")["low"] is None  # one prompt knows no interval


def test_position_counts_places_only_where_the_orders_differ():
    rows = [
        row(1, places=(True, False), same=True),
        row(2, places=(True, True), same=False),
        row(3, places=(True, True), same=False),
        row(4, places=(False, False), same=False),
        row(5, places=(True,), orders=1),
    ]
    found = position(rows)
    assert (found["consistent"]["share"], found["consistent"]["n"]) == (0.25, 4)
    assert (found["first"]["share"], found["first"]["n"]) == (pytest.approx(2 / 3), 3)


def test_slices_hold_audits_only_the_largest_first():
    rows = [row(n, right=float(n > 0), slices={"tag": ["mail"] if n < 3 else ["code"]}) for n in range(5)]
    rows.append(row(9, right=None, slices={"tag": ["code"]}))
    assert [(each["name"], each["n"], each["share"]) for each in slices(rows)["tag"]] == [
        ("mail", 3, pytest.approx(2 / 3)),
        ("code", 2, 1.0),
    ]


def test_where_many_traits_are_looked_at_what_chance_finds_is_not_called_a_lean():
    """Twenty judges without any lean, five traits each: hardly one is called leaning, though intervals are of 95%."""
    called = beyond = 0
    names = ("longer", "lists", "headings", "bold", "own model")
    for seed in range(20):
        draw = np.random.default_rng(seed)
        rows = [
            Compared(
                prompt=f"p{number}", judge=float(draw.random() < 0.5), people=float(draw.random() < 0.5), places=(),
                orders=2, same=True, traits={name: int(draw.choice([-1, 1])) for name in names},
            )
            for number in range(120)
        ]  # fmt: skip
        found = report(rows)["traits"].values()
        called += any(row["found"] for row in found)
        beyond += any(row["low"] > 0 or row["high"] < 0 for row in found)
    assert called <= 3
    assert beyond > called


def test_weeks_stand_in_their_order_and_other_slices_by_size():
    rows = [row(1, right=1.0, slices={"week": ["2026 week 03"], "tag": ["rare"]})]
    rows += [row(n, right=0.0, slices={"week": ["2026 week 04"], "tag": ["often"]}) for n in range(2, 5)]
    found = slices(rows)
    assert [each["name"] for each in found["week"]] == ["2026 week 03", "2026 week 04"]
    assert [each["name"] for each in found["tag"]] == ["often", "rare"]
