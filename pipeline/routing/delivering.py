"""How right the labels are that a project delivers, and how sure that is: the sole writer of Certificate.

Delivered are the labels of the question that is routed. Those that people decided count as right as people are.
Those that judges or the label model decided are told apart by how sure they say to be; how right each part is comes
from audits alone: items that a draw sent to people too although the judge alone could have had them. What the label
would be without people's answers is compared with what people say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import comb
from typing import Any

from django.db.models import Case, Count, IntegerField, Value, When
from django.utils import timezone

from annotate import slots
from annotate.aggregation import aggregate_item, known_of, read_batch
from annotate.agreement import decided_by_people
from annotate.deciding import HUMAN, JUDGE, Opinion, one_vote
from annotate.measuring import newest_change
from annotate.models import Item, Label, Project, Question
from annotate.statistics.intervals import wilson
from pipeline.models import Certificate, Route
from pipeline.routing import audit_draw, win_rates
from pipeline.routing.believing.following import question_of
from pipeline.routing.estimators import value
from pipeline.routing.estimators.certifying import Stratum, audits_wanted, certified

BANDS = (0.0, 0.7, 0.9)  # how sure a label says to be, from here on: parts that differ in how right they are
LEAST = 5  # audits in a part; with fewer it is taken together with its neighbour
WITHIN = 0.03  # what the page asks audits for: ± 3 points
NEWEST = 5000  # audits that count, at most
DOUBLES, ENOUGH_DOUBLES = 2000, 30  # items that two people answered: so many are read, so few are too few
REST = timedelta(minutes=5)


@dataclass(frozen=True)
class Audited:
    """An item that a draw sent to people: the label without them, how sure it says to be, and what people say."""

    item: int
    said: str
    sure: float
    people: str
    arm: str
    propensity: float

    @property
    def right(self) -> bool:
        return self.said == self.people


@dataclass(frozen=True)
class Part:
    """Labels that no person decided and that are between `low` and `high` sure, with their audits."""

    low: float
    high: float
    items: int
    audited: int
    right: int


# --- The certificate ------------------------------------------------------------------------------------------


def refresh(project: Project) -> bool:
    """Certify anew if anything was said since the last time, and that was a while ago."""
    newest = newest_change(project)
    kept = Certificate.objects.filter(project=project).defer("audits").first()
    if not newest or (kept and (kept.change == newest or kept.made_at > timezone.now() - REST)):
        return False
    return certify(project)


def certify(project: Project) -> bool:
    """Count and compare now; False where the project asks no preference."""
    question = question_of(project)
    if question is None:
        return False
    change = newest_change(project)
    audits = audits_of(project, question)
    report = {**accuracy(question, audits), "models": win_rates.corrected(question, audits)}
    rows = [list(asdict(each).values()) for each in audits]
    values = {"report": report, "audits": rows, "change": change, "made_at": timezone.now()}
    Certificate.objects.update_or_create(project=project, defaults=values)
    return True


def accuracy(question: Question, audits: Sequence[Audited]) -> dict[str, Any]:
    """The share of delivered labels that are right with its interval, and all that it is made of, as plain data."""
    people, bands = delivered(question)
    parts = joined(bands, audits)
    human = of_people(question)
    by_people = sum(people.values())
    strata = [Stratum(part.items, part.audited, part.right) for part in parts if part.items]
    total = by_people + sum(stratum.items for stratum in strata)
    right = majority_of(people, human["value"])
    # What most people say is surer than what one says, so its interval is not that of one person.
    limits = (majority_of(people, human["low"]), majority_of(people, human["high"])) if human["measured"] else None
    found: dict[str, Any] = {
        "labels": total,
        "people": {"items": by_people, **human, "accuracy": right, "range": limits},
        "parts": [{**asdict(part), **share_of(part)} for part in parts],
        "audits": len(audits),
        "drawn": dict(Counter(each.arm for each in audits)),
        "wanted": audits_wanted(total, strata, WITHIN) if total else 0,
        "within": WITHIN,
    }
    if not total or not all(stratum.audited for stratum in strata):
        return found
    whole = certified(by_people, right, strata, limits)
    return {**found, "accuracy": whole.accuracy, "error": whole.error, "low": whole.low, "high": whole.high}


def share_of(part: Part) -> dict[str, float | None]:
    if not part.audited:
        return {"share": None, "share_low": None, "share_high": None}
    low, high = wilson(part.right, part.audited)
    return {"share": part.right / part.audited, "share_low": low, "share_high": high}


# --- What is delivered ----------------------------------------------------------------------------------------


def delivered(question: Question) -> tuple[dict[int, int], list[int]]:
    """How many labels people decided, by how many of them voted; how many others there are in each of BANDS."""
    bands = [When(probability__gte=low, then=Value(place)) for place, low in reversed(list(enumerate(BANDS)))]
    labels = Label.objects.filter(question=question).exclude(item__state__in=[Item.ARCHIVED, Item.GOLD])
    people = labels.filter(decided_by=HUMAN).values("votes").annotate(n=Count("pk"))
    others = labels.exclude(decided_by=HUMAN).annotate(
        band=Case(*bands, default=Value(0), output_field=IntegerField())
    )
    counted = dict(others.values("band").annotate(n=Count("pk")).values_list("band", "n"))
    return dict(people.values_list("votes", "n")), [counted.get(place, 0) for place in range(len(BANDS))]


def band_of(sure: float) -> int:
    return max(place for place, low in enumerate(BANDS) if sure >= low or place == 0)


def joined(items: Sequence[int], audits: Sequence[Audited]) -> list[Part]:
    """The bands with their audits; one with fewer than LEAST of them, and labels, goes with the next less sure."""
    found: list[Part] = []
    for place, count in enumerate(items):
        own = [each for each in audits if band_of(each.sure) == place]
        high = BANDS[place + 1] if place + 1 < len(BANDS) else 1.0
        part = Part(BANDS[place], high, count, len(own), sum(each.right for each in own))
        if found and min(part.audited, found[-1].audited) < LEAST:
            part = both(found.pop(), part)
        found.append(part)
    return found


def both(left: Part, right: Part) -> Part:
    return Part(left.low, right.high, left.items + right.items, left.audited + right.audited, left.right + right.right)


# --- How right people are -------------------------------------------------------------------------------------


def of_people(question: Question) -> dict[str, Any]:
    """How right one person is, by how often the first two who answered an item say the same; assumed where few did."""
    twice = Label.objects.filter(question=question, decided_by=HUMAN, votes__gte=2)
    items = list(twice.order_by("-item").values_list("item", flat=True)[:DOUBLES])
    same = total = 0
    for batch in slots.batches(items):
        for said in read_batch(batch)[0].values():
            first = first_two(question, said)
            total += len(first) == 2
            same += len(first) == 2 and first[0] == first[1]
    if total < ENOUGH_DOUBLES:
        return {"value": value.ACCURACY, "measured": False, "doubles": total, "low": None, "high": None}
    low, high = wilson(same, total)
    right = [value.accuracy_from_agreement(share) for share in (same / total, low, high)]
    return {"value": right[0], "low": right[1], "high": right[2], "measured": True, "doubles": total}


def first_two(question: Question, said: Sequence[Opinion]) -> Sequence[Mapping[str, float]]:
    """The votes of the two people who answered first: a third is often asked because these differ."""
    spoken = [each for each in said if each.kind == HUMAN and question.name in each.answers]
    votes = [one_vote([each.answers[question.name]]) for each in spoken]
    return [vote for vote in votes if vote][:2]


def majority_of(people: Mapping[int, int], accuracy: float) -> float:
    """How right what most people say is, over items with so many voters each; errors are taken for independent.

    Of k voters, Σ_{i > k/2} C(k, i) a^i (1 − a)^(k − i); an even number counts as one less.
    """
    total = sum(people.values())
    if not total:
        return accuracy
    return sum(count * of_majority(voters, accuracy) for voters, count in people.items()) / total


def of_majority(voters: int, accuracy: float) -> float:
    odd = max(1, voters - (voters % 2 == 0))
    return sum(comb(odd, i) * accuracy**i * (1 - accuracy) ** (odd - i) for i in range(odd // 2 + 1, odd + 1))


# --- Audits ---------------------------------------------------------------------------------------------------


def audits_of(project: Project, question: Question) -> list[Audited]:
    """The newest audits, the newest first."""
    drawn = draws(project)
    found: dict[int, Audited] = {}
    for batch in slots.batches(list(drawn)):
        opinions, priors, _labels = read_batch(batch)
        known = known_of([question], opinions)
        for item, said in opinions.items():
            people = decided_by_people(question, said)
            judges = [opinion for opinion in said if opinion.kind == JUDGE]
            alone = aggregate_item([question], judges, priors.get(item, {}), known).get(question.pk)
            if people is None or alone is None:
                continue
            sure = alone.probability or 0.0
            found[item] = Audited(item, plain(alone.value), sure, plain(people), *drawn[item])
    return [found[item] for item in drawn if item in found]


def draws(project: Project) -> dict[int, tuple[str, float]]:
    """Item → (part of the policy, probability) of the draw that sent it to people too, the newest first.

    A draw is an audit where the item could have stayed with the judge alone: not where a rule sends it to people
    anyhow, and not where items that people had answered were drawn for the judge.
    """
    sent = Route.objects.filter(item__project=project, decision=Route.BOTH, propensity__lt=1)
    sent = sent.exclude(policy=audit_draw.NAME).exclude(item__state__in=[Item.ARCHIVED, Item.GOLD])
    rows = sent.order_by("-pk").values_list("item_id", "policy", "propensity", "chances")[:NEWEST]
    return {item: (policy, share) for item, policy, share, chances in rows if chances.get(Route.JUDGE, 0) > 0}


def plain(choice: Any) -> str:
    """A choice as the label model knows it: two bad responses are equal."""
    return "tie" if choice == "both_bad" else str(choice)
