"""What the texts of a pair say about it, before anybody has judged: lengths, overlaps, repetition, copying.

Every measure belongs to one of two kinds. A symmetric one stays as it is when the responses change places; an
antisymmetric one changes its sign. The features are those of HyPER (Miranda et al., "Hybrid preferences", 2024) and
of the training-free triage rules in docs/reference/routing.md.
"""

import re
from collections import Counter
from collections.abc import Iterable, Set
from functools import lru_cache

import numpy as np

from annotate.statistics.votes import Floats
from pipeline.routing.evidence.pool import Pool

WORD = re.compile(r"\w+|[^\w\s]")
LETTERS = re.compile(r"\w")
GRAM = 4  # words in a row that count as repetition
MOST = 2000  # words that are looked at; what is longer differs in length alone

SYMMETRIC = (
    "prompt length", "shorter length", "longer length", "length ratio", "line breaks", "digits", "words shared",
    "vocabulary shared", "phrases shared", "identical", "closest to the prompt", "difference to the prompt",
    "empty response", "most repetition", "repetition difference", "most copying", "copying difference",
)  # fmt: skip
ANTISYMMETRIC = (
    "longer", "length ratio signed", "more repetition", "more copying", "more line breaks", "ends a sentence",
    "closer to the prompt", "not empty",
)  # fmt: skip


class Text:
    """One text, cut into words once."""

    __slots__ = (
        "count",
        "counts",
        "digits",
        "empty",
        "ends",
        "grams",
        "lines",
        "pairs",
        "repeated",
        "words",
    )

    def __init__(self, text: str) -> None:
        self.words = WORD.findall(text.lower()[: MOST * 12])[:MOST]
        self.count = len(self.words)
        self.counts = Counter(self.words)
        self.pairs = set(zip(self.words, self.words[1:], strict=False))
        grams = [tuple(self.words[place : place + GRAM]) for place in range(max(0, self.count - GRAM + 1))]
        self.grams = set(grams)
        self.repeated = 1 - len(self.grams) / len(grams) if grams else 0.0
        self.lines = text.count("\n")
        self.digits = sum(character.isdigit() for character in text[: MOST * 12])
        self.empty = not LETTERS.search(text)
        self.ends = text.rstrip()[-1:] in (".", "!", "?", "”", '"', "。")


@lru_cache(maxsize=20_000)
def cut(text: str) -> Text:
    """A text cut into words; the same text is cut once."""
    return Text(text)


@lru_cache(maxsize=20_000)
def rouge(left: Text, right: Text) -> float:
    """ROUGE-1 F1: words shared, counted as often as both have them (Lin, "ROUGE", 2004). Two empty texts share all."""
    total = left.count + right.count
    if not total:
        return 1.0
    small, large = (left.counts, right.counts) if len(left.counts) < len(right.counts) else (right.counts, left.counts)
    return 2 * sum(min(number, large[word]) for word, number in small.items() if word in large) / total


def jaccard(left: Set, right: Set) -> float:
    """|A ∩ B| / |A ∪ B| of two sets; 1 for two empty ones."""
    shared = len(left & right)
    union = len(left) + len(right) - shared
    return shared / union if union else 1.0


def near(text: Text, prompt: Text) -> float:
    """Cosine of word counts, with square-rooted counts so that one common word does not decide."""
    if not text.count or not prompt.count:
        return 0.0
    shared = sum(
        (number * prompt.counts[word]) ** 0.5 for word, number in text.counts.items() if word in prompt.counts
    )
    return shared / (text.count * prompt.count) ** 0.5


def copying(text: Text, prompt: Text) -> float:
    """The share of a text's four-word phrases that stand in the prompt."""
    return len(text.grams & prompt.grams) / len(text.grams) if text.grams else 0.0


def of_pair(prompt: Text, first: Text, second: Text) -> tuple[list[float], list[float]]:
    """The symmetric and the antisymmetric measures of one pair, in the order of their names."""
    short, long = sorted((first.count, second.count))
    near_first, near_second = near(first, prompt), near(second, prompt)
    copy_first, copy_second = copying(first, prompt), copying(second, prompt)
    symmetric = [
        np.log1p(prompt.count), np.log1p(short), np.log1p(long), short / max(long, 1),
        np.log1p(max(first.lines, second.lines)), np.log1p(first.digits + second.digits), rouge(first, second),
        jaccard(first.counts.keys(), second.counts.keys()), jaccard(first.pairs, second.pairs),
        first.words == second.words,
        max(near_first, near_second), abs(near_first - near_second), first.empty or second.empty,
        max(first.repeated, second.repeated), abs(first.repeated - second.repeated), max(copy_first, copy_second),
        abs(copy_first - copy_second),
    ]  # fmt: skip
    antisymmetric = [
        np.log1p(first.count) - np.log1p(second.count), (first.count - second.count) / max(long, 1),
        first.repeated - second.repeated, copy_first - copy_second, np.log1p(first.lines) - np.log1p(second.lines),
        float(first.ends) - second.ends, near_first - near_second, float(second.empty) - first.empty,
    ]  # fmt: skip
    return symmetric, antisymmetric


def measures(pool: Pool) -> tuple[Floats, Floats]:
    """The measures of every pair: (n, symmetric) and (n, antisymmetric)."""
    prompts = [cut(text) for text in pool.prompts]
    pairs: Iterable = zip(pool.prompt, pool.first, pool.second, strict=True)
    rows = [of_pair(prompts[prompt], cut(first), cut(second)) for prompt, first, second in pairs]
    return (
        np.array([row[0] for row in rows], dtype=float).reshape(len(rows), len(SYMMETRIC)),
        np.array([row[1] for row in rows], dtype=float).reshape(len(rows), len(ANTISYMMETRIC)),
    )
