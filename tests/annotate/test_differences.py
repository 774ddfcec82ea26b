"""Where two texts differ: exact, without loss, and quick."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.differences import common, differences

pytestmark = pytest.mark.database_free


def marked(column) -> str:
    return "".join(f"[{piece.text}]" if piece.differs else piece.text for piece in column.pieces)


def test_the_words_that_differ_are_marked_on_both_sides():
    left, right = differences("The quick brown fox jumps over it.", "The slow brown fox jumps on it, too.")
    assert marked(left) == "The [quick] brown fox jumps [over] it."
    assert marked(right) == "The [slow] brown fox jumps [on] it[, too]."
    assert (left.words, left.changed) == (8, 2)
    assert (right.words, right.changed) == (10, 4)


def test_neighbours_that_differ_are_one_piece():
    left, right = differences("one two three", "one 2 3")
    assert marked(left) == "one [two three]"
    assert marked(right) == "one [2 3]"


def test_a_word_that_agrees_by_chance_does_not_cut_a_new_sentence():
    left, right = differences(
        "Boil water first and then put the eggs into it.", "My aunt swears by steam instead the whole kitchen hums."
    )
    assert marked(left).count("[") == marked(right).count("[") == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [("", ""), ("", "all new"), ("the same, to the sign!", "the same, to the sign!"), ("مرحبا بكم", "مرحبا بك")],
)
def test_ends_and_other_scripts(left, right):
    columns = differences(left, right)
    assert ["".join(piece.text for piece in column.pieces) for column in columns] == [left, right]
    assert (left == right) == all(column.changed == 0 for column in columns)


words = st.lists(st.sampled_from("abcd"), max_size=30)


@given(words, words)
def test_the_common_words_are_a_longest_common_subsequence(first, second):
    pairs = common(first, second)
    assert all(first[one] == second[other] for one, other in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in zip(pairs, pairs[1:], strict=False))
    assert len(pairs) == length_by_table(first, second)


def length_by_table(first, second) -> int:
    """The textbook's table, slow and plain."""
    row = [0] * (len(second) + 1)
    for one in first:
        before = row[:]
        for place, other in enumerate(second, start=1):
            row[place] = before[place - 1] + 1 if one == other else max(before[place], row[place - 1])
    return row[-1]


@given(st.text("ab \n.,", max_size=60), st.text("ab \n.,", max_size=60))
def test_nothing_of_a_text_is_lost(left, right):
    columns = differences(left, right)
    assert ["".join(piece.text for piece in column.pieces) for column in columns] == [left, right]


def test_many_changes_in_a_long_text_are_all_found():
    drawn = random.Random(7)
    left = [f"w{int(drawn.paretovariate(0.6)) % 3000}" for _ in range(5000)]
    right = [word if drawn.random() < 0.7 else f"v{drawn.randrange(500)}" for word in left]
    columns = differences(" ".join(left), " ".join(right))
    assert columns[0].changed >= sum(one != other for one, other in zip(left, right, strict=True)) * 0.9


def test_very_long_texts_are_compared_by_line():
    same = "\n".join(f"line {n} of a very long text" for n in range(4000))
    left, right = differences(same + "\nlast a", same + "\nlast b")
    assert [piece.text for piece in left.pieces if piece.differs] == ["last a"]
    assert (right.words, right.changed) == (4001, 1)
