"""Which words of two texts differ. Pure functions.

The longest common subsequence of words, by bit vectors (Hyyrö, “Bit-parallel LCS-length computation revisited”, 2004)
with the vectors kept to walk back along one alignment, as rapidfuzz does: exact, and fast enough for answers of
5,000 words while somebody waits. Words that agree by chance between longer changes count as changed, or every “the”
would cut a new sentence into pieces.
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

WORD = re.compile(r"\w+|[^\w\s]")
LINE = re.compile(r"[^\n]+")
MOST = 20_000  # words of a text; longer ones are compared line by line
CHANCE = 2  # words in a row that may agree by chance


@dataclass(frozen=True)
class Piece:
    """A part of a text, and whether the other text lacks it."""

    text: str
    differs: bool


@dataclass(frozen=True)
class Column:
    """One text in pieces, in order and without loss; `words` of them, `changed` of which the other text lacks."""

    pieces: list[Piece]
    words: int
    changed: int


def differences(left: str, right: str) -> tuple[Column, Column]:
    """Both texts in pieces."""
    pattern = WORD
    spans = list(WORD.finditer(left)), list(WORD.finditer(right))
    if max(map(len, spans)) > MOST:
        pattern = LINE
        spans = list(pattern.finditer(left)), list(pattern.finditer(right))
    first, second = ([match.group() for match in side] for side in spans)
    same = without_chance(common(first, second), len(first), len(second))
    kept = {pair[0] for pair in same}, {pair[1] for pair in same}
    return column(left, spans[0], kept[0]), column(right, spans[1], kept[1])


def common(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of positions that rise on both sides."""
    start, most = 0, min(len(first), len(second))
    while start < most and first[start] == second[start]:
        start += 1
    end = 0
    while end < most - start and first[-1 - end] == second[-1 - end]:
        end += 1
    middle = walk_back(first[start : len(first) - end], second[start : len(second) - end])
    tail = range(end, 0, -1)
    return [
        *((place, place) for place in range(start)),
        *((start + one, start + other) for one, other in middle),
        *((len(first) - back, len(second) - back) for back in tail),
    ]


def vectors(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[int]:
    """A bit vector for each word of `second`: bit i is 0 where taking in word i of `first` lengthens the match."""
    places: dict[Hashable, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | (1 << place)
    whole = (1 << len(first)) - 1
    vector, kept = whole, []
    for word in second:
        hits = vector & places.get(word, 0)
        vector = ((vector + hits) | (vector - hits)) & whole
        kept.append(vector)
    return kept


def walk_back(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The pairs of one longest common subsequence, from the bit vectors."""
    kept = vectors(first, second)
    one, other, pairs = len(first), len(second), []
    while one and other:
        if kept[other - 1] >> (one - 1) & 1:
            one -= 1  # this word of `first` adds nothing
            continue
        other -= 1
        if other and not kept[other - 1] >> (one - 1) & 1:
            continue  # the match was as long without this word of `second`
        one -= 1
        pairs.append((one, other))
    return pairs[::-1]


def without_chance(pairs: Sequence[tuple[int, int]], first: int, second: int) -> list[tuple[int, int]]:
    """The pairs without short runs that stand between longer changes on both sides of them."""
    runs = list(in_runs(pairs))
    kept = []
    for number, run in enumerate(runs):
        before = runs[number - 1][-1] if number else (-1, -1)
        after = runs[number + 1][0] if number + 1 < len(runs) else (first, second)
        gaps = (
            max(run[0][0] - before[0], run[0][1] - before[1]) - 1,
            max(after[0] - run[-1][0], after[1] - run[-1][1]) - 1,
        )
        if len(run) > CHANCE or min(gaps) <= len(run):
            kept += run
    return kept


def in_runs(pairs: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Pairs that follow each other without a gap on either side, together."""
    run: list[tuple[int, int]] = []
    for pair in pairs:
        if run and pair != (run[-1][0] + 1, run[-1][1] + 1):
            yield run
            run = []
        run.append(pair)
    if run:
        yield run


def column(text: str, spans: Sequence[re.Match[str]], kept: set[int]) -> Column:
    """The text in pieces; the space between two words that differ differs with them."""
    pieces: list[Piece] = []
    here = 0
    for differs, start, end in stretches(spans, kept):
        if start > here:
            pieces.append(Piece(text[here:start], differs=False))
        pieces.append(Piece(text[start:end], differs=differs))
        here = end
    if here < len(text):
        pieces.append(Piece(text[here:], differs=False))
    return Column(pieces, len(spans), len(spans) - len(kept))


def stretches(spans: Sequence[re.Match[str]], kept: set[int]) -> Iterator[tuple[bool, int, int]]:
    """(differs, start, end) for each longest row of words that are alike in that."""
    begun, state = 0, False
    for place in range(len(spans)):
        differs = place not in kept
        if place and differs != state:
            yield state, spans[begun].start(), spans[place - 1].end()
            begun = place
        if not place or differs != state:
            state = differs
    if spans:
        yield state, spans[begun].start(), spans[-1].end()
