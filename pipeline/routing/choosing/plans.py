"""A policy: what a project's router is told to do. Frozen, checked when it is made, kept as JSON under a version.

Its parts hold in this order. A random share of all items goes to people and the judge whatever else is known (audits).
Then rules, the first that fits. Then the ranking: either fixed shares, drawn, or the judge first and people where an
answer of theirs is worth most, as far as the budget goes; there, a part of each batch is drawn evenly (exploration).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

HUMAN, JUDGE, BOTH = "human", "judge", "both"
DECISIONS = {"people": HUMAN, "judge": JUDGE, "both": BOTH}
TAG, LANGUAGE, SAFETY = "tag", "language", "safety"
RULES = (TAG, LANGUAGE, SAFETY)
SHARES, LEARNED, UNCERTAINTY, TRIAGE = "shares", "learned", "uncertainty", "triage"
GAIN, INFORMATION, ERRORS = "gain", "information", "errors"
RANKINGS = (SHARES, LEARNED, UNCERTAINTY, ERRORS, TRIAGE, GAIN, INFORMATION)
ANOTHER, REVIEWER = "another", "reviewer"


class PlanError(ValueError):
    """A policy cannot be kept; the message names the setting and says what it takes."""


@dataclass(frozen=True)
class Rule:
    """Items of which this holds go where `decision` says. Without `values` any safety concern is meant."""

    about: str
    values: tuple[str, ...]
    decision: str

    def __post_init__(self) -> None:
        if self.about not in RULES:
            raise PlanError(f"A rule is about {', '.join(RULES)}, not “{self.about}”.")
        if self.decision not in DECISIONS.values():
            raise PlanError(f"A rule sends to {', '.join(DECISIONS)}, not “{self.decision}”.")
        if not self.values and self.about != SAFETY:
            raise PlanError(f"A rule about a {self.about} names at least one, as in “{self.about} medicine: people”.")

    @property
    def words(self) -> str:
        named = next(words for words, decision in DECISIONS.items() if decision == self.decision)
        return f"{self.about} {', '.join(self.values)}".strip() + f": {named}"


@dataclass(frozen=True)
class Budget:
    """What may be spent, each empty for no limit: people's answers in all and in a day, and judges' money in all."""

    total: int | None = None
    daily: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value >= 0:
                raise PlanError(f"The budget “{each.name}” must be 0 or more, not {value}.")


@dataclass(frozen=True)
class Plan:
    """The settings of a policy.

    ranking     shares, learned, uncertainty, errors, triage, gain or information
    audit       share of all items that goes to people and judge by a draw, 0 to 1
    explore     share of what people get by ranking that is drawn evenly instead, 0 to 1
    seed        people's answers to judged items that are drawn evenly before the ranking counts
    judge, both shares of the ranking “shares”, in per cent, 100 together at most
    batch       items that are with people at a time: what they say decides who comes next
    sure        a label at least so probable needs nobody else, 0.5 to 1
    most        people that one item may have, where they disagree
    split       another or reviewer: who decides when people disagree
    least       the gain in expected accuracy below which no answer is bought
    """

    ranking: str = LEARNED
    rules: tuple[Rule, ...] = ()
    audit: float = 0.05
    explore: float = 0.1
    seed: int = 30
    judge: int = 0
    both: int = 0
    batch: int = 30
    sure: float = 0.98
    most: int = 3
    split: str = ANOTHER
    least: float = 0.005
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if self.ranking not in RANKINGS:
            raise PlanError(f"The ranking is one of {', '.join(RANKINGS)}, not “{self.ranking}”.")
        if self.split not in (ANOTHER, REVIEWER):
            raise PlanError(f"Where people disagree, {ANOTHER} or {REVIEWER} decides, not “{self.split}”.")
        for name in ("audit", "explore", "least"):
            within(name, getattr(self, name), 0, 1)
        for name in ("judge", "both"):
            within(name, getattr(self, name), 0, 100)
        within("sure", self.sure, 0.5, 1)
        within("batch", self.batch, 1, 100_000)
        within("seed", self.seed, 0, 100_000)
        within("most", self.most, 1, 20)
        if self.judge + self.both > 100:
            raise PlanError("The shares of the judge and of both are more than 100% together: lower one of them.")

    @property
    def ranks(self) -> bool:
        """Is the judge asked first, and people where it is worth most?"""
        return self.ranking != SHARES

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {**found, "rules": [{**rule, "values": list(rule["values"])} for rule in found["rules"]]}


def within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise PlanError(f"“{name}” must be from {low} to {high}, not {value}.")


def plan_from(kept: Mapping[str, Any]) -> Plan:
    """A policy from JSON. Raises PlanError, for settings that nobody knows too."""
    unknown = set(kept) - {each.name for each in fields(Plan)}
    if unknown:
        raise PlanError(f"A policy has no setting {', '.join(sorted(unknown))}.")
    values = dict(kept)
    try:
        rules = tuple(
            Rule(rule["about"], tuple(map(str, rule["values"])), rule["decision"]) for rule in values.pop("rules", ())
        )
        return Plan(**{**values, "rules": rules, "budget": Budget(**values.pop("budget", {}))})
    except (TypeError, KeyError) as error:
        raise PlanError(f"The policy cannot be read ({error}).") from None


def rules_from(text: str) -> tuple[Rule, ...]:
    """Rules as a person writes them, one a line: “tag medicine, law: people”. Raises PlanError, with the line."""
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        what, colon, decision = line.rpartition(":")
        about, _, values = what.strip().partition(" ")
        if not colon or decision.strip() not in DECISIONS:
            raise PlanError(
                f"Line {number}: a rule ends in “: people”, “: judge” or “: both”, as in “safety: people”."
            )
        named = tuple(part.strip() for part in values.split(",") if part.strip())
        try:
            rules.append(Rule(about, named, DECISIONS[decision.strip()]))
        except PlanError as error:
            raise PlanError(f"Line {number}: {error}") from None
    return tuple(rules)
