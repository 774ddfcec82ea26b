"""Where a judge can be compared with people: what it said, what they decided, and how the item came to both.

An item that people were asked about because the judge looked wrong says nothing about the judge in general. So an
item counts as an audit only where chance or a file brought it to both:

drawn     a policy sent it to both by a draw, or before the judge had said anything; it counts 1/propensity, at most
          twenty times
file      people and judge had both answered in a file, and nobody routed it
before    people had answered before the judge was asked, and no policy chose it otherwise than by a draw

Everything else that both answered is left out and counted: the page says so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import log
from typing import Any

from annotate import slots
from annotate.aggregation import current_opinions, said_about
from annotate.agreement import decided_by_people
from annotate.deciding import HUMAN, Opinion
from annotate.models import Annotation, Item, Question, Rater
from annotate.questions import steps
from pipeline.judging.concluding import members_in_words, model_name
from pipeline.judging.config import differences, protocol_of
from pipeline.models import Judge, Route
from pipeline.routing import audit_draw, by_hand

NEWEST = 6000  # of a judge's annotations that are looked at: what it leans to now, at a bounded cost
PEOPLE = 20_000  # of people's newest annotations, on whose items audits are looked for
LEAST_PROPENSITY = 0.05  # a rarer draw counts no more than twenty times
SURE = 8.0  # nats; the most that one answer may say
SPOKEN = ("a", "b", "tie")
DRAWN, FILE, BEFORE = "drawn", "file", "before"
BY_ROUTER, BY_HAND = "router", "by hand"
SAME, DIFFERS, TIE = "same", "differs", "tie"


@dataclass(frozen=True)
class Said:
    """What the judge said in one order: a side or a tie in stored order, and how sure it was, if it told."""

    order: str
    choice: str
    confidence: float | None
    lean: float = 0.0  # of protocols that compare ratings or criteria: from −1, the second response, to 1

    @property
    def margin(self) -> float:
        """Log-odds for the first response (nats). A side that does not say how sure it is counts as 1, a tie as 0."""
        if self.choice == "tie":
            return 0.0
        sure = self.confidence
        if sure is None and 0 < abs(self.lean) < 1:
            sure = (1 + abs(self.lean)) / 2
        strength = 1.0
        if sure is not None:
            bounded = min(max(sure, 0.5), 1 - 1e-9)
            strength = min(log(bounded / (1 - bounded)), SURE)
        return strength if self.choice == "a" else -strength

    @property
    def first(self) -> bool | None:
        """Did it name what stood first? None for a tie."""
        return None if self.choice == "tie" else "ab".index(self.choice) == int(self.order.split("-")[0])


@dataclass(frozen=True)
class Verdict:
    """All that the judge said about one item, both orders together."""

    item: int
    said: tuple[Said, ...]
    at: datetime
    annotation: int  # the newest

    @property
    def margin(self) -> float:
        """The mean of the orders' log-odds: a habit of one place cancels."""
        return sum(each.margin for each in self.said) / len(self.said)

    @property
    def kind(self) -> str:
        choices = {each.choice for each in self.said}
        if choices == {"tie"}:
            return TIE
        return SAME if len(choices) == 1 else DIFFERS

    @property
    def share_first(self) -> float:
        """Its one vote as a share for the first response: ½ where the orders differ or it says tie."""
        return sum({"a": 1.0, "b": 0.0, "tie": 0.5}[each.choice] for each in self.said) / len(self.said)

    def share(self, option: str) -> float:
        return sum(each.choice == option for each in self.said) / len(self.said)

    @property
    def one_word(self) -> str:
        """Its vote as one option: a tie where the orders differ."""
        choices = {each.choice for each in self.said}
        return choices.pop() if len(choices) == 1 else "tie"


@dataclass(frozen=True)
class Audit:
    """An item that both answered, by chance or in a file."""

    verdict: Verdict
    prompt: str
    people: str  # what they decided: a, b, tie or both_bad
    weight: float
    source: str
    at: datetime

    @property
    def right(self) -> float:
        """How much of the judge's vote fell on what people decided."""
        return self.verdict.share(self.people)


@dataclass(frozen=True)
class Reading:
    """Everything read about one evaluator. `left_out` counts items that both answered but which prove nothing."""

    evaluator: str
    verdicts: Mapping[int, Verdict]
    audits: Sequence[Audit]
    left_out: Mapping[str, int]
    unparsable: Sequence[float]  # weights of the audits on which it gave no readable verdict
    others: int  # of the judge's annotations looked at, those by another model or prompt
    prompts: Mapping[int, str] = field(default_factory=dict)
    tags: Mapping[int, Sequence[str]] = field(default_factory=dict)


def evaluator(members: str, model: str, prompt: str, protocol: str) -> str:
    """Model, prompt version and what is unusual in the protocol; of several judges, these of each."""
    if members:
        return " · ".join(part for part in (members, protocol) if part)[:300]
    return " · ".join(part for part in (model, prompt, protocol) if part)[:300]


def evaluator_of(judge: Judge) -> str:
    """The judge as it is set up now: another model, prompt or protocol is another evaluator, which starts anew.

    So is a panel or a cascade one of whose members is another.
    """
    unusual = differences(protocol_of(judge.protocol))
    return evaluator(members_in_words(judge), model_name(judge), judge.prompt_version, unusual)


def evaluator_in(metadata: Mapping[str, Any]) -> str:
    """The evaluator that an annotation is from; "" for one from a file that does not say."""
    return evaluator(*(str(metadata.get(name, "")) for name in ("members", "model", "prompt_version", "protocol")))


def current_evaluator(rater: Rater) -> str:
    """The evaluator that a judge is now; for a judge that is known from files only, that of its newest annotation."""
    judge = Judge.objects.filter(rater=rater).select_related("model_version").first()
    if judge is not None:
        return evaluator_of(judge)
    newest = Annotation.objects.filter(rater=rater).order_by("-pk").values_list("metadata", flat=True).first()
    return evaluator_in(newest or {})


def preference_of(rater: Rater) -> Question | None:
    """The question on which judges are compared with people first of all: the project's first preference."""
    return rater.project.questions.filter(kind=Question.PREFERENCE).first()


def can_be_calibrated(question: Question) -> bool:
    """Has the question options, or a scale, whose probabilities can be right or wrong?"""
    if question.kind == Question.CHOICE:
        return not question.config.get("multiple")
    return question.kind in (Question.PREFERENCE, Question.RATING)


# --- What the judge said --------------------------------------------------------------------------------------
ROW = ("pk", "replaces_id", "item_id", "order_key", "answers", "confidence", "metadata", "submitted_at")
Row = tuple[Any, ...]


def present_of(rows: Sequence[Row], wanted: str) -> tuple[list[Row], int]:
    """The rows of the wanted evaluator that nothing replaces, and how many are of others."""
    replaced = {row[1] for row in rows}
    current = [row for row in rows if row[0] not in replaced]
    found = [row for row in current if evaluator_in(row[6]) == wanted]
    return found, len(current) - len(found)


def verdicts_of(rows: Iterable[Row], question: Question) -> tuple[dict[int, Verdict], set[int]]:
    """Item → what these rows say to a preference; and items without a readable verdict."""
    said: dict[int, list[Said]] = defaultdict(list)
    newest: dict[int, tuple[datetime, int]] = {}
    silent = set()
    for pk, _replaces, item, order, answers, confidence, metadata, at in rows:
        if question.name not in answers:
            continue
        answer = answers[question.name]
        if answer["choice"] not in SPOKEN:
            silent.add(item)
            continue
        said[item].append(Said(order, answer["choice"], *sureness(question, answers, confidence, metadata)))
        newest[item] = max(newest.get(item, (at, pk)), (at, pk))
    found = {
        item: Verdict(item, tuple(sorted(each, key=lambda one: one.order)), newest[item][0], newest[item][1])
        for item, each in said.items()
    }
    return found, silent - set(found)


def sureness(
    question: Question, answers: Mapping[str, Any], confidence: float | None, metadata: Mapping[str, Any]
) -> tuple[float | None, float]:
    """How sure the judge is of its answer to a preference, and how far it leans, where it told.

    What an annotation says of itself is of the preference that it is about first of all; of others it is kept beside
    it. Where several were answered and nothing tells them apart, the strength does: the middle of its step of |lean|.
    """
    others = metadata.get("others", {})
    if question.name in others:
        return others[question.name].get("confidence"), lean_in(others[question.name])
    preferences = sum(isinstance(answer, Mapping) and "choice" in answer for answer in answers.values())
    if others or preferences == 1:
        return confidence, lean_in(metadata)
    strength = answers[question.name].get("strength", 0)
    return None, (strength - 0.5) / steps(question.config.get("points", 7)) if strength else 0.0


def lean_in(metadata: Mapping[str, Any]) -> float:
    """The margin that a protocol kept with its verdict; 0 where it kept none."""
    kept = metadata.get("margin")
    return float(kept) if isinstance(kept, int | float) else 0.0


@dataclass(frozen=True)
class Material:
    """What is read once for all questions of a judge: its present rows, and people's opinions on their items."""

    evaluator: str
    rows: Sequence[Row]
    others: int  # rows by another model, prompt or protocol
    facts: Mapping[int, tuple[str, Sequence[str]]]  # item → hash of its prompt, and its tags
    opinions: Mapping[int, Sequence[Opinion]]
    routes: Mapping[int, Sequence[tuple[str, str, float]]]


def material_of(rater: Rater) -> Material:
    wanted = current_evaluator(rater)
    rows, others = present_of(rows_of(rater), wanted)
    facts = facts_of(sorted({row[2] for row in rows}))
    opinions = people_on(list(facts))
    return Material(wanted, rows, others, facts, opinions, routes_of(list(opinions)))


def read(rater: Rater, question: Question, since: datetime | None = None, found: Material | None = None) -> Reading:
    """The judge's verdicts on a preference as it is now, and its audits (those after `since`), oldest first."""
    found = found or material_of(rater)
    verdicts, silent = verdicts_of((row for row in found.rows if row[2] in found.facts), question)
    audits, left_out, unparsable = [], Counter[str](), []
    for item, said in found.opinions.items():
        verdict = verdicts.get(item)
        if verdict is None and item not in silent:
            continue
        decided, at = decided_by_people(question, said), newest_of(said, verdict.at if verdict else None)
        if decided is None or (since is not None and at <= since):
            continue
        source, weight = way(found.routes.get(item, []), verdict is not None and answered_before(said, verdict.at))
        if not weight:
            left_out[source] += 1
        elif verdict is None:
            unparsable.append(weight)
        else:
            audits.append(Audit(verdict, found.facts[item][0], decided, weight, source, at))
    audits.sort(key=lambda audit: (audit.at, audit.verdict.item))
    prompts = {item: prompt for item, (prompt, _) in found.facts.items() if item in verdicts or item in silent}
    tags = {item: of_item for item, (_, of_item) in found.facts.items() if item in prompts}
    return Reading(found.evaluator, verdicts, audits, left_out, unparsable, found.others, prompts, tags)


def rows_of(rater: Rater) -> list[tuple[Any, ...]]:
    """The judge's annotations that are looked at: the newest, and those on the items that people answered last.

    People's answers are the scarce ones, so audits are found from their side: what a judge does alone in the meantime
    does not push them out.
    """
    mine = Annotation.objects.filter(rater=rater, counted=True)
    found = {row[0]: row for row in mine.order_by("-pk").values_list(*ROW)[:NEWEST]}
    people = Annotation.objects.filter(rater__project=rater.project_id, rater__kind=Rater.HUMAN, counted=True)
    answered = people.order_by("-pk").values_list("item_id", flat=True)[:PEOPLE]
    for batch in slots.batches(list(answered)):
        found |= {row[0]: row for row in mine.filter(item__in=batch).values_list(*ROW)}
    return list(found.values())


def newest_of(said: Sequence[Opinion], judged: datetime | None) -> datetime:
    """When the last of people and judge had answered."""
    moments = [opinion.at for opinion in said if opinion.at is not None]
    return max([*moments, judged] if judged else moments)


def facts_of(item_ids: Sequence[int]) -> dict[int, tuple[str, list[str]]]:
    """Item → hash of its prompt, and its tags; archived and gold items are left out."""
    found: dict[int, tuple[str, list[str]]] = {}
    for batch in slots.batches(item_ids):
        rows = Item.objects.filter(pk__in=batch).exclude(state__in=[Item.ARCHIVED, Item.GOLD])
        found |= {pk: (prompt, tags) for pk, prompt, tags in rows.values_list("pk", "prompt_hash", "tags")}
    return found


def people_on(item_ids: Sequence[int]) -> dict[int, list[Opinion]]:
    """Item → people's current opinions on it, for those that have some."""
    found: dict[int, list[Opinion]] = {}
    for batch in slots.batches(item_ids):
        for item, said in current_opinions(said_about(batch)).items():
            people = [opinion for opinion in said if opinion.kind == HUMAN]
            if people:
                found[item] = people
    return found


# --- How it came to both --------------------------------------------------------------------------------------
def routes_of(item_ids: Sequence[int]) -> dict[int, list[tuple[str, str, float]]]:
    """Item → its (decision, policy, propensity) in order."""
    routes: dict[int, list[tuple[str, str, float]]] = defaultdict(list)
    for batch in slots.batches(item_ids):
        rows = Route.objects.filter(item__in=batch).order_by("number")
        for item, decision, policy, propensity in rows.values_list("item_id", "decision", "policy", "propensity"):
            routes[item].append((decision, policy, propensity))
    return routes


def answered_before(said: Sequence[Opinion], judged: datetime) -> bool:
    """Had all people answered when the judge did?"""
    return all(opinion.at is not None and opinion.at <= judged for opinion in said)


def by_chance(policy: str, propensity: float) -> bool:
    """Did a draw decide, or something that knew no verdict? A greedy choice is certain, and so is a person's word."""
    return policy in audit_draw.OPENING or (policy != by_hand.NAME and propensity < 1)


def way(routes: Sequence[tuple[str, str, float]], before: bool) -> tuple[str, float]:
    """How an item came to both, from its (decision, policy, propensity) in order, and whether people were first."""
    for decision, policy, propensity in routes:
        if decision == Route.BOTH and by_chance(policy, propensity):
            return DRAWN, 1 / max(propensity, LEAST_PROPENSITY)
    if not routes:
        return FILE, 1.0
    if not all(policy == by_hand.NAME or by_chance(policy, propensity) for _, policy, propensity in routes):
        return BY_ROUTER, 0.0
    return (BEFORE, 1.0) if before else (BY_HAND, 0.0)
