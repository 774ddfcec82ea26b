"""What people say of the answers that they prefer, and not of the others: phrases by contrast. Pure: texts in.

A phrase is one to three words in a row. Its contrast is the log-odds ratio of the texts that hold it on the two sides,
over its standard error, with half a text added to each count (Haldane 1956; Gart 1966):

    z = (ln((y₁+½)/(n₁−y₁+½)) − ln((y₂+½)/(n₂−y₂+½))) / √(Σ 1/(each of the four counts))

y of a side's n texts hold the phrase. A text counts a phrase once, so nobody's long critique outweighs others.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
LONGEST = 3  # words in a phrase
# Words that join others: a phrase neither begins nor ends with one.
JOINS = """a an and are as at be because been but by can could did do does for from had has have he her his i if in
into is it its just more most much my no not of on one only or other our out over she so some such than that the their
them then there these they this those to too up us very was we were what when which while who will with would you your
answer answers response responses better best worse prefer preferred both second first b"""
JOINING = frozenset(JOINS.split())


@dataclass(frozen=True)
class Phrase:
    """A phrase with how many texts of each side hold it, and its contrast in standard errors."""

    words: str
    preferred: int
    others: int
    contrast: float


def phrases_of(text: str) -> set[str]:
    """The phrases of a text, each once."""
    words = [word.lower().replace("’", "'") for word in WORD.findall(text)]
    found = set()
    for length in range(1, LONGEST + 1):
        for start in range(len(words) - length + 1):
            part = words[start : start + length]
            if part[0] not in JOINING and part[-1] not in JOINING and len("".join(part)) > 2:
                found.add(" ".join(part))
    return found


def contrast(
    preferred: Sequence[str], others: Sequence[str], *, least: int = 3, most: int = 8, sure: float = 1.96
) -> list[Phrase]:
    """The phrases that stand out on the preferred side, the strongest first; no word stands in two of them.

    Each is in `least` texts of that side at least, with a contrast of `sure` standard errors.
    """
    one = Counter(phrase for text in preferred for phrase in phrases_of(text))
    other = Counter(phrase for text in others for phrase in phrases_of(text))
    scored = [
        Phrase(phrase, count, other[phrase], z(count, len(preferred), other[phrase], len(others)))
        for phrase, count in one.items()
        if count >= least
    ]
    strongest = sorted(scored, key=lambda each: (-each.contrast, -len(each.words), each.words))
    return distinct([each for each in strongest if each.contrast >= sure], most)


def z(one: int, of_one: int, other: int, of_other: int) -> float:
    """The contrast of a phrase that so many texts of each side hold, of so many."""
    counts = [count + 0.5 for count in (one, of_one - one, other, of_other - other)]
    odds = log(counts[0] / counts[1]) - log(counts[2] / counts[3])
    return odds / sqrt(sum(1 / count for count in counts))


def distinct(ranked: Sequence[Phrase], most: int) -> list[Phrase]:
    """The first so many of which none shares a word with one before it."""
    kept: list[Phrase] = []
    for each in ranked:
        words = set(each.words.split())
        if len(kept) < most and not any(words & set(other.words.split()) for other in kept):
            kept.append(each)
    return kept
