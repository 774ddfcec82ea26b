"""Counts that pages show: kept up to date by those who write, read by the pages in one query.

Each count is spread over a few rows, so that parallel writers seldom wait for one another.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Sum

from annotate import compiled
from annotate.models import Tally

SHARDS = 8

ITEMS = "items"  # without those that are archived or gold
GOLD = "gold"
ARCHIVED = "archived"
ANNOTATIONS = {"human": "annotations_human", "judge": "annotations_judge"}
ROUTED = {"human": "routed_human", "judge": "routed_judge", "both": "routed_both"}
GOLD_ANSWERS = "gold_answers"
LABELS = {"human": "labels_human", "judge": "labels_judge", "prior": "labels_prior"}

# Project id → counts, while a block holds them back.
WAITING: ContextVar[dict[int, Counter[str]] | None] = ContextVar("waiting", default=None)


@contextmanager
def held_back() -> Iterator[None]:
    """Collect what is counted inside the block and add it at its end, in the caller's transaction.

    A long transaction that counted as it went would hold the rows for which everybody else's submits wait.
    """
    counts: dict[int, Counter[str]] = {}
    token = WAITING.set(counts)
    try:
        yield
    finally:
        WAITING.reset(token)
    for project_id in sorted(counts):
        add(project_id=project_id, counts=counts[project_id])


def add(*, project_id: int, counts: Mapping[str, int]) -> None:
    """Add to a project's counts, inside the caller's transaction; zero changes cost nothing."""
    waiting = WAITING.get()
    if waiting is not None:
        waiting.setdefault(project_id, Counter()).update(counts)
        return
    shard = random.randrange(SHARDS)
    for name, by in sorted(counts.items()):  # one order for all writers, so that they cannot deadlock
        if by:
            add_one(project_id, name, shard, by)


def add_one(project_id: int, name: str, shard: int, by: int) -> None:
    def build(project_id: int, name: str, by: int) -> compiled.Change:
        return Tally.objects.filter(project_id=project_id, name=name, shard=shard), {"value": F("value") + by}

    def added() -> int:
        return compiled.update(("tally", shard), build, project_id, name, by)

    if added():
        return
    try:
        with transaction.atomic():
            Tally.objects.create(project_id=project_id, name=name, shard=shard, value=by)
    except IntegrityError:  # another writer made the row first
        added()


def read(project_id: int) -> dict[str, int]:
    """All counts of a project by name; a name never counted is absent."""

    def build(pk: int) -> QuerySet[Tally, Any]:
        return Tally.objects.filter(project=pk).values_list("name").annotate(total=Sum("value"))

    return dict(compiled.run("tallies", build, project_id))


def read_many(project_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """The counts of several projects in one query."""
    rows = Tally.objects.filter(project_id__in=project_ids).values("project_id", "name").annotate(total=Sum("value"))
    counts: dict[int, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["project_id"], {})[row["name"]] = row["total"]
    return counts
