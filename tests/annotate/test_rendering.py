"""Answers come from strangers: they are shown well and can do nothing."""

import re
from html.parser import HTMLParser

import pytest

from annotate import attachments
from annotate.questions.aligning import text_of_html
from annotate.rendering import to_html, with_pictures

pytestmark = pytest.mark.database_free


def test_markdown_tables_and_code_are_rendered():
    html = to_html("| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('x')\n```")
    assert '<table dir="ltr">' in html
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
    for tag in ("td", "th"):
        assert f'<{tag} dir="auto">' in html
    for tag in ("ul", "li", "blockquote", "table"):
        assert f'<{tag} dir="ltr">' in html


def test_code_and_tables_scroll_in_frames_of_their_own_and_code_is_read_from_the_left():
    html = to_html("```\nx < 1\n```\n\n    indented\n\n| a |\n|---|\n| b |")
    assert html.count('<div class="code"><pre dir="ltr">') == 2
    assert "x &lt; 1" in html
    assert re.search(r'<div class="table" dir="ltr"><table dir="ltr">.*</table>\s*</div>', html, re.DOTALL)


class Attributes(HTMLParser):
    """Collects the names of all attributes, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.names.update(name for name, _value in attrs)

    @classmethod
    def of(cls, html: str) -> set[str]:
        reader = cls()
        reader.feed(html)
        return reader.names


SHA = "a1" * 32
PICTURE = attachments.Shown(address="/p/x/attachments/a1/", width=80, height=40)


def test_a_picture_of_ours_is_a_button_with_its_size_and_its_words_below():
    html = with_pictures(to_html(f"See ![a *red* field & <b>](attachment:{SHA})"), {SHA: PICTURE})
    assert (
        '<img src="/p/x/attachments/a1/" width="80" height="40" alt="a red field &amp; &lt;b&gt;" loading="lazy"'
        in html
    )
    assert (
        '<button type="button" data-zoom="/p/x/attachments/a1/" data-width="80" data-height="40" '
        'aria-label="Enlarge the picture: a red field &amp;' in html
    )
    assert html.count('<span class="caption">a red field &amp; &lt;b&gt;</span>') == 1
    bare = with_pictures(to_html(f"![](attachment:{SHA})"), {SHA: PICTURE})
    assert 'aria-label="Enlarge the picture"' in bare
    assert "caption" not in bare


def test_a_high_picture_is_shown_smaller_and_knows_its_size():
    html = with_pictures(to_html(f"![](attachment:{SHA})"), {SHA: attachments.Shown("/x", 500, 2000)})
    assert 'data-width="500" data-height="2000"' in html
    assert 'width="110" height="440"' in html


def test_the_text_of_a_page_is_the_same_with_and_without_its_pictures():
    """Passages are marked by where they stand in it."""
    html = to_html(f"Before ![a red field](attachment:{SHA}) after.\n\n![](attachment:{SHA})")
    assert text_of_html(with_pictures(html, {SHA: PICTURE})) == text_of_html(html)


def test_a_picture_that_is_not_there_stays_its_words():
    html = with_pictures(to_html(f"![a red field](attachment:{SHA})"), {})
    assert "<img" not in html
    assert "a red field" in html


@pytest.mark.parametrize(
    "attack",
    [
        f'<span class="picture" data-attachment="{SHA}">x</span>',
        f'![" onerror="alert(1)](attachment:{SHA})',
        f"![<img src=x onerror=alert(1)>](attachment:{SHA})",
        f"[link](attachment:{SHA})",
        f"![x](attachment:{SHA}/../../admin)",
        f"![x](ATTACHMENT:{SHA})",
        "![x](attachment:short)",
        f"`![x](attachment:{SHA})`",
        "![x](data:image/png;base64,AAAA)",
        "![x](//example.org/a.png)",
    ],
)
def test_no_words_make_more_of_a_picture_than_itself(attack):
    html = with_pictures(to_html(attack), {SHA: PICTURE})
    assert [source for source in re.findall(r'<img[^>]* src="([^"]*)"', html) if source != PICTURE.address] == []
    assert not {name for name in Attributes.of(html) if name.startswith("on")}
    assert re.search(r'href="(attachment|data):', html) is None


def test_any_other_image_is_a_link_and_loads_nothing():
    html = to_html("![a cat](https://example.org/cat.png) ![](https://example.org/dog.png) ![bird](bird.png)")
    assert "<img" not in html
    assert re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', html) == [
        ("https://example.org/cat.png", "a cat"),
        ("https://example.org/dog.png", "https://example.org/dog.png"),
    ]
    assert "bird" in html


@pytest.mark.parametrize(
    ("words", "direction"), [("one", "ltr"), ("واحد", "rtl"), ("1 واحد one", "rtl"), ("12", "ltr")]
)
def test_lists_tables_and_quotations_follow_their_own_words_whatever_the_page(words, direction):
    for source, tag in (("- {}", "ul"), ("| {} |\n|---|", "table"), ("> {}", "blockquote"), ("- a\n\n  {}", "li")):
        html = to_html(source.format(words))
        expected = "ltr" if tag == "li" else direction
        assert f'<{tag} dir="{expected}">' in html
