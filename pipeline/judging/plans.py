"""How an item becomes requests, and replies an annotation: each protocol as a plan.

A plan is a generator: it yields the requests that can go out together, is sent their replies in the same order, and
returns its result. It knows no database and no network, so it can be run again from kept replies: that is how a judge
goes on after a kill without paying twice. All answers it returns are in stored order.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any, TypeVar

from annotate.questions import SPAN, steps, text_of
from annotate.questions.step import steps_of
from pipeline.judging import kinds, parsing, protocol
from pipeline.judging.config import BOTH, CRITERIA, RATINGS, VERDICT, Protocol
from pipeline.judging.exchange import UNSAID
from pipeline.judging.kinds import Form
from pipeline.judging.parsing import Unparsable
from pipeline.judging.protocol import AskedQuestion, Brief, Message, Shown

RETRY = 1000  # added to a sample's number when its reply could not be read and it is asked once more
LEVEL = 1e-9  # margins nearer to 0 than this are even

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One request: what it is for, its form, its sampling. `member` is the judge whose model is asked; 0 the own."""

    step: str
    form: Form
    heat: float = 0.0
    sample: int = 0
    logprobs: bool = True
    member: int = 0


@dataclass(frozen=True)
class Use:
    """One use of a tool (`evidence.py`), instead of a request."""

    tool: str
    text: str


@dataclass(frozen=True)
class Told:
    """A reply as a plan sees it. `logprobs` are those of the form's allowed verdicts, where the endpoint tells."""

    text: str
    finish_reason: str = "stop"
    logprobs: Mapping[str, float] = field(default_factory=dict)


Request = Ask | Use
Plan = Generator[Sequence[Request], Sequence[Told], T]


@dataclass(frozen=True)
class Vote:
    """What a judge says about two answers as presented. `shares` are probabilities of A, B and tie, where known."""

    choice: str
    reason: str = ""
    shares: Mapping[str, float] | None = None
    margin: float | None = None  # in [-1, 1], above 0 where A is better
    logprobs: Mapping[str, float] = field(default_factory=dict)  # of a single sample's verdict

    @property
    def lean(self) -> float:
        """The margin, or what shares or choice say of it."""
        if self.margin is not None:
            return self.margin
        if self.shares is not None:
            return self.shares.get("A", 0.0) - self.shares.get("B", 0.0)
        return {"A": 1.0, "B": -1.0}.get(self.choice, 0.0)


@dataclass(frozen=True)
class Graded:
    """One answer's rating: the mean of what the samples said; and how sure it is, where probabilities or samples tell.

    `expected` and `spread` are the mean and the standard deviation of the rating's distribution, `sure` its share
    within half a step of `value`.
    """

    value: float
    expected: float | None = None
    spread: float | None = None
    sure: float | None = None

    @property
    def kept(self) -> dict[str, float] | None:
        """As an annotation keeps it; None where nothing says how sure it is."""
        if self.expected is None or self.spread is None or self.sure is None:
            return None
        return {
            "expected": round(self.expected, 6),
            "spread": round(self.spread, 6),
            "confidence": round(self.sure, 6),
        }


@dataclass(frozen=True)
class Outcome:
    """What one judge says about one item in one order, in stored order. `details` go to the annotation's metadata.

    `answers` lacks what could not be read, and `error` says why. `logprobs` are of the verdict as presented.
    """

    answers: dict[str, Any]
    reason: str = ""
    reference: str = ""
    confidence: float | None = None
    error: str = ""
    logprobs: Mapping[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """One item in one presented order, as plans need it."""

    prompt: Sequence[Message]
    responses: Sequence[Sequence[Message]]  # in stored order
    order: Sequence[int]

    @property
    def lettered(self) -> list[tuple[str, Sequence[Message]]]:
        return protocol.lettered(self.responses, self.order)


# --- Parts ----------------------------------------------------------------------------------------------------
def together(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """Several plans at once: their requests go out together."""
    results: dict[int, T] = {}
    waiting: dict[int, Sequence[Request]] = {}

    def feed(place: int, told: Sequence[Told] | None) -> None:
        try:
            waiting[place] = next(plans[place]) if told is None else plans[place].send(told)
        except StopIteration as stop:
            results[place] = stop.value

    for place in range(len(plans)):
        feed(place, None)
    while waiting:
        under_way = dict(waiting)
        waiting.clear()
        told = list((yield [request for requests in under_way.values() for request in requests]))
        for place, requests in under_way.items():
            own, told = told[: len(requests)], told[len(requests) :]
            feed(place, own)
    return [results[place] for place in range(len(plans))]


def read(ask: Ask) -> Plan[tuple[Any, Told] | Unparsable]:
    """What a request's reply says; one that cannot be read is asked for once more."""
    for each in (ask, replace(ask, sample=ask.sample + RETRY)):
        (told,) = yield [each]
        try:
            if told.finish_reason in UNSAID:
                raise Unparsable(UNSAID[told.finish_reason])
            if ask.form.is_free and told.finish_reason == "length":
                raise Unparsable("It may lack its end.")
            return ask.form.read(told.text), told
        except Unparsable as error:
            cut = kinds.CUT if told.finish_reason == "length" else ""
            failure = Unparsable(f"{cut}{error}")
    return failure


def sampled(step: str, form: Form, how: Protocol) -> Plan[list[tuple[Any, Told]]]:
    """All samples of one request that can be read. Raises Unparsable where none can."""
    asks = [Ask(step, form, how.heat, number, how.logprobs) for number in range(how.samples)]
    answers = yield from together([read(ask) for ask in asks])
    usable = [answer for answer in answers if not isinstance(answer, Unparsable)]
    if not usable:
        raise next(answer for answer in answers if isinstance(answer, Unparsable))
    return usable


def vote_of(answers: Sequence[tuple[kinds.Verdict, Told]], tie: bool) -> Vote:
    """One vote from all samples: the mean of their verdicts' probabilities, a sample without any counting whole.

    One sample without log-probabilities says what, and not how sure it is.
    """
    first, told = answers[0]
    if len(answers) == 1 and first.verdict not in told.logprobs:
        return Vote(first.verdict, first.reason)
    each = [probabilities(verdict.verdict, told) for verdict, told in answers]
    shares = {name: sum(one.get(name, 0.0) for one in each) / len(each) for name in ("A", "B", "tie")}
    if len(answers) == 1:
        choice = first.verdict  # what it said; its own probabilities say how sure it is
    else:
        best = max(shares.values())
        top = [name for name, share in shares.items() if share > best - LEVEL]
        choice = top[0] if len(top) == 1 else ("tie" if tie else "unsure")
    reason = next((verdict.reason for verdict, _ in answers if verdict.verdict == choice), first.reason)
    return Vote(choice, reason, shares, logprobs=told.logprobs if len(answers) == 1 else {})


def probabilities(verdict: str, told: Told) -> dict[str, float]:
    return parsing.shares(told.logprobs) if verdict in told.logprobs else {verdict: 1.0}


# --- Two answers ----------------------------------------------------------------------------------------------
def by_verdict(brief: Brief, asked: AskedQuestion | None, how: Protocol, shown: Shown) -> Plan[Vote]:
    """One verdict on both answers. Raises Unparsable."""
    form = kinds.preference(brief, shown, critique=how.critique, question=asked)
    answers = yield from sampled("verdict", form, how)
    return vote_of(answers, kinds.may_tie(brief, asked))


def by_criteria(brief: Brief, how: Protocol, shown: Shown) -> Plan[tuple[Vote, dict[str, Any]]]:
    """A verdict a criterion, added up by weight; one answer that fails a veto loses. Raises Unparsable."""
    forms = [kinds.criterion(brief, asked, shown, critique=how.critique) for asked in brief.ratings]
    steps_ = [f"verdict on {asked.name}" for asked in brief.ratings]
    found = yield from together([caught(sampled(step, form, how)) for step, form in zip(steps_, forms, strict=True)])
    answers = [none_missing(each) for each in found]
    votes = [vote_of(each, tie=True) for each in answers]
    fails = {verdict.fails for each in answers for verdict, _ in each[:1]}
    failing = {"A", "B"} if "both" in fails or {"A", "B"} <= fails else fails & {"A", "B"}
    weights = weights_of(brief.ratings)
    margin = sum(weight * vote.lean for weight, vote in zip(weights, votes, strict=True))
    shares = {
        name: sum(
            weight * (vote.shares or {vote.choice: 1.0}).get(name, 0.0)
            for weight, vote in zip(weights, votes, strict=True)
        )
        for name in ("A", "B", "tie")
    }
    details = {asked.name: vote.choice for asked, vote in zip(brief.ratings, votes, strict=True)}
    reason = " ".join(f"{asked.title}: {vote.reason}" for asked, vote in zip(brief.ratings, votes, strict=True))
    return decided(brief, margin, failing, reason, shares), {"criteria": details, "failing": sorted(failing)}


def by_ratings(
    brief: Brief, how: Protocol, shown: Shown
) -> Plan[tuple[Vote, dict[str, Any], dict[str, list[Graded]]]]:
    """Each answer rated alone on each criterion, and the weighted ratings compared. Raises Unparsable.

    margin = Σ w (rating of A − rating of B) / (max − min) / Σ w. A rating at the bottom of a veto's scale fails.
    """
    ratings = yield from together([caught(rated(brief, asked, how, shown)) for asked in brief.ratings])
    found = {asked.name: none_missing(each) for asked, each in zip(brief.ratings, ratings, strict=True)}
    margin, failing = 0.0, set()
    for asked, weight in zip(brief.ratings, weights_of(brief.ratings), strict=True):
        low, high = asked.config.get("min", 1), asked.config.get("max", 5)
        first, second = (each.value for each in found[asked.name])
        margin += weight * (first - second) / (high - low)
        failing |= {letter for letter, rating in (("A", first), ("B", second)) if asked.is_veto and rating <= low}
    words = ", ".join(
        f"{asked.title} {found[asked.name][0].value:g} : {found[asked.name][1].value:g}" for asked in brief.ratings
    )
    return decided(brief, margin, failing, words, better_first(brief, found)), {"failing": sorted(failing)}, found


def better_first(brief: Brief, found: Mapping[str, Sequence[Graded]]) -> dict[str, float] | None:
    """The probabilities that either answer's weighted rating is the higher one; None where a spread is not known.

    The weighted difference is taken as normal, with the sum of the ratings' expectations and variances.
    """
    mean = variance = 0.0
    for asked, weight in zip(brief.ratings, weights_of(brief.ratings), strict=True):
        step = weight / (asked.config.get("max", 5) - asked.config.get("min", 1))
        first, second = found[asked.name]
        if first.expected is None or second.expected is None or first.spread is None or second.spread is None:
            return None
        mean += step * (first.expected - second.expected)
        variance += step**2 * (first.spread**2 + second.spread**2)
    if variance <= 0:
        return None
    share = NormalDist(0, sqrt(variance)).cdf(mean)
    return {"A": share, "B": 1 - share}


def decided(brief: Brief, margin: float, failing: set[str], reason: str, shares: Mapping[str, float] | None) -> Vote:
    """The vote that a margin and the failing answers make: a veto outweighs the margin."""
    if len(failing) == 1:
        (loser,) = failing
        return Vote(
            "B" if loser == "A" else "A", f"{reason} {loser} fails.".strip(), None, -1.0 if loser == "A" else 1.0
        )
    preference = next(asked for asked in brief.asked if asked.name == brief.question)
    if len(failing) == 2 and preference.config.get("both_bad", True):
        return Vote("both_bad", f"{reason} Both fail.".strip(), None, margin)
    if abs(margin) < LEVEL:
        return Vote("tie" if brief.tie else "unsure", reason, shares, 0.0)
    return Vote("A" if margin > 0 else "B", reason, shares, margin)


def weights_of(asked: Sequence[AskedQuestion]) -> list[float]:
    """The criteria's weights, adding up to 1; all the same where none has any."""
    total = sum(question.weight for question in asked)
    return [question.weight / total if total > 0 else 1 / len(asked) for question in asked]


# --- One answer at a time, or several -------------------------------------------------------------------------
def graded(answers: Sequence[tuple[kinds.Rating, Told]]) -> Graded:
    """One answer's rating from all samples: the mean of their distributions, a sample without any counting whole."""
    ratings = [rating.rating for rating, _ in answers]
    mean = sum(ratings) / len(ratings)
    value = int(mean) if mean == int(mean) else mean
    if len(answers) == 1 and str(ratings[0]) not in answers[0][1].logprobs:
        return Graded(value)
    each = [probabilities(str(rating.rating), told) for rating, told in answers]
    shares = {int(name): sum(one.get(name, 0.0) for one in each) / len(each) for one in each for name in one}
    expected = sum(rating * share for rating, share in shares.items())
    variance = sum(share * (rating - expected) ** 2 for rating, share in shares.items())
    sure = sum(share for rating, share in shares.items() if abs(rating - value) <= 0.5)
    return Graded(value, expected, sqrt(variance), min(1.0, sure))


def rated(brief: Brief, asked: AskedQuestion, how: Protocol, shown: Shown) -> Plan[list[Graded]]:
    """The rating of each answer as presented. Raises Unparsable.

    Every answer is shown alone, under no letter, so both presented orders ask the same and pay once.
    """
    alone = [Shown(shown.prompt, [("answer", answer)]) for _, answer in shown.answers]
    found = yield from together(
        [caught(sampled(f"rating of {asked.name}", kinds.rating(brief, asked, each), how)) for each in alone]
    )
    return [graded(none_missing(answers)) for answers in found]


def rating_outcome(asked: AskedQuestion, found: Sequence[Graded], order: Sequence[int]) -> Outcome:
    """Ratings in stored order; its confidence is the mean of the answers'."""
    in_order = stored(found, order)
    sure = [each.sure for each in in_order if each.sure is not None]
    return Outcome(
        {asked.name: [each.value for each in in_order]},
        confidence=sum(sure) / len(sure) if len(sure) == len(in_order) else None,
        details=spreads_of({asked.name: in_order}),
    )


def spreads_of(found: Mapping[str, Sequence[Graded]]) -> dict[str, Any]:
    """What is kept of how sure ratings are: question → one a response, in stored order."""
    kept = {name: [each.kept for each in row] for name, row in found.items() if any(each.kept for each in row)}
    return {"ratings": kept} if kept else {}


def each_alone(
    build: Callable[[Shown], Form], step: str, shown: Shown, skip: Callable[[Sequence[Message]], Any]
) -> Plan[list[Any]]:
    """What is said of every answer as presented, each shown alone. Raises Unparsable.

    `skip` gives the answer where nothing needs to be asked, and else None.
    """
    known = [skip(answer) for _, answer in shown.answers]
    asked = [place for place, value in enumerate(known) if value is None]
    forms = [build(Shown(shown.prompt, [("answer", shown.answers[place][1])])) for place in asked]
    found = yield from together([read(Ask(step, form)) for form in forms])
    for place, answer in zip(asked, found, strict=True):
        if isinstance(answer, Unparsable):
            raise answer
        known[place] = answer[0]
    return known


def once(step: str, form: Form) -> Plan[Any]:
    """What is said to one request. Raises Unparsable."""
    answer = yield from read(Ask(step, form))
    if isinstance(answer, Unparsable):
        raise answer
    return answer[0]


def stored(presented: Sequence[T], order: Sequence[int]) -> list[T]:
    """One value a response, from presented into stored order."""
    places = {position: place for place, position in enumerate(order)}
    return [presented[places[position]] for position in range(len(order))]


def other_answer(brief: Brief, asked: AskedQuestion, how: Protocol, shown: Shown, order: Sequence[int]) -> Plan[Any]:
    """The answer to a question that is no preference and no rating, in stored order. Raises Unparsable."""
    if asked.kind == "ranking":
        return stored((yield from once(f"ranking {asked.name}", kinds.ranking(brief, asked, shown))), order)
    if asked.kind == "choice":
        return (yield from once(f"choice {asked.name}", kinds.choice(brief, asked, shown)))
    step = f"{asked.kind} {asked.name}"
    if asked.kind == "critique" and not asked.config.get("each", False):
        return (yield from once(step, kinds.critique(brief, asked, shown)))
    build = {"critique": kinds.critique, "step": kinds.step, "span": kinds.span}[asked.kind]
    split = asked.config.get("split", "paragraph")

    def no_steps(answer: Sequence[Message]) -> list[str] | None:
        return [] if asked.kind == "step" and not steps_of(text_of(answer), split) else None

    found = stored((yield from each_alone(partial(build, brief, asked), step, shown, no_steps)), order)
    if asked.kind != SPAN:
        return found
    return [{"response": place, **passage} for place, passages in enumerate(found) for passage in passages]


def caught(plan: Plan[T]) -> Plan[T | Unparsable]:
    """The plan's result, or why there is none."""
    try:
        return (yield from plan)
    except Unparsable as error:
        return error


def none_missing(found: T | Unparsable) -> T:
    if isinstance(found, Unparsable):
        raise found
    return found


# --- The whole ------------------------------------------------------------------------------------------------
Gather = Callable[[Brief, Subject], Plan[str]]


def whole(brief: Brief, how: Protocol, subject: Subject, gather: Gather | None = None) -> Plan[Outcome]:
    """Everything that one judge is asked about one item in one order. `gather` is its evidence step, if it has one."""
    extras: list[tuple[str, str]] = []
    reference = ""
    try:
        if how.reference:
            reference = yield from once("reference", kinds.reference(brief, subject.prompt))
            extras.append((protocol.REFERENCE, reference))
        if gather is not None:
            evidence = yield from gather(brief, subject)
            extras += [(protocol.EVIDENCE, evidence)] if evidence else []
    except Unparsable as error:
        return nothing(brief, error)
    shown = Shown(subject.prompt, subject.lettered, extras)
    parts = yield from together([caught(part(brief, asked, how, shown, subject.order)) for asked in brief.asked])
    return combined(brief, parts, reference)


Part = Outcome  # of one question


def part(brief: Brief, asked: AskedQuestion, how: Protocol, shown: Shown, order: Sequence[int]) -> Plan[Part]:
    """One question's share of the outcome. Raises Unparsable."""
    if asked.kind == "rating":
        return rating_outcome(asked, (yield from rated(brief, asked, how, shown)), order)
    if asked.kind != "preference":
        return Outcome({asked.name: (yield from other_answer(brief, asked, how, shown, order))})
    if len(shown.answers) != 2:
        raise protocol.ProtocolError(f"A judge compares two answers, and the item has {len(shown.answers)}.")
    details: dict[str, Any] = {}
    also: dict[str, Any] = {}
    if how.pairwise == VERDICT or asked.name != brief.question:
        vote = yield from by_verdict(brief, asked, how, shown)
    elif how.pairwise == CRITERIA:
        vote, details = yield from by_criteria(brief, how, shown)
    else:
        vote, details, found = yield from by_ratings(brief, how, shown)
        in_order = {name: stored(each, order) for name, each in found.items()}
        also = {name: [one.value for one in each] for name, each in in_order.items()}
        details |= spreads_of(in_order)
    spoken = outcome_of(vote, asked, order)
    return replace(spoken, answers={**spoken.answers, **also}, details={**spoken.details, **details})


def outcome_of(vote: Vote, asked: AskedQuestion, order: Sequence[int]) -> Outcome:
    """A vote on what was presented in this order, in stored order. The margin is above 0 where the first is better."""
    return Outcome(
        {asked.name: preference_answer(vote, asked, order)},
        vote.reason,
        confidence=confidence_of(vote),
        details={"margin": round(vote.lean * (1 if order[0] == 0 else -1), 6)},
        logprobs=vote.logprobs,
    )


def preference_answer(vote: Vote, asked: AskedQuestion, order: Sequence[int]) -> dict[str, Any]:
    """The vote as an answer in stored order, with the strength of its margin where that is known.

    The scale's steps are equal parts of the margin: with three steps, .2 is slightly, .5 clearly, .9 much better.
    Where the probabilities speak for the other answer than the one it named, it is the least strength.
    """
    choice = protocol.choice_of(vote.choice, order)
    if choice not in ("a", "b") or (vote.shares is None and vote.margin is None):
        return {"choice": choice}
    most = steps(asked.config.get("points", 7))
    lean = vote.lean if vote.choice == "A" else -vote.lean
    return {"choice": choice, "strength": min(most, max(1, ceil(lean * most)))}


def confidence_of(vote: Vote) -> float | None:
    """The probability of what it chose; None where nothing says how sure it is."""
    return vote.shares.get(vote.choice) if vote.shares is not None else None


def combined(brief: Brief, parts: Sequence[Part | Unparsable], reference: str) -> Outcome:
    """All questions' parts in one; the first preference, or else the first question, speaks for the whole.

    How sure the judge is of the other preferences is kept under `others`.
    """
    readable = [found for found in parts if not isinstance(found, Unparsable)]
    errors = [str(found) for found in parts if isinstance(found, Unparsable)]
    answers = {name: answer for found in readable for name, answer in found.answers.items()}
    asked_first = [asked.name for asked in brief.asked]
    for asked, found in zip(brief.asked, parts, strict=True):
        if isinstance(found, Unparsable) and asked.kind == "preference":
            answers[asked.name] = {"choice": "unparsable"}
    main = brief.question or asked_first[0]
    speaker = next((found for found in readable if main in found.answers), Outcome({}))
    others = {
        name: {"confidence": found.confidence, "margin": found.details["margin"]}
        for found in readable
        for name in found.answers
        if found is not speaker and "margin" in found.details
    }
    spreads = {name: row for found in readable for name, row in found.details.get("ratings", {}).items()}
    kept = {"others": others} if others else {}
    details = {**speaker.details, **kept, **({"ratings": spreads} if spreads else {})}
    return replace(speaker, answers=answers, reference=reference, error=" ".join(errors), details=details)


def nothing(brief: Brief, error: Unparsable) -> Outcome:
    """The outcome where a step before the verdict could not be read."""
    unread = {asked.name: {"choice": "unparsable"} for asked in brief.asked if asked.kind == "preference"}
    return Outcome(unread, error=str(error))


def orders_of(responses: int, how: Protocol) -> list[tuple[int, ...]]:
    """The presented orders in which an item with so many responses is asked: as stored, and reversed."""
    stored_order = tuple(range(responses))
    if responses == 1 or how.orders != BOTH:
        return [stored_order]
    return [stored_order, stored_order[::-1]]


__all__ = ["RATINGS", "Ask", "Outcome", "Plan", "Subject", "Told", "Use", "orders_of", "together", "whole"]
