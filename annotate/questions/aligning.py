"""Where the text that a reader sees stands in the source that it was made from.

A rendered text is nearly a subsequence of its Markdown source: marks are left out, white space differs, formulas are
written anew. So the two are compared word by word, and what lies between two words that both have is theirs as well.
All offsets are in code points. Pure functions.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from html.parser import HTMLParser

TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
Run = tuple[int, int, int]  # where in the rendered text, where in the source, how many characters alike


class TextOnly(HTMLParser):
    """Collects the text of HTML, as `textContent` of the page has it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def text_of_html(html: str) -> str:
    reader = TextOnly()
    reader.feed(html)
    reader.close()
    return "".join(reader.said)


@lru_cache(maxsize=512)
def align(rendered: str, source: str) -> tuple[Run, ...]:
    """The runs of characters that both texts have, in order; they neither overlap nor cross."""
    if rendered == source:
        return ((0, 0, len(source)),) if source else ()
    ours, theirs = list(TOKEN.finditer(rendered)), list(TOKEN.finditer(source))
    pairs = list(matched([token[0] for token in ours], [token[0] for token in theirs]))
    runs = ((ours[i].start(), theirs[j].start(), len(ours[i][0])) for i, j in pairs)
    return tuple(joined(runs, rendered, source))


def matched(ours: Sequence[str], theirs: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Pairs of equal words: the longest common stretches, and between them what can still be found in order."""
    at_ours, at_theirs = 0, 0
    # Frequent words do not start a stretch (autojunk) but are part of one: fast on long texts, and right.
    for i, j, size in SequenceMatcher(None, ours, theirs).get_matching_blocks():
        yield from in_order(ours, theirs, range(at_ours, i), range(at_theirs, j))
        yield from ((i + n, j + n) for n in range(size))
        at_ours, at_theirs = i + size, j + size


def in_order(
    ours: Sequence[str], theirs: Sequence[str], our_gap: range, their_gap: range
) -> Iterable[tuple[int, int]]:
    """What a gap between two stretches still has in common, each word at its first place after the one before."""
    place = their_gap.start
    for i in our_gap:
        found = next((j for j in range(place, their_gap.stop) if theirs[j] == ours[i]), None)
        if found is not None:
            yield i, found
            place = found + 1


def joined(runs: Iterable[Run], rendered: str, source: str) -> list[Run]:
    """Runs with as much white space between them here as there, as one."""
    made: list[Run] = []
    for at, there, size in runs:
        if made and made[-1][0] - made[-1][1] == at - there:
            before, before_there, before_size = made[-1]
            gaps = rendered[before + before_size : at], source[before_there + before_size : there]
            if all(not gap or gap.isspace() for gap in gaps):
                made[-1] = (before, before_there, at + size - before)
                continue
        made.append((at, there, size))
    return made


def to_source(runs: Sequence[Run], start: int, end: int, length: int) -> tuple[int, int]:
    """Where in a source of `length` characters the passage from start to end of the rendered text stands.

    A passage of which no character is in the source (a sign of a formula) stands for all between its neighbours.
    """
    inside = [run for run in runs if run[0] < end and run[0] + run[2] > start]
    if inside:
        (first, first_there, _), (last, last_there, size) = inside[0], inside[-1]
        return first_there + max(0, start - first), last_there + min(size, end - last)
    before = [there + size for at, there, size in runs if at + size <= start]
    after = [there for at, there, _size in runs if at >= end]
    return (before[-1] if before else 0), (after[0] if after else length)


def runs_as_text(runs: Iterable[Run]) -> str:
    """The runs for a page's script: `0 2 5,6 9 3`."""
    return ",".join(f"{at} {there} {size}" for at, there, size in runs)
