"""Items of the tables as a pool: whole prompts, with what judges and people said. Reads only what it is asked for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db.models import QuerySet

from annotate import slots
from annotate.models import Annotation, Item, Project, Question, Rater, Response
from annotate.questions import text_of
from annotate.submitting import VERDICT
from pipeline.routing.evidence import pool as pools
from pipeline.routing.evidence.pool import Ballots, Pool
from pipeline.routing.evidence.reading import VERDICTS

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Gathered:
    """A pool with the items behind its rows, and for each the prompt that it shares with its kin.

    `talks` are what `triage.signs` reads of each: the prompt's messages, those of the responses, the metadata.
    """

    pool: Pool
    items: list[int]
    hashes: list[str]
    talks: list[tuple[Any, Any, Any]]


@dataclass
class Said:
    """Votes of one pool as columns, as they are read."""

    item: list[int] = field(default_factory=list)
    rater: list[int] = field(default_factory=list)
    verdict: list[int] = field(default_factory=list)
    swapped: list[int] = field(default_factory=list)
    strength: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    reference: list[str] = field(default_factory=list)

    def ballots(self) -> Ballots:
        return Ballots(
            item=np.array(self.item, dtype=np.int64),
            rater=np.array(self.rater, dtype=np.int64),
            verdict=np.array(self.verdict, dtype=np.int64),
            swapped=np.array(self.swapped, dtype=np.int64),
            strength=np.array(self.strength, dtype=float),
            confidence=np.array(self.confidence, dtype=float),
            reason=self.reason,
            reference=self.reference,
        )


def pairs(project: Project) -> QuerySet[Item]:
    """The project's items that may be asked about."""
    return Item.objects.filter(project=project).exclude(state__in=[Item.ARCHIVED, Item.GOLD])


def judges_of(project: Project) -> list[Rater]:
    """The project's judges, in an order that does not change."""
    return list(Rater.objects.filter(project=project, kind=Rater.JUDGE, excluded_at=None).order_by("pk"))


def gathered(
    project: Project, question: Question, hashes: Sequence[str], judges: Sequence[tuple[int, str, float]]
) -> Gathered:
    """The pairs of these prompts. `judges` are (rater, name, how sure it usually is); others are not heard."""
    rows = list(
        pairs(project)
        .filter(prompt_hash__in=hashes)
        .order_by("prompt_hash", "pk")
        .values_list("pk", "external_id", "prompt_hash", "prompt", "tags", "metadata")
    )
    written = responses_of([row[0] for row in rows])
    rows = [row for row in rows if len(written[row[0]]) == 2]
    number: dict[str, int] = {}
    prompts: list[str] = []
    for _pk, _key, digest, prompt, _tags, _metadata in rows:
        if digest not in number:
            number[digest] = len(prompts)
            prompts.append("\n".join(str(turn["content"]) for turn in prompt))
    sides = [written[row[0]] for row in rows]
    models = sorted({name for side in sides for name, _, _ in side if name})
    place = {name: index for index, name in enumerate(models)}
    ballots, people = votes_on([row[0] for row in rows], question, [rater for rater, _, _ in judges])
    return Gathered(
        Pool(
            keys=[row[1] for row in rows],
            prompt=np.array([number[row[2]] for row in rows], dtype=np.int64),
            prompts=prompts,
            first=[text_of(side[0][1]) for side in sides],
            second=[text_of(side[1][1]) for side in sides],
            models=np.array([[place.get(name, -1) for name, _, _ in side] for side in sides], dtype=np.int64).reshape(
                -1, 2
            ),
            model_names=models,
            raters=[*(pools.Rater(name, pools.JUDGE) for _, name, _ in judges), *people],
            ballots=ballots,
            tags=[tuple(map(str, row[4])) for row in rows],
            panel=np.arange(len(judges)),
            usual=np.array([*(sure for _, _, sure in judges), *(1.0 for _ in people)]),
        ),
        [row[0] for row in rows],
        [row[2] for row in rows],
        [(row[3], [(said, own) for _, said, own in written[row[0]]], row[5]) for row in rows],
    )


def responses_of(items: Sequence[int]) -> dict[int, list[tuple[str, Any, Any]]]:
    """Item → (model, messages, metadata) of its responses in stored order."""
    found: dict[int, list[tuple[str, Any, Any]]] = defaultdict(list)
    for batch in slots.batches(items):
        written = Response.objects.filter(item__in=batch).order_by("item_id", "position")
        for item, *rest in written.values_list("item_id", "model", "messages", "metadata"):
            found[item].append((rest[0], rest[1], rest[2]))
    return found


SAID = (
    "pk", "replaces_id", "item_id", "rater_id", "rater__kind", "rater__name", "order", "answers", "confidence",
    "reason", "reference",
)  # fmt: skip


def current(items: Sequence[int], *, texts: bool) -> Iterable[tuple[Any, ...]]:
    """The answers on these items that count and that no other replaces, as SAID; without `texts` these are empty."""
    for batch in slots.batches(items):
        said = Annotation.objects.filter(item__in=batch, counted=True, rater__excluded_at=None).exclude(
            order_key=VERDICT
        )
        rows: Rows = list(said.order_by("pk").values_list(*(SAID if texts else SAID[:-2])))
        replaced = {row[1] for row in rows}
        yield from (row for row in rows if row[0] not in replaced)


def votes_on(items: Sequence[int], question: Question, judges: Sequence[int]) -> tuple[Ballots, list[pools.Rater]]:
    """Votes of the judges and of people on these items; people are numbered after the judges."""
    row_of = {item: row for row, item in enumerate(items)}
    number = {rater: place for place, rater in enumerate(judges)}
    people: list[pools.Rater] = []
    said = Said()
    for _pk, _, item, rater, kind, name, order, answers, confidence, reason, reference in current(items, texts=True):
        answer = answers.get(question.name)
        if answer is None or (kind == Rater.JUDGE and rater not in number):
            continue
        if rater not in number:
            number[rater] = len(judges) + len(people)
            people.append(pools.Rater(name, pools.HUMAN))
        said.item.append(row_of[item])
        said.rater.append(number[rater])
        said.verdict.append(VERDICTS[answer["choice"]])
        said.swapped.append(int(list(order) == [1, 0]))
        said.strength.append(float(answer.get("strength") or np.nan))
        said.confidence.append(np.nan if confidence is None else confidence)
        said.reason.append(reason)
        said.reference.append(reference)
    return said.ballots(), people


def people_on(items: Sequence[int], question: Question) -> dict[int, list[float]]:
    """Item → how many people said tie, first, second; only items on which somebody did. Reads no texts."""
    found: dict[int, list[float]] = {}
    for _pk, _, item, _rater, kind, _name, _order, answers, _confidence in current(items, texts=False):
        answer = answers.get(question.name)
        verdict = pools.SILENT if answer is None else VERDICTS[answer["choice"]]
        if kind == Rater.HUMAN and verdict != pools.SILENT:
            found.setdefault(item, [0.0, 0.0, 0.0])[verdict] += 1.0
    return found
