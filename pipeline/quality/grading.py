"""Where a judge's choices and ratings can be compared with people's: rows from the tables as `options.Votes`.

What counts as an audit is as for preferences (`audits.py`). Each rated response is one audit; of a choice the judge's
vote is shared between what it said in each order. People's decision is their label: the option that most chose, none
where several lead, and the mean of their ratings.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from annotate.deciding import HUMAN, Opinion, aggregate_choice, aggregate_rating, choice_options, own_ratings, shared
from annotate.models import Question
from pipeline.quality import audits
from pipeline.quality.audits import Material, Row
from pipeline.quality.options import Votes


@dataclass(frozen=True)
class Answer:
    """What the judge said of one unit, all orders together: an item's choice, or the rating of one response."""

    vote: tuple[float, ...]  # shares of the options
    at: datetime
    annotation: int


@dataclass(frozen=True)
class Graded:
    """One audit of a choice or a rating. `part` is the response's place, 0 for a choice."""

    item: int
    part: int
    answer: Answer
    prompt: str
    people: tuple[float, ...]
    weight: float
    source: str
    at: datetime


@dataclass(frozen=True)
class Grades:
    """What a judge answered to a choice or a rating: item → part → answer; its audits, and what was left out."""

    options: tuple[str, ...]
    answers: Mapping[int, Mapping[int, Answer]]
    audits: Sequence[Graded]
    left_out: Mapping[str, int]


def options_of(question: Question) -> tuple[str, ...]:
    """The options of a choice, or the points of a rating's scale, as text."""
    if question.kind == Question.CHOICE:
        return tuple(choice_options(question.config, ()))
    low, high = question.config.get("min", 1), question.config.get("max", 5)
    return tuple(str(point) for point in range(low, high + 1))


def read(question: Question, found: Material, since: datetime | None = None) -> Grades:
    """The judge's answers to a question and its audits (those after `since`), oldest first."""
    options = options_of(question)
    answers = answers_of((row for row in found.rows if row[2] in found.facts), question, options)
    graded, left_out = [], Counter[str]()
    for item, parts in answers.items():
        said = [opinion for opinion in found.opinions.get(item, []) if opinion.kind == HUMAN]
        decided = decided_by_people(question, options, said)
        judged = max(answer.at for answer in parts.values())
        at = audits.newest_of(said, judged)
        both = [part for part in parts if part in decided]
        if not both or (since is not None and at <= since):
            continue
        source, weight = audits.way(found.routes.get(item, []), audits.answered_before(said, judged))
        if not weight:
            left_out[source] += 1
            continue
        prompt = found.facts[item][0]
        graded += [Graded(item, part, parts[part], prompt, decided[part], weight, source, at) for part in both]
    graded.sort(key=lambda each: (each.at, each.item, each.part))
    return Grades(options, answers, graded, left_out)


def answers_of(rows: Any, question: Question, options: Sequence[str]) -> dict[int, dict[int, Answer]]:
    """Item → part → what these rows say to the question."""
    said: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if question.name in row[4]:
            said[row[2]].append(row)
    found = {}
    for item, of_item in said.items():
        newest = max((row[7], row[0]) for row in of_item)
        votes = votes_in(question, options, [row[4][question.name] for row in of_item])
        if votes:
            found[item] = {part: Answer(vote, *newest) for part, vote in votes.items()}
    return found


def votes_in(question: Question, options: Sequence[str], orders: Sequence[Any]) -> dict[int, tuple[float, ...]]:
    """Part → shares of the options in one rater's answers, one for each order."""
    if question.kind == Question.CHOICE:
        chosen = shared([answer[0] for answer in orders if answer and answer[0] in options])
        return {0: tuple(chosen.get(option, 0.0) for option in options)} if chosen else {}
    return {part: between(rating, options) for part, rating in enumerate(own_ratings(orders)) if rating is not None}


def between(rating: float, options: Sequence[str]) -> tuple[float, ...]:
    """A rating as shares of the scale's points: 3.25 is ¾ on 3 and ¼ on 4."""
    points = np.asarray([float(option) for option in options])
    return tuple(np.clip(1 - np.abs(points - np.clip(rating, points[0], points[-1])), 0.0, 1.0).tolist())


def decided_by_people(
    question: Question, options: Sequence[str], people: Sequence[Opinion]
) -> dict[int, tuple[float, ...]]:
    """Part → what people decided, as shares of the options; without a part on which they decided nothing."""
    if question.kind == Question.CHOICE:
        label = aggregate_choice(question.name, question.config, people)
        if label is None or len(label.value) != 1 or label.value[0] not in options:
            return {}
        return {0: tuple(float(option == label.value[0]) for option in options)}
    label = aggregate_rating(question.name, people, question.config)
    means = label.value if label else []
    return {part: between(mean, options) for part, mean in enumerate(means) if mean is not None}


def votes_of(question: Question, found: Grades) -> Votes:
    """The audits as arrays; weights have a mean of 1."""
    weights = np.asarray([each.weight for each in found.audits])
    return Votes(
        options=found.options,
        is_scale=question.kind == Question.RATING,
        judge=np.asarray([each.answer.vote for each in found.audits]).reshape(-1, len(found.options)),
        people=np.asarray([each.people for each in found.audits]).reshape(-1, len(found.options)),
        weights=weights / weights.mean() if len(weights) else weights,
        prompts=[each.prompt for each in found.audits],
    )
