"""How long routing takes with features at hand: a million pairs at once, and one new pair.

python -m bench.routing [--pairs 1000000] [--labels 2000]

Pairs are made up: 43 symmetric and 23 antisymmetric columns, as PandaLM's two judges give them, most prompts with one
pair, a fifth of the pairs with siblings. Measured are the fit, the belief about every pair, its value and the batch,
in a process of its own whose largest memory is told; and one new pair, from its texts and votes to its score.
"""

import argparse
import os
import resource
import statistics
import time
from dataclasses import replace

import django
import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PLUMBLINE_DEV", "1")
django.setup()  # the package of routing has tables, though nothing here reads one

from pipeline.routing.estimators import label_model  # noqa: E402
from pipeline.routing.evidence import columns  # noqa: E402
from pipeline.routing.evidence.pool import FIRST, Ballots, Pool, Rater  # noqa: E402
from pipeline.routing.policies import learned  # noqa: E402

SYMMETRIC, ANTISYMMETRIC, RESPONSES = 43, 23, 5
REPEATS = 200


def made_up(pairs: int, rng: np.random.Generator) -> columns.Features:
    """Features of so many pairs, in single precision as they would be kept."""
    alone = int(0.8 * pairs)
    prompt = np.concatenate([np.arange(alone), alone + np.arange(pairs - alone) // 6])
    effects = np.zeros((pairs, RESPONSES), dtype=np.float32)
    rows = np.arange(alone, pairs)
    first = rng.integers(0, RESPONSES, len(rows))
    effects[rows, first] = 1
    effects[rows, (first + rng.integers(1, RESPONSES, len(rows))) % RESPONSES] = -1
    return columns.Features(
        symmetric=rng.standard_normal((pairs, SYMMETRIC), dtype=np.float32),
        antisymmetric=rng.standard_normal((pairs, ANTISYMMETRIC), dtype=np.float32),
        effects=effects,
        shared=(np.arange(pairs) >= alone).astype(np.float32),
        prompt=prompt,
        symmetric_names=tuple(f"s{n}" for n in range(SYMMETRIC)),
        antisymmetric_names=(columns.MEAN_VOTE, *(f"a{n}" for n in range(1, ANTISYMMETRIC))),
    )


def many(pairs: int, labels: int) -> None:
    rng = np.random.default_rng(1)
    data = made_up(pairs, rng)
    labelled = rng.choice(pairs, labels, replace=False)
    lean = 2 * data.antisymmetric[labelled, 0]
    chance = label_model.class_probabilities(data.symmetric[labelled, 0] - 1, lean)
    votes = np.zeros((pairs, 3))
    votes[labelled, [rng.choice(3, p=row) for row in chance]] = 1
    begun = time.perf_counter()
    belief = learned.believe(data, votes)
    believed = time.perf_counter()
    picks = learned.next_picks(belief.score, np.flatnonzero(votes.sum(axis=1) == 0), 1000, rng, prompt=data.prompt)
    done = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{pairs:,} pairs, {labels:,} labels: fit and belief {believed - begun:.1f} s, choice {done - believed:.1f} s,"
    )
    print(f"  in all {done - begun:.1f} s; largest memory of the process {memory:.2f} GiB; {len(picks.items)} picked")


def new_pair(words: int) -> Pool:
    """One pair of two judges in both orders, with reasons and references."""
    rng = np.random.default_rng(2)
    known = [f"word{n}" for n in range(900)]
    text = [" ".join(rng.choice(known, words)) for _ in range(6)]
    ballots = Ballots(
        item=np.zeros(4, int), rater=np.array([0, 0, 1, 1]), verdict=np.full(4, FIRST), swapped=np.array([0, 1, 0, 1]),
        strength=np.full(4, np.nan), confidence=np.full(4, 0.8), reason=text[:4], reference=text[2:6],
    )  # fmt: skip
    raters = [Rater("one", "judge"), Rater("two", "judge")]
    return Pool(
        ["k"], np.zeros(1, int), text[:1], text[1:2], text[2:3], np.array([[0, 1]]), ["m", "n"], raters, ballots
    )


def one(labels: int) -> None:
    """A model fitted beforehand; the pair's texts are cut anew each time."""
    rng = np.random.default_rng(3)
    pools = [new_pair(300) for _ in range(2)]
    first = columns.features(pools[0])
    data = replace(
        first,
        symmetric=rng.standard_normal((labels, first.symmetric.shape[1])),
        antisymmetric=rng.standard_normal((labels, first.antisymmetric.shape[1])),
        effects=np.zeros((labels, first.effects.shape[1])),
        shared=np.zeros(labels),
        prompt=np.arange(labels),
    )
    votes = np.eye(3)[rng.choice(3, labels, p=[0.1, 0.45, 0.45])]
    model = learned.believe(data, votes).model
    taken = []
    for _ in range(REPEATS):
        columns.cut.cache_clear()
        begun = time.perf_counter()
        model.posterior(columns.features(pools[1]))
        taken.append(1000 * (time.perf_counter() - begun))
    slowest = sorted(taken)[int(0.95 * REPEATS)]
    print(f"one new pair of 300 words a side: median {statistics.median(taken):.1f} ms, 95% below {slowest:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=2000)
    options = parser.parse_args()
    one(options.labels)
    many(options.pairs, options.labels)


if __name__ == "__main__":
    main()
