"""What a cheap reward model learns from delivered labels: a ridge Bradley–Terry head on frozen text features.

    P(first is better) = σ(w · d), d = difference of the responses' features, ridge on w, no intercept

Trained on 60% of the prompts with the labels of a policy, tested on the others against what most people say; ties are
left out of both. Gaps between policies are of the size of their error: a smoke test, not a ranking of routers.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence import text
from pipeline.routing.evidence.pool import FIRST, TIE, Pool

WORDS = 512  # hashed columns
RIDGE = 30.0
Mask = NDArray[np.bool_]
SHARE = 0.6  # of the prompts, for training


def differences(pool: Pool) -> Floats:
    """Frozen features of each pair, antisymmetric and of unit mean square: (n, columns)."""
    _, signed = text.measures(pool)
    hashing = HashingVectorizer(n_features=WORDS, alternate_sign=True, norm="l2")
    words = (hashing.transform(pool.first) - hashing.transform(pool.second)).toarray()
    table = np.column_stack([signed, words])
    reach = np.sqrt((table**2).mean(axis=0))
    sizes = np.r_[np.ones(signed.shape[1]), np.full(words.shape[1], WORDS**0.5 / 4)]  # all words weigh as much as 16
    return table / np.where(reach > 1e-9, reach, np.inf) / sizes


def head_accuracy(points: Floats, labels: Integers, credit: Floats, train: Mask, rng: np.random.Generator) -> float:
    """Share of pairs outside `train` that a head trained inside it ranks as people do; NaN where there are none."""
    use = train & (labels != TIE)
    decided = ~train & (credit.argmax(axis=1) != TIE) & (credit.max(axis=1) == 1)
    if use.sum() < 2 or not decided.any():
        return float("nan")
    flip = np.where(np.arange(use.sum()) % 2 == 0, 1.0, -1.0)  # both classes, whatever the labels are
    rows, first = points[use] * flip[:, None], (labels[use] == FIRST) == (flip > 0)
    if first.min() == first.max():
        flip = np.where(rng.random(len(first)) < 0.5, 1.0, -1.0)
        rows, first = rows * flip[:, None], first == (flip > 0)
    if first.min() == first.max():
        return float("nan")
    head = LogisticRegression(C=1 / RIDGE, fit_intercept=False, max_iter=200).fit(rows, first)
    says = points[decided] @ head.coef_[0] > 0
    return float((says == (credit[decided].argmax(axis=1) == FIRST)).mean())


def training_pairs(prompt: Integers, rng: np.random.Generator) -> Mask:
    """A mask of the pairs whose prompt is among those drawn for training."""
    prompts = np.unique(prompt)
    drawn = rng.permutation(prompts)[: max(1, int(np.ceil(SHARE * len(prompts))))]
    return np.isin(prompt, drawn)
