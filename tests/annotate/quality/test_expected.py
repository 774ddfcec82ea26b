"""What counts as the expected answer, for each kind of question."""

import pytest

from annotate.quality.expected import missed

pytestmark = pytest.mark.database_free

A1, A2, B1, TIE = {"choice": "a", "strength": 1}, {"choice": "a", "strength": 2}, {"choice": "b", "strength": 1}, {
    "choice": "tie"
}  # fmt: skip


def passage(start: int, end: int) -> dict:
    return {"response": 0, "start": start, "end": end, "text": "", "tag": "wrong"}


@pytest.mark.parametrize(
    ("kind", "expected", "given", "tolerance", "right"),
    [
        ("preference", A2, A1, None, True),
        ("preference", A1, B1, None, False),
        ("preference", A1, TIE, 1, True),  # one step from “a by 1” towards b
        ("preference", A1, B1, 1, False),
        ("preference", A1, B1, 2, True),
        ("preference", {"choice": "both_bad"}, {"choice": "both_bad"}, 1, True),
        ("preference", {"choice": "a", "strength": 1}, {"choice": "unsure"}, 3, False),
        ("rating", [4, 2], [4, 2], None, True),
        ("rating", [4, 2], [5, 2], None, False),
        ("rating", [4, 2], [5, 1], 1, True),
        ("rating", [4, None], [4, 1], None, True),
        ("rating", [4, 2], [4, None], 1, False),
        ("ranking", [1, 2, 2], [1, 2, 2], None, True),
        ("ranking", [1, 2, 3], [2, 1, 3], None, False),
        ("ranking", [1, 2, 3], [2, 1, 3], 1, True),
        ("choice", ["x", "y"], ["y", "x"], None, True),
        ("choice", ["x"], ["x", "y"], None, False),
        ("step", [["good", "bad"]], [["good", "good"]], None, False),
        ("step", [["good", "bad"]], [["good", "good"]], 1, True),
        ("step", [["good", None]], [["good", "bad"]], None, True),
        ("span", [passage(0, 10)], [passage(0, 10)], None, True),
        ("span", [passage(0, 10)], [passage(5, 15)], None, True),  # F1 exactly a half
        ("span", [passage(0, 10)], [passage(6, 16)], None, False),
        ("span", [passage(0, 10)], [passage(6, 16)], 0.1, True),
        ("span", [], [], None, True),
        ("span", [passage(0, 10)], [], None, False),
    ],
)
def test_what_is_right(kind, expected, given, tolerance, right):
    wrong = missed({"q": kind}, {"q": expected}, {"q": given}, {} if tolerance is None else {"q": tolerance})
    assert wrong == ([] if right else ["q"])


def test_a_question_left_out_is_missed_and_one_that_is_gone_is_not():
    kinds = {"q": "rating", "why": "critique"}
    assert missed(kinds, {"q": [1], "why": {"text": "x"}, "gone": [1]}, {}, {}) == ["q"]
