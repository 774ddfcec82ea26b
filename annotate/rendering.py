"""Markdown, code and maths as safe HTML, made on the server."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import unescape
from typing import Any, Protocol

import nh3
from django.utils.html import format_html
from django.utils.translation import gettext as _
from latex2mathml.converter import convert
from latex2mathml.exceptions import DenominatorNotFoundError, MissingEndError, NoAvailableTokensError
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MATHML = {
    "math", "semantics", "mrow", "mi", "mo", "mn", "ms", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac",
    "msqrt", "mroot", "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "menclose",
}  # fmt: skip
TAGS = nh3.ALLOWED_TAGS | MATHML | {"span", "pre", "code", "mark"}
ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": {"dir"},
    "span": {"class", "data-attachment"},
    "div": {"class"},
    "code": {"class"},
    "math": {"display", "xmlns"},
    "mo": {"stretchy", "fence", "form", "largeop", "movablelimits"},
    "mi": {"mathvariant"},
    "mtable": {"columnalign"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "td": {"align"},
    "th": {"align"},
}
LATEX_ERRORS = (
    DenominatorNotFoundError,
    MissingEndError,
    NoAvailableTokensError,
    IndexError,
    KeyError,
    ValueError,
)


# Each of these is read from the side where its own first letters say so.
BLOCKS = frozenset({"paragraph_open", "heading_open", "td_open", "th_open"})
# What holds blocks.
FRAMES = frozenset({"bullet_list_open", "ordered_list_open", "list_item_open", "blockquote_open", "table_open"})
REFERENCE = re.compile(r"attachment:([0-9a-f]{64})")
# What the cleaner makes of a picture's place: nobody's words can look like it, since raw HTML in them is escaped.
PLACE = re.compile(r'<span class="picture" data-attachment="([0-9a-f]{64})">([^<]*)</span>')
HIGHEST = 440  # pixels, of a picture among words; its width is bounded by the column
Rule = Callable[[RendererHTML, Sequence[Token], int, OptionsDict, EnvType], str]


def coloured(code: str, language: str, _attributes: str) -> str:
    """Source as spans with classes, where the language is known; an empty string leaves it to the renderer."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return highlight(code, lexer, HtmlFormatter(nowrap=True))


def mathml(latex: str, options: dict[str, Any]) -> str:
    """LaTeX as MathML; what cannot be read stays as it was written."""
    try:
        return convert(latex, display="block" if options.get("display_mode") else "inline")
    except LATEX_ERRORS:
        return nh3.clean_text(f"${latex}$")


def parser() -> MarkdownIt:
    # Raw HTML in an answer is shown as text, never run: html=False.
    made = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True, "highlight": coloured})
    made.enable(["table", "strikethrough"])
    made.use(dollarmath_plugin, allow_space=False, double_inline=True, renderer=mathml)
    made.core.ruler.push("direction", direct)
    made.add_render_rule("fence", code(RendererHTML.fence))
    made.add_render_rule("code_block", code(RendererHTML.code_block))
    made.add_render_rule("image", image)
    made.add_render_rule("table_open", open_table)
    made.add_render_rule("table_close", close_table)
    return made


def direct(state: StateCore) -> None:
    """Give every block its own writing direction: one answer may hold Arabic and English.

    A browser that looks for the direction of a list or a table passes over the blocks in it, which have their own: so
    it is said here, by the first letter in it.
    """
    for place, token in enumerate(state.tokens):
        if token.type in BLOCKS:
            token.attrSet("dir", "auto")
        elif token.type in FRAMES:
            token.attrSet("dir", direction_after(state.tokens, place))


def direction_after(tokens: Sequence[Token], place: int) -> str:
    """rtl or ltr, by the first letter in what follows a place; ltr where there is none."""
    for token in tokens[place:]:
        for sign in token.content if token.type == "inline" else "":
            kind = unicodedata.bidirectional(sign)
            if kind in ("L", "R", "AL"):
                return "ltr" if kind == "L" else "rtl"
    return "ltr"


def code(render: Rule) -> Rule:
    """Code in a frame of its own: it scrolls by itself, never the page, and is always read from the left."""

    def framed(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        shown = render(renderer, tokens, index, options, env).replace("<pre", '<pre dir="ltr"', 1)
        return f'<div class="code">{shown}</div>'

    return framed


def image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """A place for a picture of our own; any other becomes a link, or what it shows in words where it has none."""
    token = tokens[index]
    source = str(token.attrGet("src") or "")
    words = renderer.renderInlineAsText(token.children or [], options, env)
    own = REFERENCE.fullmatch(source)
    if own:
        return f'<span class="picture" data-attachment="{own[1]}">{escapeHtml(words)}</span>'
    if source.startswith(("http://", "https://")):
        return f'<a href="{escapeHtml(source)}">{escapeHtml(words or source)}</a>'
    return escapeHtml(words)


def open_table(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """A table scrolls in a frame of its own too, from its own side."""
    side = tokens[index].attrGet("dir")
    return f'<div class="table" dir="{side}">' + renderer.renderToken(tokens, index, options, env)


def close_table(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    return renderer.renderToken(tokens, index, options, env) + "</div>"


PARSER = parser()


@lru_cache(maxsize=2048)
def to_html(text: str) -> str:
    """Markdown (CommonMark with tables, fenced code, `$…$` maths) as HTML that is safe to put on a page.

    Links open elsewhere and pass no referrer; images become links, since loading them would tell a stranger who
    reads what. Pictures of our own, `attachment:<sha256>`, are left as places that `with_pictures` fills.
    """
    return nh3.clean(
        PARSER.render(text),
        tags=TAGS - {"img"},
        attributes=ATTRIBUTES,
        link_rel="noopener noreferrer nofollow",
        url_schemes={"http", "https", "mailto"},
    )


class Shown(Protocol):
    """What rendering needs of a picture: where it is, and its size in pixels."""

    @property
    def address(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def places_in(html: str) -> list[str]:
    """The hashes of the pictures that rendered text has places for."""
    return [found[1] for found in PLACE.finditer(html)]


def with_pictures(html: str, pictures: Mapping[str, Shown]) -> str:
    """Rendered text with its pictures (hash → picture) in their places; one that is not there stays its words.

    The text of the page is the same either way, so that what is marked in it lies where it lay.
    """

    def put(found: re.Match[str]) -> str:
        # The cleaner escapes words for where text stands, not for attributes: read them, and escape them anew.
        return picture(pictures[found[1]], unescape(found[2])) if found[1] in pictures else found[0]

    return PLACE.sub(put, html)


def picture(shown: Shown, words: str) -> str:
    """A picture in a button that enlarges it, with its words below."""
    label = format_html(_("Enlarge the picture: {words}"), words=words) if words else _("Enlarge the picture")
    caption = format_html('<span class="caption">{}</span>', words) if words else ""
    scale = min(1.0, HIGHEST / shown.height)
    return format_html(
        '<span class="picture"><button type="button" data-zoom="{address}" data-width="{whole_width}" '
        'data-height="{whole_height}" aria-label="{label}"><img src="{address}" width="{width}" height="{height}" '
        'alt="{alt}" loading="lazy" decoding="async"></button>{caption}</span>',
        address=shown.address, whole_width=shown.width, whole_height=shown.height, label=label, alt=words,
        width=max(1, round(shown.width * scale)), height=max(1, round(shown.height * scale)), caption=caption,
    )  # fmt: skip
