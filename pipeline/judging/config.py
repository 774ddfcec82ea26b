"""How a judge is asked: the settings of its protocol, frozen and checked when made; kept on the judge as JSON."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipeline.ml.configs import ConfigError, StageConfig, from_dict, setting, to_dict

VERDICT, CRITERIA, RATINGS = PAIRWISE = ("verdict", "criteria", "ratings")
BOTH, ONE = ORDERS = ("both", "one")
TOOLS = ("calculator", "python", "search")


@dataclass(frozen=True, kw_only=True)
class Protocol(StageConfig):
    """How one judge is asked about one item. A panel or a cascade has its members' protocols, and here the rest."""

    questions: str = setting(
        "",
        "Questions",
        "Names of the project's questions that it answers, with commas; empty for the first preference.",
    )
    pairwise: str = setting(
        VERDICT,
        "How two answers are compared",
        "verdict: one verdict on both. criteria: one verdict a criterion, added up by weight. ratings: each answer is "
        "rated alone on every criterion, and the weighted ratings are compared.",
        choices=PAIRWISE,
    )
    orders: str = setting(
        BOTH,
        "Orders",
        "both: every item is asked in both orders, and disagreement is kept. one: half the price, and blind to a "
        "judge that prefers a place.",
        choices=ORDERS,
    )
    critique: bool = setting(False, "Critique first", "It writes what is good and bad before its verdict.")
    reference: bool = setting(
        False, "Own answer first", "It answers the conversation itself, and then judges beside its own answer."
    )
    logprobs: bool = setting(
        True,
        "Log-probabilities",
        "Take from them how sure it is, where the endpoint tells.",
    )
    samples: int = setting(
        1,
        "Samples",
        "How often each question is asked: the votes say how sure it is.",
        minimum=1,
        maximum=25,
    )
    temperature: float = setting(
        0.7, "Temperature", "Of several samples; a single one is asked at 0.", minimum=0.05, maximum=2.0
    )
    calculator: bool = setting(False, "Calculator", "It may have sums worked out before its verdict.")
    python: bool = setting(False, "Python", "It may run small programs, locked away from files and network.")
    search: bool = setting(False, "Search", "It may use the site's search function, if the site has one.")
    evidence_calls: int = setting(
        3, "Uses of tools", "How many it may ask for, an item and order.", minimum=1, maximum=10
    )
    threshold: float = setting(
        0.8,
        "Sure enough",
        "Of a cascade: the dear judge is asked where the cheap one is less sure, differs between the orders, ties or "
        "gives no verdict.",
        minimum=0.5,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [name.strip() for name in self.questions.split(",") if name.strip()]
        object.__setattr__(self, "questions", ",".join(dict.fromkeys(names)))
        if self.critique and self.pairwise == RATINGS:
            raise ConfigError("critique cannot be true with ratings, which give reasons anyway: turn one off.")

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of the questions that it answers."""
        return tuple(self.questions.split(",")) if self.questions else ()

    @property
    def tools(self) -> tuple[str, ...]:
        given = dataclasses.asdict(self)
        return tuple(tool for tool in TOOLS if given[tool])

    @property
    def heat(self) -> float:
        """The temperature of its requests."""
        return self.temperature if self.samples > 1 else 0.0


def protocol_of(values: dict[str, Any]) -> Protocol:
    """The protocol that a judge keeps. Raises ConfigError for a setting that cannot be."""
    return from_dict(Protocol, values)


def differences(protocol: Protocol) -> str:
    """In a few words, the settings that are not the defaults: another way of asking is another evaluator."""
    usual, own = to_dict(Protocol()), to_dict(protocol)
    return ", ".join(f"{name} {own[name]}".lower() for name in own if own[name] != usual[name])


def kept(protocol: Protocol) -> dict[str, Any]:
    """A protocol as a judge keeps it."""
    return to_dict(protocol)
