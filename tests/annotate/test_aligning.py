"""Where words on the page stand in the Markdown that they were made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.questions.aligning import align, text_of_html, to_source
from annotate.rendering import to_html

pytestmark = pytest.mark.database_free


def source_of(words: str, markdown: str) -> str:
    """The part of the source that these rendered words stand for."""
    rendered = text_of_html(to_html(markdown))
    start = rendered.index(words)
    begin, end = to_source(align(rendered, markdown), start, start + len(words), len(markdown))
    return markdown[begin:end]


@pytest.mark.parametrize(
    ("markdown", "words", "found"),
    [
        ("Some **bold** and _slanted_ words.", "bold and slanted", "bold** and _slanted"),
        ("# Title\n\n- first `code` here\n- second", "code here", "code` here"),
        ("| a | b |\n|---|---|\n| one | two |\n| three | four |", "three", "three"),
        ("```python\nfor x in y:\n    print(x)  # x\n```\nThen x.", "print(x)  # x", "print(x)  # x"),
        ("The sum is $\\frac{a}{b}$ and so on.", "and so on", "and so on"),
        ("Great 👍🏽 work 👩‍👩‍👧, truly.", "👩‍👩‍👧, truly", "👩‍👩‍👧, truly"),
        ("هذا **مهم** جدا للقارئ", "مهم جدا", "مهم** جدا"),
        ("a [link](http://example.org/a/link) to it", "link to it", "link](http://example.org/a/link) to it"),
        ("R&amp;D is 2 &lt; 3", "D is 2 < 3", "D is 2 &lt; 3"),
        ("the cat the dog **the** bird the end", "the bird", "the** bird"),
        ("snake_case and 2 * 3 * 4", "2 * 3", "2 * 3"),
        ("line one  \nline two\n\n1. ein\n2. zwei", "line two\n\nein", "line two\n\n1. ein"),
        ("<b>raw</b> html", "<b>raw</b>", "<b>raw</b>"),
    ],
)
def test_words_on_the_page_are_found_in_the_source(markdown, words, found):
    assert source_of(words, markdown) == found


def test_a_sign_that_the_source_does_not_have_stands_for_the_formula_around_it():
    markdown = "so $\\sqrt{x}\\le y$ holds"
    rendered = text_of_html(to_html(markdown))
    at = rendered.index("≤")
    begin, end = to_source(align(rendered, markdown), at, at + 1, len(markdown))
    assert "\\le" in markdown[begin:end]
    assert "holds" not in markdown[begin:end]


def test_a_long_repetitive_text_is_aligned_fast_and_right():
    markdown = "\n\n".join(f"**{n}.** the same words, the same `words`, again and again" for n in range(600))
    assert source_of("431. the same words, the same words", markdown) == "431.** the same words, the same `words"


@given(st.text(alphabet=st.sampled_from("ab *_`#\n->é👍ה"), max_size=60))
def test_runs_are_alike_and_in_order_whatever_is_written(markdown):
    rendered = text_of_html(to_html(markdown))
    runs = align(rendered, markdown)
    for at, there, size in runs:
        alike = zip(rendered[at : at + size], markdown[there : there + size], strict=True)
        assert all(a == b or (a.isspace() and b.isspace()) for a, b in alike)
    ends = [(at + size, there + size) for at, there, size in runs]
    assert all(end[0] <= run[0] and end[1] <= run[1] for end, run in zip(ends, runs[1:], strict=False))
