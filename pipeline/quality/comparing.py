"""Two ways to judge, on the same items: which is nearer to people? Pure: shares in, data out.

Each item gives a pair: how much of the judge's vote fell on what people decided, in the present way and in the
proposed one (1, ½ or 0). The mean difference has a 95% bootstrap over prompts, whose items are not independent (Efron
1979; Field and Welsh 2007). Beside it McNemar's exact test (1947): of the items on which the two ways differ, those
where the proposed one is nearer would be half, if there were no difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from annotate.statistics.intervals import low_of_unanimous
from annotate.statistics.votes import Floats
from pipeline.quality.leaning import clustered

LEAST = 20  # items; fewer say nothing that should change a rubric
PROMPTS = 10  # that the items are of: a bootstrap over fewer groups is surer than it should be


@dataclass(frozen=True)
class Pair:
    """One item judged in both ways: shares of the judge's vote on what people decided."""

    prompt: str
    present: float
    proposed: float


def compare(pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the pairs say: both means, the difference with its interval, and which way it points.

    `points` is toward or away from people where the interval leaves out 0, else unclear; few where there are too few
    items, or prompts that they are of.
    """
    differences = np.asarray([pair.proposed - pair.present for pair in pairs], dtype=float)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    low, high = interval(differences, [pair.prompt for pair in pairs])
    return {
        "n": len(pairs),
        "prompts": len({pair.prompt for pair in pairs}),
        "present": float(np.mean([pair.present for pair in pairs])) if pairs else None,
        "proposed": float(np.mean([pair.proposed for pair in pairs])) if pairs else None,
        "difference": float(differences.mean()) if pairs else None,
        "low": low,
        "high": high,
        "better": better,
        "worse": worse,
        "p": float(binomtest(better, better + worse).pvalue) if better + worse else 1.0,
        "points": direction(len(pairs), len({pair.prompt for pair in pairs}), low, high),
    }


def interval(differences: Floats, prompts: Sequence[str]) -> tuple[float | None, float | None]:
    """95% interval of the mean difference.

    A bootstrap of items that never differ knows no doubt: then as many as 1 − 0.05^(1/n) may differ (Hanley and
    Lippman-Hand 1983).
    """
    if not len(differences):
        return None, None
    if not differences.any():
        most = 1 - low_of_unanimous(len(differences))
        return -most, most
    return clustered(differences, prompts)


def direction(n: int, prompts: int, low: float | None, high: float | None) -> str:
    if n < LEAST or prompts < PROMPTS or low is None or high is None:
        return "few"
    return "toward" if low > 0 else "away" if high < 0 else "unclear"
