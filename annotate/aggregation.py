"""Annotations become Labels: the sole writer of Label, and of an item's being open or labelled.

A preference is decided by majority. People outvote judges: a judge's vote counts only where no person answered.
`unsure` and `unparsable` are not votes. A judge asked in both orders has one vote, split where the two differ.
The probability of each option is a smoothed share of the votes, times every Prior of the item:

    P(k) ∝ (votes for k + 1) / (votes + options) · Π prior(k)

One pseudo-vote an option is Laplace's rule of succession. Between two sides it is (n_a + 1) / (n + 2), the soft
label of Mitchell, "A note on DPO with noisy preferences" (2023), with α = 1. The value is the most probable option;
where the first place is shared, it is a tie.

A Label is derived: throw it away, compute it again, and it is the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import fmean
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import changes, slots, tallies
from annotate.models import Annotation, Change, Item, Label, Prior, Question, Rater
from annotate.questions import SILENT

SAME = 1e-9  # probabilities nearer than this are equal
LEAST = 1e-6  # what a prior gives an option that it does not name
PRIOR = "prior"

# --- The pure core --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """What one rater says about one item in one presented order. `kind` is "human" or "judge"."""

    rater: int
    kind: str
    answers: Mapping[str, Any]


@dataclass(frozen=True)
class Aggregate:
    """What the opinions on one question add up to; the fields are those of Label."""

    value: Any
    probability: float | None
    distribution: dict[str, float]
    strength: float | None
    votes: int
    method: str
    decided_by: str


def one_vote(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """One rater's vote, option → weight (together 1), from the answer in each order; empty for silence."""
    spoken = [answer["choice"] for answer in answers if answer["choice"] not in SILENT]
    return {choice: count / len(spoken) for choice, count in Counter(spoken).items()}


def smoothed(votes: Iterable[Mapping[str, float]], options: Sequence[str]) -> dict[str, float]:
    """Option → (votes for it + 1) / (votes + options). Two votes for a of a, b, tie: 3/5, 1/5, 1/5."""
    counts = dict.fromkeys(options, 1.0)
    for vote in votes:
        for option, weight in vote.items():
            counts[option] = counts.get(option, 1.0) + weight
    total = sum(counts.values())
    return {option: count / total for option, count in counts.items()}


def with_prior(shares: Mapping[str, float], prior: Mapping[str, float]) -> dict[str, float]:
    """The shares times the prior, made to add up to 1 again."""
    product = {option: share * max(prior.get(option, 0.0), LEAST) for option, share in shares.items()}
    total = sum(product.values())
    return {option: share / total for option, share in product.items()}


def winner(distribution: Mapping[str, float]) -> str:
    """The most probable option; a tie where the first place is shared."""
    best = max(distribution.values())
    leaders = [option for option, share in distribution.items() if best - share < SAME]
    return leaders[0] if len(leaders) == 1 else "tie"


def majority(
    votes: Sequence[Mapping[str, float]], options: Sequence[str], priors: Sequence[Mapping[str, float]] = ()
) -> tuple[str, dict[str, float]]:
    """The value that the votes add up to, and the probability of every option."""
    distribution = reduce(with_prior, priors, smoothed(votes, options))
    return winner(distribution), distribution


def mean_strength(answers: Iterable[Sequence[Mapping[str, Any]]], value: str) -> float | None:
    """Mean steps from the scale's centre over the raters who chose the value and said how strongly."""
    of_raters = []
    for said in answers:
        steps = [answer["strength"] for answer in said if answer["choice"] == value and "strength" in answer]
        if steps:
            of_raters.append(fmean(steps))
    return fmean(of_raters) if of_raters else None


def mean_ratings(ratings: Sequence[Sequence[Sequence[float | None]]]) -> list[float | None] | None:
    """One mean for each response from each rater's ratings in each order; None where nobody rated it."""
    per_rater = [[mean_known(column) for column in zip(*orders, strict=True)] for orders in ratings]
    means = [mean_known(column) for column in zip(*per_rater, strict=True)]
    return means if any(mean is not None for mean in means) else None


def mean_known(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None


def preference_options(config: Mapping[str, Any]) -> list[str]:
    """What the question offers. A tie is always one: an even split is a tie, whatever the scale."""
    return ["a", "b", "tie", *(["both_bad"] if config.get("both_bad", True) else [])]


def who_decides(by_rater: Mapping[str, Mapping[int, list[Any]]]) -> str | None:
    """People where any answered, else judges where any did. Takes kind → rater → answers."""
    return next((kind for kind in (Rater.HUMAN, Rater.JUDGE) if by_rater.get(kind)), None)


def said_about(name: str, opinions: Iterable[Opinion]) -> dict[str, dict[int, list[Any]]]:
    """Kind → rater → that rater's answers to one question, one for each order."""
    found: dict[str, dict[int, list[Any]]] = {Rater.HUMAN: defaultdict(list), Rater.JUDGE: defaultdict(list)}
    for opinion in opinions:
        if (answer := opinion.answers.get(name)) is not None:
            found[opinion.kind][opinion.rater].append(answer)
    return found


def aggregate_preference(
    name: str, config: Mapping[str, Any], opinions: Sequence[Opinion], priors: Sequence[Mapping[str, float]] = ()
) -> Aggregate | None:
    """What the opinions say about one preference question; None where nobody voted and nothing is known."""
    said = said_about(name, opinions)
    voting = {
        kind: {rater: answers for rater, answers in raters.items() if one_vote(answers)}
        for kind, raters in said.items()
    }
    kind = who_decides(voting)
    if kind is None and not priors:
        return None
    answers = list(voting[kind].values()) if kind else []
    value, distribution = majority([one_vote(each) for each in answers], preference_options(config), priors)
    return Aggregate(
        value=value,
        probability=distribution.get(value, 0.0),
        distribution=distribution,
        strength=mean_strength(answers, value),
        votes=len(answers),
        method=PRIOR if kind is None else ("majority with prior" if priors else "majority"),
        decided_by=kind or PRIOR,
    )


def aggregate_rating(name: str, opinions: Sequence[Opinion]) -> Aggregate | None:
    """The mean rating of each response; None where nobody rated."""
    said = said_about(name, opinions)
    rated = {
        kind: {rater: orders for rater, orders in raters.items() if mean_ratings([orders])}
        for kind, raters in said.items()
    }
    kind = who_decides(rated)
    if kind is None:
        return None
    ratings = list(rated[kind].values())
    return Aggregate(mean_ratings(ratings), None, {}, None, len(ratings), "mean", kind)


# --- Labels ---------------------------------------------------------------------------------------------------

FIELDS = ["value", "probability", "distribution", "strength", "votes", "method", "decided_by"]


def label_item(item_id: int) -> None:
    """Aggregate one item anew, for one after a Prior came."""
    label_items([item_id])


def label_items(item_ids: Sequence[int]) -> None:
    """Aggregate these items anew; those whose labels are no longer the same get a Change, relabelled."""
    for batch in slots.batches(item_ids):
        with transaction.atomic():
            slots.lock(batch)
            changed = relabel(batch)
            for project_id, (items, counts) in changed.items():
                changes.record(project_id=project_id, kind=Change.RELABELLED, item_ids=items)
                tallies.add(project_id=project_id, counts=counts)


Changed = dict[int, tuple[list[int], Counter[str]]]


def relabel(item_ids: Sequence[int]) -> Changed:
    """Aggregate items whose locks the caller holds.

    Returns, by project, the items whose labels or state changed and what to add to its kept counts.
    """
    changed: Changed = {}
    for batch in slots.batches(item_ids):
        by_project: dict[int, list[Item]] = defaultdict(list)
        for item in Item.objects.filter(pk__in=batch).only("project", "state", "overlap"):
            by_project[item.project_id].append(item)
        for project_id, items in by_project.items():
            ids, counts = relabel_batch(project_id, items)
            all_ids, all_counts = changed.setdefault(project_id, ([], Counter()))
            all_ids.extend(ids)
            all_counts.update(counts)
    return changed


def relabel_batch(project_id: int, items: Sequence[Item]) -> tuple[list[int], Counter[str]]:
    """A batch of one project's items: write the labels that differ, then the items' state."""
    asked = main_first(Question.objects.filter(project_id=project_id))
    opinions, priors, before = read_batch([item.pk for item in items])
    counts: Counter[str] = Counter()
    made: list[Label] = []
    gone: list[int] = []
    states: dict[str, list[int]] = defaultdict(list)
    changed = []
    for item in items:
        old = before.get(item.pk, {})
        new = aggregate_item(asked, opinions.get(item.pk, []), priors.get(item.pk, {}))
        differing = [as_label(item.pk, key, new[key]) for key in new if key not in old or differs(old[key], new[key])]
        made += differing
        gone += [label.pk for key, label in old.items() if key not in new]
        state = state_of(item, opinions.get(item.pk, []), bool(new))
        if state != item.state:
            states[state].append(item.pk)
        counts.update(tally_difference(asked, item.state, old, state, new))
        if differing or len(old) > len(new) or state != item.state:
            changed.append(item.pk)
    write(made, gone, states)
    return changed, counts


Opinions = dict[int, list[Opinion]]
Priors = dict[int, dict[int, list[dict[str, float]]]]
Labels = dict[int, dict[int, Label]]


def read_batch(item_ids: list[int]) -> tuple[Opinions, Priors, Labels]:
    """Item → its current counted opinions, its priors by question, its labels by question."""
    opinions = current_opinions(Annotation.objects.filter(item_id__in=item_ids).order_by("pk"))
    priors: Priors = defaultdict(lambda: defaultdict(list))
    for prior in Prior.objects.filter(item_id__in=item_ids).order_by("source"):
        priors[prior.item_id][prior.question_id].append(prior.probabilities)
    labels: Labels = defaultdict(dict)
    for label in Label.objects.filter(item_id__in=item_ids):
        labels[label.item_id][label.question_id] = label
    return opinions, priors, labels


def current_opinions(annotations: QuerySet[Annotation]) -> Opinions:
    """Item → the opinions that count and that no other of these annotations replaces, in the order given.

    Told apart here, not by a join: after a large import the database may not know yet how to join it well.
    """
    rows = list(
        annotations.values_list("pk", "replaces_id", "counted", "item_id", "rater_id", "rater__kind", "answers")
    )
    replaced = {row[1] for row in rows}
    opinions: Opinions = defaultdict(list)
    for pk, _replaces, counted, item, rater, kind, answers in rows:
        if counted and pk not in replaced:
            opinions[item].append(Opinion(rater, kind, answers))
    return opinions


def main_first(asked: Iterable[Question]) -> list[Question]:
    """The questions in the order in which they stand for an item: preferences, then the rest."""
    return sorted(asked, key=lambda question: question.kind != Question.PREFERENCE)


def aggregate_item(
    asked: Iterable[Question], opinions: Sequence[Opinion], priors: Mapping[int, Sequence[Mapping[str, float]]]
) -> dict[int, Aggregate]:
    """Question → aggregate, in the order of `asked`, for the questions that have one."""
    found = {}
    for question in asked:
        if question.kind == Question.PREFERENCE:
            known = priors.get(question.pk, [])
            aggregate = aggregate_preference(question.name, question.config, opinions, known)
        else:
            aggregate = aggregate_rating(question.name, opinions)
        if aggregate is not None:
            found[question.pk] = aggregate
    return found


def state_of(item: Item, opinions: Iterable[Opinion], has_label: bool) -> str:
    """Labelled once there is a label and no further person is waited for; archived items stay so."""
    if item.state == Item.ARCHIVED:
        return Item.ARCHIVED
    people = {opinion.rater for opinion in opinions if opinion.kind == Rater.HUMAN}
    return Item.LABELLED if has_label and len(people) >= item.overlap else Item.OPEN


def tally_difference(
    asked: Iterable[Question],
    state_before: str,
    before: Mapping[int, Label],
    state_after: str,
    after: Mapping[int, Aggregate],
) -> Counter[str]:
    """What the kept counts of labelled items gain and lose: an item counts for who decided its first question."""
    difference: Counter[str] = Counter()
    order = [question.pk for question in asked]
    for state, decided, by in ((state_before, before, -1), (state_after, after, 1)):
        first = next((decided[key] for key in order if key in decided), None)
        if state == Item.LABELLED and first is not None:
            difference[tallies.LABELS[first.decided_by]] += by
    return difference


def differs(label: Label, aggregate: Aggregate) -> bool:
    return any(label.__dict__[field] != aggregate.__dict__[field] for field in FIELDS)


def as_label(item_id: int, question_id: int, aggregate: Aggregate) -> Label:
    return Label(item_id=item_id, question_id=question_id, updated_at=timezone.now(), **aggregate.__dict__)


def write(made: list[Label], gone: list[int], states: Mapping[str, list[int]]) -> None:
    """Write new and differing labels, take away those without a vote, and set the items' states."""
    if made:
        Label.objects.bulk_create(
            made,
            batch_size=200,
            update_conflicts=True,
            unique_fields=["item", "question"],
            update_fields=[*FIELDS, "updated_at"],
        )
    if gone:
        Label.objects.filter(pk__in=gone).delete()
    for state, ids in states.items():
        Item.objects.filter(pk__in=ids).update(state=state)
