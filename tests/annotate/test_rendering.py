"""Answers come from strangers: they are shown well and can do nothing."""

import re

import pytest

from annotate.rendering import to_html

pytestmark = pytest.mark.database_free


def test_markdown_tables_and_code_are_rendered():
    html = to_html("| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('x')\n```")
    assert "<table>" in html
    assert '<span class="nb">print</span>' in html


def test_latex_becomes_mathml():
    html = to_html(r"The mean is $\frac{a+b}{2}$.")
    assert "<mfrac>" in html
    assert "<math" in html


def test_broken_latex_stays_as_written():
    assert r"\begin{matrix} a" in to_html(r"$\begin{matrix} a$")


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[click](javascript:alert(1))",
        "![pixel](https://example.org/track.png)",
        '<a href="data:text/html,x">x</a>',
        "```html\n<script>alert(1)</script>\n```",
        r"$\text{<script>alert(1)</script>}$",
        '<p style="position:fixed">x</p>',
    ],
)
def test_nothing_in_an_answer_runs_or_loads(attack):
    html = to_html(attack).lower()
    assert "<script" not in html
    assert "<img" not in html
    assert re.search(r'<a[^>]*href="(javascript|data)', html) is None
    assert "<p style" not in html


def test_links_tell_nothing_about_the_reader():
    assert 'rel="noopener noreferrer nofollow"' in to_html("[site](https://example.org)")


def test_each_block_is_read_from_its_own_side():
    html = to_html("Hello.\n\nمرحبا\n\n- one\n\n> two\n\n| a |\n|---|\n| b |")
    assert html.count('<p dir="auto">') >= 3
    for tag in ("li", "blockquote", "td", "th"):
        assert f'<{tag} dir="auto">' in html


def test_code_and_tables_scroll_in_frames_of_their_own_and_code_is_read_from_the_left():
    html = to_html("```\nx < 1\n```\n\n    indented\n\n| a |\n|---|\n| b |")
    assert html.count('<div class="code"><pre dir="ltr">') == 2
    assert "x &lt; 1" in html
    assert re.search(r'<div class="table"><table>.*</table>\s*</div>', html, re.DOTALL)
