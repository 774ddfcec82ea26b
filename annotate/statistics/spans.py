"""Marked spans of several people: which characters most of them marked, and how far they agree.

Every character of a response is voted on for each tag; runs of characters that more than half marked are the
consensus spans, with the mean share over their characters. Exactly half is no majority. Agreement is the mean over
pairs of raters of F1 on characters, which for two raters who mark little is close to kappa (Hripcsak and Rothschild,
"Agreement, the F-measure, and reliability in information retrieval", 2005). Two who both mark nothing agree: 1.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from annotate.statistics.votes import Floats

Marked = Sequence[Mapping[str, Any]]  # {"response", "start", "end", "tag"}; end is exclusive, offsets in code points
Place = tuple[int, str]  # response and tag


def covered(marked: Marked) -> dict[Place, set[int]]:
    """(response, tag) → the characters that one person marked."""
    found: dict[Place, set[int]] = defaultdict(set)
    for span in marked:
        found[span["response"], span.get("tag", "")].update(range(span["start"], span["end"]))
    return found


def vote_shares(people: Sequence[Marked]) -> dict[Place, Floats]:
    """(response, tag) → the share of people who marked each character, up to the last that anybody marked."""
    covers = [covered(marked) for marked in people]
    places = sorted({place for cover in covers for place in cover})
    shares = {}
    for place in places:
        ends = [max(cover[place]) + 1 for cover in covers if cover.get(place)]
        counts = np.zeros(max(ends, default=0))
        for cover in covers:
            counts[sorted(cover.get(place, ()))] += 1
        shares[place] = counts / len(people)
    return shares


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of True as (start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def consensus(people: Sequence[Marked]) -> list[dict[str, Any]]:
    """The spans that more than half marked: {"response", "start", "end", "tag", "share"}."""
    return [
        {"response": response, "start": start, "end": end, "tag": tag, "share": float(share[start:end].mean())}
        for (response, tag), share in vote_shares(people).items()
        for start, end in runs(share > 0.5)
    ]


def f1(one: Marked, other: Marked) -> float:
    """F1 between what two people marked, characters with their tags; 1 where neither marked anything."""
    left = {(place, at) for place, found in covered(one).items() for at in found}
    right = {(place, at) for place, found in covered(other).items() for at in found}
    marked = len(left) + len(right)
    return 2 * len(left & right) / marked if marked else 1.0


def agreement(people: Sequence[Marked]) -> float | None:
    """Mean pairwise F1; None with fewer than two people."""
    pairs = [f1(one, other) for one, other in combinations(people, 2)]
    return float(np.mean(pairs)) if pairs else None
