"""Which judged items people are asked about next, and why, in words: the pure half of spending the budget.

Until `seed` answers are there, items are drawn evenly: m of n, each with probability m/n. After that the best by the
ranking are taken, each with probability 1 at that moment, except for a part that is drawn evenly from the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.routing.choosing import plans
from pipeline.routing.choosing.opening import Choice
from pipeline.routing.choosing.plans import BOTH, HUMAN, JUDGE, Plan

SEED, VALUE, EVEN, AGAIN, REVIEW, SURE, KIN = "seed", "value", "even", "disagreement", "review", "sure", "kin"
UNPAID = "unpaid"
CLOSABLE = (
    VALUE,
    KIN,
)  # what the ranking asked for it may take back before anybody answered; what was drawn it may not
DRAWN = ("audit", SEED, EVEN)
SIDES = ("a tie", "the first answer", "the second answer")


def bought(arm: str, reason: str, share: float, features: Mapping[str, Any], gain: float | None = None) -> Choice:
    """People are asked too, with this probability."""
    return Choice(BOTH, arm, reason, {BOTH: share, JUDGE: 1 - share}, features, gain)


def seeded(count: int, of: int, features: Mapping[str, Any]) -> Choice:
    reason = f"Drawn evenly, {count} of {of:,} that only the judge has answered, so that the router can learn from it."
    return bought(SEED, reason, count / of, features)


def evenly(count: int, of: int, features: Mapping[str, Any], gain: float) -> Choice:
    reason = f"Drawn evenly, {count} of the {of:,} that the ranking had left over, so that it can be checked."
    return bought(EVEN, reason, count / of, features, gain)


def by_worth(plan: Plan, features: Mapping[str, Any], gain: float) -> Choice:
    """Taken because nothing else is worth more."""
    return bought(VALUE, f"{ranked(plan, features)}{signals_in_words(features)}", 1.0, features, gain)


def ranked(plan: Plan, features: Mapping[str, Any]) -> str:
    """What the ranking saw, in words, with its values."""
    tie, first, second = features["believed"]
    doubt = f"{first:.0%} first, {second:.0%} second, {tie:.0%} tie"
    match plan.ranking:
        case plans.UNCERTAINTY:
            return f"The judges seem unsure of it: {features['doubt']:.2f}, where 0 is no doubt."
        case plans.ERRORS if features.get("learned_from"):
            taught = f"as learned from the {features['learned_from']:,} pairs that people answered too"
            return f"The judge is wrong with {features['score']:.0%}, {taught}."
        case plans.TRIAGE | plans.ERRORS:
            named = "; ".join(features.get("signs") or []) or "none in particular"
            return f"It shows {features['triage']:.1f} points of warning signs: {named}."
        case plans.GAIN:
            return f"Answers to pairs of its kinds still add most; the judges' doubt of it is {features['doubt']:.2f}."
        case plans.INFORMATION:
            return f"An answer here teaches the most: {1000 * features['score']:.1f} thousandths of a nat ({doubt})."
    wrong = features.get("wrong")
    judge = "" if wrong is None else f", the judge is wrong with {wrong:.0%}"
    points = f"{100 * features['gain']:.1f}"
    return f"Its label is open ({doubt}){judge}; one answer should make it {points} points more right."


def signals_in_words(features: Mapping[str, Any]) -> str:
    """The two or three signals that moved the belief most: name, value, and where they push."""
    signals = features.get("signals") or []
    named = [f"{signal['name']} {signal['value']:+.2f} (for {signal['for']})" for signal in signals]
    return f" Most telling: {'; '.join(named)}." if named else ""


def another(votes: Sequence[float], people: int, features: Mapping[str, Any]) -> Choice:
    """People disagree: one more is asked. Certain, once they do."""
    reason = f"{people} people disagree ({told(votes)}): one more is asked."
    return Choice(features["route"], AGAIN, reason, {features["route"]: 1.0}, features)


def to_reviewer(votes: Sequence[float], people: int, features: Mapping[str, Any], why: str) -> Choice:
    reason = f"{people} people disagree ({told(votes)}) and {why}: a reviewer decides; it stands in the review list."
    return Choice(features["route"], REVIEW, reason, {features["route"]: 1.0}, features)


def told(votes: Sequence[float]) -> str:
    """Votes in words: “1 for the first answer, 1 for a tie”."""
    return ", ".join(f"{count:.0f} for {SIDES[side]}" for side, count in enumerate(votes) if count)


def enough(side: int, probability: float, closed: int, features: Mapping[str, Any]) -> Choice:
    """Its label is sure enough: open places are closed."""
    reason = (
        f"Its label is {probability:.1%} sure ({SIDES[side]}), so nobody else is asked: "
        f"{closed} open place{'s' if closed != 1 else ''} closed."
    )
    return Choice(features["route"], SURE, reason, {features["route"]: 1.0}, features)


def instead_of_judge(money: float) -> Choice:
    """People in the judge's place. Certain, once its money is gone."""
    reason = (
        f"No judge has answered, and the policy's money for judges ({money:g}) is used up: people are asked instead."
    )
    return Choice(HUMAN, UNPAID, reason, {HUMAN: 1.0})


def of_its_kind(key: str, judge: int, person: int, features: Mapping[str, Any], gain: float) -> Choice:
    """An audit of its kind contradicted the judge."""
    reason = (
        f"Much like “{key}”, where the judge said {SIDES[judge]} and a person {SIDES[person]}: more of this kind goes "
        f"to people.{signals_in_words(features)}"
    )
    return bought(KIN, reason, 1.0, features, gain)
