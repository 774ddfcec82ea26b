"""Judges made of several: a panel that votes, and a cascade from cheap to dear as far as there is doubt.

Both are plans over the plans of their members, whose requests they tag with the member's id. Replies are kept by their
content, so a member that the project also asks by itself is not paid twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pipeline.judging import evidence, plans
from pipeline.judging.config import BOTH, Protocol
from pipeline.judging.plans import Ask, Outcome, Plan, Request, Subject, preference_answer
from pipeline.judging.protocol import AskedQuestion, Brief

SPOKEN = ("a", "b", "tie")

T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """One judge of several: its id in plans, its name, what it is told and how it is asked."""

    pk: int
    name: str
    brief: Brief
    how: Protocol
    prompt_version: str = ""

    def asked(self, subject: Subject) -> Plan[Outcome]:
        """Its own plan, with its requests under its id."""
        plan = plans.whole(self.brief, self.how, subject, evidence.gatherer(self.how))
        return tagged(plan, self.pk)


def tagged(plan: Plan[T], member: int) -> Plan[T]:
    """The same plan, whose requests go to this member."""
    try:
        requests = next(plan)
        while True:
            told = yield [to_member(request, member) for request in requests]
            requests = plan.send(told)
    except StopIteration as stop:
        result: T = stop.value
        return result


def to_member(request: Request, member: int) -> Request:
    return replace(request, member=member) if isinstance(request, Ask) else request


def preference_of(brief: Brief) -> AskedQuestion:
    return next(asked for asked in brief.asked if asked.name == brief.question)


def choice_in(brief: Brief, outcome: Outcome) -> str:
    return str(outcome.answers.get(brief.question, {}).get("choice", "unparsable"))


# --- A panel --------------------------------------------------------------------------------------------------
def panel(brief: Brief, members: Sequence[Member], subject: Subject) -> Plan[Outcome]:
    """Every member is asked; the mean of their votes decides, and how they differ is kept.

    A member's vote is its probabilities where it knows them, and else its choice; one without a verdict has no vote.
    """
    outcomes = yield from plans.together([member.asked(subject) for member in members])
    votes = {member.name: choice_in(member.brief, outcome) for member, outcome in zip(members, outcomes, strict=True)}
    voting = [
        (member.name, outcome)
        for member, outcome in zip(members, outcomes, strict=True)
        if votes[member.name] in SPOKEN
    ]
    details: dict[str, Any] = {"votes": votes, "prompts": {member.name: member.prompt_version for member in members}}
    if not voting:
        errors = " ".join(f"{name}: {outcome.error}" for name, outcome in zip(votes, outcomes, strict=True))
        return Outcome({brief.question: {"choice": "unparsable"}}, error=errors, details=details)
    shares = mean([shares_of(outcome, votes[name]) for name, outcome in voting])
    vote = plans.Vote(chosen(shares, brief.tie), "", shares)
    winner = letter_to(vote.choice)
    reasons = " ".join(f"{name}: {outcome.reason}" for name, outcome in voting if votes[name] == winner)
    return Outcome(
        {brief.question: preference_answer(vote, preference_of(brief), (0, 1))},
        reasons,
        confidence=plans.confidence_of(vote),
        details={**details, "margin": round(vote.lean, 6), "agree": len(set(votes.values())) == 1},
    )


def letter_to(choice: str) -> str:
    return {"A": "a", "B": "b"}.get(choice, choice)


def shares_of(outcome: Outcome, choice: str) -> dict[str, float]:
    """A member's probabilities of A (the first in stored order), B and tie.

    With a confidence c in its choice, the rest is spread by its margin where that says how, else evenly.
    """
    if outcome.confidence is None:
        return {{"a": "A", "b": "B"}.get(choice, choice): 1.0}
    margin = float(outcome.details.get("margin", 0.0))
    if choice == "tie":
        rest = 1.0 - outcome.confidence
        return {"A": (rest + margin) / 2, "B": (rest - margin) / 2, "tie": outcome.confidence}
    mine, other = ("A", "B") if choice == "a" else ("B", "A")
    against = outcome.confidence - abs(margin)
    return {mine: outcome.confidence, other: max(0.0, against), "tie": max(0.0, 1.0 - outcome.confidence - against)}


def mean(each: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one.get(name, 0.0) for one in each) / len(each) for name in ("A", "B", "tie")}


def chosen(shares: dict[str, float], tie: bool) -> str:
    """The likeliest; between two that are level, nobody has won."""
    best = max(shares.values())
    top = [name for name, share in shares.items() if share > best - plans.LEVEL]
    return top[0] if len(top) == 1 else ("tie" if tie else "unsure")


# --- A cascade ------------------------------------------------------------------------------------------------
def cascade(brief: Brief, members: Sequence[Member], how: Protocol, subject: Subject) -> Plan[Outcome]:
    """The members from cheap to dear, each only where the one before is unsure.

    A judge is sure when it says the same in both orders, decides, and is at least as sure as `how.threshold` wherever
    it says how sure it is. Both orders of an item ask the same of the cheap judge, and pay once.
    """
    names: list[str] = []
    for member in members:
        names.append(member.name)
        other = replace(subject, order=tuple(subject.order)[::-1])
        both = [subject, other] if how.orders == BOTH else [subject]
        if member is members[-1]:
            both = [subject]
        outcomes = yield from plans.together([member.asked(each) for each in both])
        why = doubt(member.brief, outcomes, how.threshold)
        if not why or member is members[-1]:
            break
    prompts = {member.name: member.prompt_version for member in members[: len(names)]}
    details = {**outcomes[0].details, "tier": len(names), "asked": names, "prompts": prompts}
    return replace(outcomes[0], details=details)


def doubt(brief: Brief, outcomes: Sequence[Outcome], threshold: float) -> str:
    """Why a judge's answers in its orders are not sure enough; empty where they are."""
    choices = {choice_in(brief, outcome) for outcome in outcomes}
    if len(choices) > 1:
        return "its orders differ"
    if not choices <= {"a", "b", "both_bad"}:
        return "it does not decide"
    known = [outcome.confidence for outcome in outcomes if outcome.confidence is not None]
    if known and min(known) < threshold:
        return f"it is only {min(known):.0%} sure"
    return ""
