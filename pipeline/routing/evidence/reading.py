"""Pairs from a file: native items and every format that the import knows, read row by row, with nothing stored.

What a vote is: the answer to the preference question that was named or has the most answers; where a rater gave none,
their ranking, and where they gave none either, the mean of their ratings. A ranking or rating of three or more
responses is taken apart into its pairs. Rows of the same content and id are one item: a table may have one row for
each rater. Left out are reviewers' verdicts, annotations that do not count and those that a later one replaces.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from annotate.importing.annotations import CheckedAnnotation
from annotate.importing.errors import ItemError, RowError
from annotate.importing.formats import PREFERENCE
from annotate.importing.native import CheckedItem, NativeItem, check
from annotate.importing.plans import items, plan_for
from annotate.importing.reading import opened
from annotate.questions import text_of
from pipeline.routing.evidence.pool import FIRST, JUDGE, SECOND, SILENT, TIE, Ballots, Pool, Rater

VERDICTS = {"a": FIRST, "b": SECOND, "tie": TIE, "both_bad": TIE, "unsure": SILENT, "unparsable": SILENT}
POINTS = 9  # the longest scale: a file alone does not say how long its own is


class PoolError(ValueError):
    """A file cannot be routed; the message says why and what to do."""


@dataclass
class Question:
    """A question as a file shows it: its name, and its kind by the shape of its answers."""

    name: str
    kind: str
    title: str
    required: bool = False
    config: dict[str, Any] = field(default_factory=lambda: {"points": POINTS, "min": -np.inf, "max": np.inf})


@dataclass(frozen=True)
class Vote:
    """What one annotation says of one pair. `place` is what a later annotation replaces."""

    pair: int
    rater: int
    annotation: CheckedAnnotation
    verdict: int
    strength: float
    swapped: bool


def kind_of(name: str, answer: Any) -> str:
    """preference, ranking or rating, by the answer's shape and the question's name; empty for anything else."""
    if isinstance(answer, Mapping) and "choice" in answer:
        return "preference"
    numbers = isinstance(answer, list) and len(answer) >= 2
    if not numbers or any(isinstance(n, bool) or not isinstance(n, int | float) for n in answer):
        return ""
    return "ranking" if "rank" in name.lower() else "rating"


def pool_from(path: Path, *, question: str = "", format_name: str = "") -> Pool:
    """Read a file whole. Raises PoolError, with the row where one is at fault."""
    try:
        plan = plan_for(path, format_name)
        with opened(path) as file:
            gathered = Gathered()
            for found in items(plan, file, PREFERENCE):
                if isinstance(found, RowError):
                    raise found
                gathered.add(*found)
    except RowError as error:
        raise PoolError(f"{path.name}, row {error.row}: {error.message}") from None
    except OSError as error:
        raise PoolError(f"{path.name} cannot be read ({error.strerror}): check the path.") from None
    return gathered.pool(question)


def comparable(row: NativeItem) -> tuple[NativeItem, dict[str, Question]]:
    """The row with only such answers as compare responses, and the questions that they answer."""
    asked: dict[str, Question] = {}
    annotations = row.get("annotations")
    if not isinstance(annotations, list) or not all(
        isinstance(one, Mapping) and isinstance(one.get("answers"), Mapping) for one in annotations
    ):
        return row, asked
    kept = []
    for annotation in annotations:
        kinds = {name: kind_of(name, answer) for name, answer in annotation["answers"].items()}
        asked.update({name: Question(name, kind, name) for name, kind in kinds.items() if kind})
        answers = {name: annotation["answers"][name] for name, kind in kinds.items() if kind}
        if answers:
            kept.append({**annotation, "answers": answers})
    return {**row, "annotations": kept}, asked


class Gathered:
    """The items of a file as they come in."""

    def __init__(self) -> None:
        self.items: list[tuple[str, CheckedItem]] = []
        self.places: dict[tuple[str, str], int] = {}
        self.kinds: dict[str, str] = {}
        self.answered: Counter[str] = Counter()

    def add(self, number: int, row: NativeItem) -> None:
        """One row. Raises RowError."""
        try:
            kept, asked = comparable(row)
            item = check(kept, asked)
        except ItemError as error:
            raise RowError(number, str(error)) from None
        place = self.places.setdefault((item.own_id, item.content_hash), len(self.items))
        if place == len(self.items):
            self.items.append((item.own_id or f"row {number}", item))
        else:
            key, first = self.items[place]
            self.items[place] = key, replace(first, annotations=first.annotations + item.annotations)
        for name, question in asked.items():
            self.kinds.setdefault(name, question.kind)
        for annotation in item.annotations:
            self.answered.update(annotation.answers.keys())

    def pool(self, question: str) -> Pool:
        """Everything as columns. Raises PoolError where nothing can be compared."""
        if question and question not in self.kinds:
            known = ", ".join(sorted(self.kinds)) or "none"
            raise PoolError(f"Nobody answered a question “{question}” (answered were: {known}): name one of these.")
        return Columns(self, question or self.main_question()).pool()

    def main_question(self) -> str:
        """The preference with the most answers; empty where there is none."""
        named = [name for name, kind in self.kinds.items() if kind == "preference"]
        return max(named, key=lambda name: self.answered[name], default="")


class Columns:
    """Items turned into columns of pairs and votes, by one question."""

    def __init__(self, gathered: Gathered, question: str) -> None:
        self.items, self.kinds, self.question = gathered.items, gathered.kinds, question
        self.prompts: dict[str, int] = {}
        self.models: dict[str, int] = {}
        self.raters: dict[Rater, int] = {}
        self.prompt_texts: list[str] = []
        self.pairs: list[tuple[str, int, str, str, int, int, tuple[str, ...]]] = []
        self.votes: list[Vote] = []

    def pool(self) -> Pool:
        for key, item in self.items:
            self.add(key, item)
        if not self.pairs:
            raise PoolError("No item has two responses to compare: give each at least two under “responses”.")
        if not self.votes:
            raise PoolError("No annotation compares two responses: give items annotations with a preference.")
        keys, prompts, first, second, one, other, tags = (list(column) for column in zip(*self.pairs, strict=True))
        return Pool(
            keys=keys,
            prompt=np.array(prompts),
            prompts=self.prompt_texts,
            first=first,
            second=second,
            models=np.array([one, other]).T,
            model_names=list(self.models),
            raters=list(self.raters),
            ballots=self.ballots(),
            tags=tags,
        )

    def add(self, key: str, item: CheckedItem) -> None:
        if item.prompt_hash not in self.prompts:
            self.prompts[item.prompt_hash] = len(self.prompts)
            self.prompt_texts.append("\n".join(turn["content"] for turn in item.prompt))
        texts = [text_of(response.messages) for response in item.responses]
        models = [self.model(response.model) for response in item.responses]
        latest = current(item.annotations)
        for one, other in combinations(range(len(texts)), 2):
            name = key if len(texts) == 2 else f"{key}/{one + 1}-{other + 1}"
            row = (name, self.prompts[item.prompt_hash], texts[one], texts[other], models[one], models[other])
            for annotation in latest:
                self.vote(len(self.pairs), annotation, one, other)
            self.pairs.append((*row, tuple(item.tags)))

    def model(self, name: str) -> int:
        return self.models.setdefault(name, len(self.models)) if name else -1

    def vote(self, pair: int, annotation: CheckedAnnotation, one: int, other: int) -> None:
        said = self.said(annotation.answers, one, other)
        if said is None:
            return
        rater = self.raters.setdefault(Rater(annotation.rater, annotation.kind), len(self.raters))
        swapped = annotation.order.index(one) > annotation.order.index(other)
        self.votes.append(Vote(pair, rater, annotation, *said, swapped))

    def said(self, answers: Mapping[str, Any], one: int, other: int) -> tuple[int, float] | None:
        """(verdict, strength) of a pair by one annotation; None where it does not compare them."""
        if self.kinds.get(self.question) == "preference" and self.question in answers:
            answer = answers[self.question]
            return VERDICTS[answer["choice"]], float(answer.get("strength") or np.nan)
        for kind, better in (("ranking", -1), ("rating", 1)):
            named = [name for name in answers if self.kinds[name] == kind and self.question in ("", name)] or [
                name for name in answers if self.kinds[name] == kind and self.kinds.get(self.question) == "preference"
            ]
            gaps = [answers[name][one] - answers[name][other] for name in named
                    if None not in (answers[name][one], answers[name][other])]  # fmt: skip
            if gaps:
                gap = better * float(np.mean(gaps))
                return (TIE if not gap else FIRST if gap > 0 else SECOND), abs(gap)
        return None

    def ballots(self) -> Ballots:
        votes = self.votes
        confidence = [np.nan if vote.annotation.confidence is None else vote.annotation.confidence for vote in votes]
        return Ballots(
            item=np.array([vote.pair for vote in votes]),
            rater=np.array([vote.rater for vote in votes]),
            verdict=np.array([vote.verdict for vote in votes]),
            swapped=np.array([vote.swapped for vote in votes], dtype=np.int64),
            strength=np.array([vote.strength for vote in votes]),
            confidence=np.array(confidence, dtype=float),
            reason=[vote.annotation.reason for vote in votes],
            reference=[vote.annotation.reference for vote in votes],
        )


def current(annotations: Iterable[CheckedAnnotation]) -> list[CheckedAnnotation]:
    """Those that count: of a person the newest, of a judge the newest in each order."""
    newest: dict[tuple, CheckedAnnotation] = {}
    for annotation in annotations:
        order = annotation.order if annotation.kind == JUDGE else ()
        place = (annotation.kind, annotation.rater, order)
        if not annotation.counted or annotation.verdict:
            continue
        if place not in newest or newest[place].revision <= annotation.revision:
            newest[place] = annotation
    return list(newest.values())
