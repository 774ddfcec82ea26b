"""The columns of a project's pairs, in an order that stays: what is computed batch by batch fits together.

A layout names the columns, the judges with how sure each usually is, and the source models that have a column. It is
made from a sample and replaced, under the next number, when the judges change or when a small sample has grown. A
pair's columns are kept as float32 beside it, so that a new fit reads numbers and no texts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotate.models import Project, Question
from annotate.statistics.votes import Floats, Integers
from pipeline.routing.believing.gathering import Gathered, gathered, judges_of, pairs
from pipeline.routing.evidence.columns import Features, features
from pipeline.routing.evidence.pool import Pool
from pipeline.routing.evidence.votes import surety

SAMPLE = 1000  # items that a layout is made from
GROWTH = 4  # times as many pairs as a small sample had make another worth while: they may show columns it could not
LEAST = 25  # pairs that any sample counts for
OFTEN, MOST_MODELS = 5, 40  # a source model has a column once it is seen so often; so many at most


@dataclass(frozen=True)
class Layout:
    """`judges` are (rater, name, how sure it usually is); `sampled` is how many pairs it was made from."""

    number: int
    judges: tuple[tuple[int, str, float], ...]
    models: tuple[str, ...]
    symmetric: tuple[str, ...]
    antisymmetric: tuple[str, ...]
    sampled: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def width(self) -> int:
        """How many columns a pair has, without its effects."""
        return len(self.symmetric) + len(self.antisymmetric) + len(self.models)


def layout_from(kept: dict[str, Any]) -> Layout:
    return Layout(
        number=kept["number"],
        judges=tuple((int(rater), str(name), float(sure)) for rater, name, sure in kept["judges"]),
        models=tuple(kept["models"]),
        symmetric=tuple(kept["symmetric"]),
        antisymmetric=tuple(kept["antisymmetric"]),
        sampled=kept.get("sampled", SAMPLE),
    )


def made(project: Project, question: Question, number: int) -> Layout | None:
    """A layout of the project as it is now; None while no judge has answered a pair."""
    judges = [(rater.pk, rater.name, 1.0) for rater in judges_of(project)]
    judged = pairs(project).filter(annotations__rater__in=[rater for rater, _, _ in judges])
    newest = judged.order_by("-pk").values_list("prompt_hash", flat=True)[: 4 * SAMPLE]
    sample = gathered(project, question, list(dict.fromkeys(newest))[:SAMPLE], judges)
    if not sample.items:
        return None
    sure = surety(sample.pool.judged, len(sample.pool.raters))
    judges = [(rater, name, float(sure[place])) for place, (rater, name, _) in enumerate(judges)]
    seen = Counter(sample.pool.model_names[place] for place in sample.pool.models.ravel().tolist() if place >= 0)
    often = sorted(name for name, count in seen.most_common(MOST_MODELS) if count >= OFTEN)
    found = features(sample.pool, models=False)
    return Layout(
        number, tuple(judges), tuple(often), found.symmetric_names, found.antisymmetric_names, len(sample.items)
    )


def columns_of(found: Gathered, layout: Layout) -> Features:
    """The pool's columns as the layout has them. What this part of the pool cannot have is NaN, or 0 for a side."""
    data = features(found.pool, models=False)
    signed = dict(zip(data.antisymmetric_names, data.antisymmetric.T, strict=True))
    both = dict(zip(data.symmetric_names, data.symmetric.T, strict=True))
    nothing, unknown = np.zeros(found.pool.size), np.full(found.pool.size, np.nan)
    return Features(
        symmetric=stacked([both.get(name, unknown) for name in layout.symmetric], found.pool.size),
        antisymmetric=stacked(
            [
                *(signed.get(name, instead(name, signed, nothing)) for name in layout.antisymmetric),
                *written_by(found.pool, layout.models),
            ],
            found.pool.size,
        ),  # fmt: skip
        effects=data.effects,
        shared=data.shared,
        prompt=kin_of(found),
        symmetric_names=layout.symmetric,
        antisymmetric_names=(*layout.antisymmetric, *(f"by {name}" for name in layout.models)),
    )


def instead(name: str, signed: dict[str, Floats], nothing: Floats) -> Floats:
    """A judge that told no strength in this part has its vote for a margin."""
    return signed.get(name.replace("margin of ", "vote of ", 1), nothing)


def stacked(columns: Sequence[Floats], size: int) -> Floats:
    return np.column_stack(columns) if columns else np.zeros((size, 0))


def written_by(pool: Pool, models: Sequence[str]) -> list[Floats]:
    """For each model: +1 where it wrote the first response, −1 where the second."""
    place = {name: number for number, name in enumerate(pool.model_names)}
    return [
        (pool.models[:, 0] == place.get(name, -2)) * 1.0 - (pool.models[:, 1] == place.get(name, -2))
        for name in models
    ]


def kin_of(found: Gathered) -> Integers:
    """A number for each pair that says which pairs share its prompt: other pairs, another number."""
    members: dict[str, list[int]] = {}
    for item, digest in zip(found.items, found.hashes, strict=True):
        members.setdefault(digest, []).append(item)
    names = {
        digest: int.from_bytes(hashlib.sha256(f"{digest} {items}".encode()).digest()[:7], "big")
        for digest, items in members.items()
    }
    return np.array([names[digest] for digest in found.hashes], dtype=np.int64)


def packed(data: Features) -> list[bytes]:
    """Each pair's columns as bytes."""
    rows = np.hstack([data.symmetric, data.antisymmetric, data.shared[:, None], data.effects]).astype(np.float32)
    return [row.tobytes() for row in rows]


def unpacked(rows: Sequence[bytes], kin: Sequence[int], layout: Layout) -> Features:
    """Columns from bytes; effects are padded to the widest."""
    vectors = [np.frombuffer(row, dtype=np.float32) for row in rows]
    longest = max((len(vector) for vector in vectors), default=layout.width + 1)
    matrix = np.zeros((len(vectors), longest))
    for place, vector in enumerate(vectors):
        matrix[place, : len(vector)] = vector
    split, end = len(layout.symmetric), layout.width
    return Features(
        symmetric=matrix[:, :split],
        antisymmetric=matrix[:, split:end],
        effects=matrix[:, end + 1 :],
        shared=matrix[:, end],
        prompt=np.array(kin, dtype=np.int64),
        symmetric_names=layout.symmetric,
        antisymmetric_names=(*layout.antisymmetric, *(f"by {name}" for name in layout.models)),
    )
