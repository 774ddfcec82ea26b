"""Who is asked first about a new item: a draw over chances that follow from the policy and the item's own facts.

    [0, audit)                   people and judge, whatever else is known
    the rest, by the first rule  (1 − explore) as it says, explore to both, so that rules too can be checked
    the rest, without a rule     the policy's shares, or the judge, whose verdict the ranking then weighs

The place is drawn by a hash (`fixed_share.draw`), so a decision follows from what is kept of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.routing import fixed_share
from pipeline.routing.choosing.plans import BOTH, HUMAN, JUDGE, LANGUAGE, SAFETY, SHARES, TAG, Plan, Rule
from pipeline.routing.fixed_share import FixedShare

AUDIT, RULE, EXPLORE, FIRST, ALONE = "audit", "rule", "explore", "judge_first", "no_judge"
NO_JUDGE = "This project has no enabled judge, so everything goes to people."
NO_CONCERN = frozenset({"", "none", "no", "low", "false", "0", "safe"})


@dataclass(frozen=True)
class Facts:
    """What rules read of an item; `safety` is the level of concern, empty for none."""

    tags: tuple[str, ...] = ()
    language: str = ""
    safety: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"tags": list(self.tags), "language": self.language, "safety": self.safety}


@dataclass(frozen=True)
class Choice:
    """A decision with how it came about: `arm` is the part of the policy that made it, `chances` add up to 1."""

    decision: str
    arm: str
    reason: str
    chances: Mapping[str, float]
    features: Mapping[str, Any] = field(default_factory=dict)
    gain: float | None = None

    @property
    def propensity(self) -> float:
        return self.chances[self.decision]


def facts_of(tags: list[Any], metadata: Mapping[str, Any]) -> Facts:
    """An item's facts, from its tags and from `language` and `safety` or `safety_concern` of its metadata.

    A tag “safety” or “safety:high” says the same as the metadata would.
    """
    named = tuple(str(tag).strip().lower() for tag in tags)
    concern = metadata.get("safety_concern", metadata.get("safety", ""))
    level = "some" if concern is True else str(concern or "").strip().lower()
    tagged = next((tag for tag in named if tag.split(":")[0] in (SAFETY, "safety_concern")), "")
    if not level and tagged:
        level = tagged.partition(":")[2] or "some"
    language = str(metadata.get("language") or metadata.get("lang") or "").strip().lower()
    return Facts(named, language, "" if level in NO_CONCERN else level)


def fits(rule: Rule, facts: Facts) -> bool:
    wanted = {value.lower() for value in rule.values}
    match rule.about:
        case "tag":
            return not wanted.isdisjoint(facts.tags)
        case "language":
            return facts.language in wanted or facts.language.partition("-")[0] in wanted
        case _:
            return bool(facts.safety) and (not wanted or facts.safety in wanted)


def said_by(rule: Rule, facts: Facts) -> str:
    """What of the item made the rule fit: “tag medicine”."""
    match rule.about:
        case "tag":
            wanted = {value.lower() for value in rule.values}
            return f"{TAG} {', '.join(tag for tag in facts.tags if tag in wanted)}"
        case "language":
            return f"{LANGUAGE} {facts.language}"
        case _:
            return f"{SAFETY} concern “{facts.safety}”"


Arm = tuple[str, str, float, str]  # its name, its decision, its probability, its reason


def arms_of(plan: Plan, facts: Facts, *, has_judge: bool) -> list[Arm]:
    """The parts of [0, 1) in order; their probabilities add up to 1."""
    if not has_judge:
        name = fixed_share.NAME if plan.ranking == SHARES else ALONE
        return [(name, HUMAN, 1.0, NO_JUDGE)]
    drawn = f"Drawn as one of the {plan.audit:.1%} of items that people and the judge both answer."
    arms: list[Arm] = [(AUDIT, BOTH, plan.audit, drawn)] if plan.audit else []
    rest = 1 - plan.audit
    rule = next((rule for rule in plan.rules if fits(rule, facts)), None)
    if rule is not None:
        share = plan.explore if rule.decision != BOTH else 0.0
        why = f"By the rule “{rule.words}”: {said_by(rule, facts)}."
        if share:
            arms.append(
                (EXPLORE, BOTH, rest * share, f"Drawn to check the rule “{rule.words}” ({share:.0%} of its items).")
            )
        return [*arms, (RULE, rule.decision, rest * (1 - share), why)]
    if plan.ranking == SHARES:
        parts = FixedShare(judge=plan.judge, both=plan.both).parts()
        return [*arms, *((fixed_share.NAME, to, rest * share, why) for to, share, why in parts)]
    why = "The judge is asked first; people follow where an answer of theirs is worth most."
    return [*arms, (FIRST, JUDGE, rest, why)]


def choose(plan: Plan, facts: Facts, *, has_judge: bool, place: float) -> Choice:
    """The decision at a place drawn from [0, 1)."""
    arms = arms_of(plan, facts, has_judge=has_judge)
    chances = {decision: sum(arm[2] for arm in arms if arm[1] == decision) for decision in (HUMAN, JUDGE, BOTH)}
    end, chosen = 0.0, arms[-1]
    for arm in arms:
        end += arm[2]
        if place < end:
            chosen = arm
            break
    name, decision, _probability, reason = chosen
    features = {"facts": facts.as_json(), "draw": place, "has_judge": has_judge}
    return Choice(decision, name, reason, chances, features)
