"""What raters said about one item adds up to: pure functions from opinions to the fields of a Label.

People outvote judges: a judge's vote counts only where no person answered. `unsure` and `unparsable` are not votes. A
judge asked in both orders has one vote, split where the two differ. By majority, the probability of each option is a
smoothed share of the votes, times every Prior of the item:

    P(k) ∝ (votes for k + 1) / (votes + options) · Π prior(k)

A Prior that says what judges' verdicts are worth once calibrated stands in the place of their votes: it counts where
no person answered, and is not multiplied with what it was made from.

One pseudo-vote an option is Laplace's rule of succession. Between two sides it is (n_a + 1) / (n + 2), the soft
label of Mitchell, "A note on DPO with noisy preferences" (2023), with α = 1. Where a fit of the raters is in force
(`annotate.skills`), votes weigh by it instead; see `annotate.statistics` for the models. The value is the most
probable option; where the first place is shared, it is a tie.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from math import exp, fsum, log
from statistics import fmean
from typing import Any, Protocol

from annotate.questions import SILENT
from annotate.statistics import choices, rankings, ratings, spans, steps

HUMAN, JUDGE, PRIOR = "human", "judge", "prior"
OF_JUDGES = "calibrated judges"  # the source of a Prior that stands for judges' votes, and the method of its Label
ROUTER = "router"  # the same, from the label model, which knows more than the judges' votes: it goes before the other
STAND_FOR_JUDGES = {ROUTER: "label model", OF_JUDGES: OF_JUDGES}  # source → the method of the Label
MAJORITY, SKILL_WEIGHTED, DAWID_SKENE, LEANINGS = "majority", "skill_weighted", "dawid_skene", "leanings"
WORDS = {SKILL_WEIGHTED: "skill-weighted", DAWID_SKENE: "Dawid–Skene"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SAME = 1e-9  # probabilities nearer than this are equal
LEAST = 1e-6  # what a prior gives an option that it does not name

Vote = Mapping[str, float]
Shares = dict[str, float]
Priors = Sequence[Mapping[str, float]]
Calibrated = tuple[str, Mapping[str, float]]  # a source of STAND_FOR_JUDGES, and what it says


@dataclass(frozen=True)
class Opinion:
    """What one rater says about one item in one presented order. `kind` is "human" or "judge"."""

    rater: int
    kind: str
    answers: Mapping[str, Any]
    at: datetime | None = None


@dataclass(frozen=True)
class Known:
    """The fit in force for a question: what it knows of the question, and of each rater by id."""

    method: str
    version: int
    parameters: Mapping[str, Any]
    raters: Mapping[int, Mapping[str, Any]]


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
    details: dict[str, Any] = field(default_factory=dict)


class Asked(Protocol):
    """What deciding needs to know of a question."""

    name: str
    kind: str
    config: Any


# --- Who decides ----------------------------------------------------------------------------------------------


def who_decides(by_rater: Mapping[str, Mapping[int, list[Any]]]) -> str | None:
    """People where any answered, else judges where any did. Takes kind → rater → answers."""
    return next((kind for kind in (HUMAN, JUDGE) if by_rater.get(kind)), None)


def said_about(name: str, opinions: Iterable[Opinion]) -> dict[str, dict[int, list[Any]]]:
    """Kind → rater → that rater's answers to one question, one for each order."""
    found: dict[str, dict[int, list[Any]]] = {HUMAN: defaultdict(list), JUDGE: defaultdict(list)}
    for opinion in opinions:
        if (answer := opinion.answers.get(name)) is not None:
            found[opinion.kind][opinion.rater].append(answer)
    return found


def deciding(
    name: str, opinions: Iterable[Opinion], speaks: Callable[[list[Any]], Any]
) -> tuple[str | None, dict[int, list[Any]]]:
    """Who decides, and their answers by rater, of those for whom `speaks` is true."""
    voting = {
        kind: {rater: answers for rater, answers in raters.items() if speaks(answers)}
        for kind, raters in said_about(name, opinions).items()
    }
    kind = who_decides(voting)
    return kind, voting[kind] if kind else {}


# --- Votes between options ------------------------------------------------------------------------------------


def one_vote(answers: Sequence[Mapping[str, Any]]) -> Shares:
    """One rater's vote, option → weight (together 1), from the answer in each order; empty for silence."""
    return shared([answer["choice"] for answer in answers if answer["choice"] not in SILENT])


def shared(spoken: Sequence[str]) -> Shares:
    """What was said, each as a share of all that was said: [a, a, b, b] → {a: ½, b: ½}."""
    return {choice: count / len(spoken) for choice, count in Counter(spoken).items()}


def vote_shares(votes: Iterable[Vote]) -> Shares:
    """Option → plain share of the votes, without smoothing."""
    counts: Counter[str] = Counter()
    for vote in votes:
        counts.update(vote)
    total = sum(counts.values())
    return {option: count / total for option, count in counts.items()}


def smoothed(votes: Iterable[Vote], options: Sequence[str]) -> Shares:
    """Option → (votes for it + 1) / (votes + options). Two votes for a of a, b, tie: 3/5, 1/5, 1/5."""
    counts = dict.fromkeys(options, 1.0)
    for vote in votes:
        for option, weight in vote.items():
            counts[option] = counts.get(option, 1.0) + weight
    total = sum(counts.values())
    return {option: count / total for option, count in counts.items()}


def with_prior(shares: Mapping[str, float], prior: Mapping[str, float]) -> Shares:
    """The shares times the prior, made to add up to 1 again."""
    product = {option: share * max(prior.get(option, 0.0), LEAST) for option, share in shares.items()}
    total = sum(product.values())
    return {option: share / total for option, share in product.items()}


def winner(distribution: Mapping[str, float]) -> str:
    """The most probable option; a tie where the first place is shared."""
    leaders = choices.leaders(distribution)
    return leaders[0] if len(leaders) == 1 else "tie"


def majority(votes: Sequence[Vote], options: Sequence[str], priors: Priors = ()) -> tuple[str, Shares]:
    """The value that the votes add up to, and the probability of every option."""
    distribution = reduce(with_prior, priors, smoothed(votes, options))
    return winner(distribution), distribution


def posterior(
    votes: Mapping[int, Vote], options: Sequence[str], kind: str, known: Known | None, priors: Priors
) -> tuple[Shares, str]:
    """The probability of every option from raters' votes, and the words for how it was found."""
    if known is not None and usable(votes, kind, known):
        shares = {DAWID_SKENE: by_confusions, SKILL_WEIGHTED: by_weights}[known.method](votes, known, priors)
        return shares, f"{WORDS[known.method]}{' with prior' if priors else ''}, fit {known.version}"
    shares = reduce(with_prior, priors, smoothed(votes.values(), options))
    return shares, "majority with prior" if priors else "majority"


def usable(votes: Mapping[int, Vote], kind: str, known: Known) -> bool:
    """Does the fit know these options, and, of judges, every one? A person it does not know counts as a usual one."""
    if known.method not in WORDS:
        return False
    options = set(known.parameters["options"])
    strange = any(option not in options for vote in votes.values() for option in vote)
    return not strange and (kind == HUMAN or all(rater in known.raters for rater in votes))


def class_prior(known: Known, priors: Priors) -> Shares:
    """How common each option is; for an item with Priors of its own, those in its place."""
    options = known.parameters["options"]
    if not priors:
        return dict(zip(options, known.parameters["prior"], strict=True))
    return reduce(with_prior, priors, dict.fromkeys(options, 1 / len(options)))


def by_confusions(votes: Mapping[int, Vote], known: Known, priors: Priors) -> Shares:
    """Dawid–Skene: P(k) ∝ π_k Π_j C_j[k, y_j], with the stored parameters."""
    place = {option: n for n, option in enumerate(known.parameters["options"])}
    usual = known.parameters["usual"]
    logs = {option: [log(share)] for option, share in class_prior(known, priors).items()}
    for rater, vote in votes.items():
        confusion = known.raters.get(rater, usual)["confusion"]
        for said, weight in vote.items():
            for option, parts in logs.items():
                parts.append(weight * log(confusion[place[option]][place[said]]))
    return normalised(logs)


def by_weights(votes: Mapping[int, Vote], known: Known, priors: Priors) -> Shares:
    """Skill weights: P(k) ∝ prior_k exp(Σ weights of those who said k); without a Prior all options are alike."""
    logs = {option: [log(share)] for option, share in class_prior(known, priors).items()}
    for rater, vote in votes.items():
        weight = known.raters.get(rater, known.parameters["usual"])["weight"]
        for said, part in vote.items():
            logs[said].append(part * weight)
    return normalised(logs)


def normalised(logs: Mapping[str, Sequence[float]]) -> Shares:
    """Sums of logs as shares. `fsum`, so that the order in which raters stand changes not one bit."""
    sums = {option: fsum(parts) for option, parts in logs.items()}
    highest = max(sums.values())
    weights = {option: exp(value - highest) for option, value in sums.items()}
    total = fsum(weights.values())
    return {option: weight / total for option, weight in weights.items()}


# --- One question of each kind --------------------------------------------------------------------------------


def preference_options(config: Mapping[str, Any]) -> list[str]:
    """What the question offers. A tie is always one: an even split is a tie, whatever the scale."""
    return ["a", "b", "tie", *(["both_bad"] if config.get("both_bad", True) else [])]


def aggregate_preference(
    name: str,
    config: Mapping[str, Any],
    opinions: Sequence[Opinion],
    priors: Priors = (),
    known: Known | None = None,
    calibrated: Calibrated | None = None,
) -> Aggregate | None:
    """What the opinions say about one preference question; None where nobody voted and nothing is known.

    `calibrated` is what the judges' votes are worth, where somebody knows.
    """
    kind, said = deciding(name, opinions, one_vote)
    if kind is None and not priors:
        return None
    votes = {rater: one_vote(answers) for rater, answers in said.items()}
    if kind == JUDGE and calibrated:
        source, shares = calibrated
        distribution, method = reduce(with_prior, priors, dict(shares)), STAND_FOR_JUDGES[source]
    else:
        options = preference_options(config)
        distribution, method = posterior(votes, options, kind or PRIOR, known if kind else None, priors)
    value = winner(distribution)
    return Aggregate(
        value=value,
        probability=distribution.get(value, 0.0),
        distribution=distribution,
        strength=mean_strength(said.values(), value),
        votes=len(votes),
        method=method if kind else PRIOR,
        decided_by=kind or PRIOR,
        details={"shares": vote_shares(votes.values())} if kind else {},
    )


def mean_strength(answers: Iterable[Sequence[Mapping[str, Any]]], value: str) -> float | None:
    """Mean steps from the scale's centre over the raters who chose the value and said how strongly."""
    of_raters = []
    for said in answers:
        steps_said = [answer["strength"] for answer in said if answer["choice"] == value and "strength" in answer]
        if steps_said:
            of_raters.append(fmean(steps_said))
    return fmean(of_raters) if of_raters else None


def mean_known(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None


def own_ratings(orders: Sequence[Sequence[float | None]]) -> list[float | None]:
    """One rater's rating of each response: the mean over the orders in which they were shown."""
    return [mean_known(column) for column in zip(*orders, strict=True)]


def aggregate_rating(
    name: str, opinions: Sequence[Opinion], config: Mapping[str, Any] | None = None, known: Known | None = None
) -> Aggregate | None:
    """The mean rating of each response, less the raters' leanings where a fit knows them; None where nobody rated.

    `details` keeps the raw means and the standard errors, which are None where they cannot be known.
    """
    kind, said = deciding(name, opinions, lambda orders: any(rating is not None for rating in own_ratings(orders)))
    if kind is None:
        return None
    leaning = leanings_of(said, known if kind == HUMAN else None)
    given = {rater: own_ratings(orders) for rater, orders in said.items()}
    columns = [
        [(rating, leaning[rater]) for rater, rating in zip(given, column, strict=True) if rating is not None]
        for column in zip(*given.values(), strict=True)
    ]
    fitted = known if known is not None and any(leaning.values()) else None
    deviation = fitted.parameters.get("deviation") if fitted else None
    return Aggregate(
        value=[inside(mean_known(rating - bias for rating, bias in column), config) for column in columns],
        probability=None,
        distribution={},
        strength=None,
        votes=len(given),
        method=f"mean without leanings, fit {fitted.version}" if fitted else "mean",
        decided_by=kind,
        details={
            "raw": [mean_known(rating for rating, _ in column) for column in columns],
            "standard_errors": [
                ratings.standard_error([rating - bias for rating, bias in column], deviation) if column else None
                for column in columns
            ],
        },
    )


def leanings_of(raters: Iterable[int], known: Known | None) -> dict[int, float]:
    """Rater → how many points more than others they give; 0 where nothing is known."""
    if known is None or known.method != LEANINGS:
        return dict.fromkeys(raters, 0.0)
    return {rater: known.raters.get(rater, {}).get("bias", 0.0) for rater in raters}


def inside(mean: float | None, config: Mapping[str, Any] | None) -> float | None:
    """A mean kept on the scale, which taking a leaning away could leave."""
    if mean is None or config is None:
        return mean
    return min(max(mean, config.get("min", 1)), config.get("max", 5))


def aggregate_ranking(name: str, opinions: Sequence[Opinion]) -> Aggregate | None:
    """The consensus of the rankings; `distribution` holds "a>b" → the probability that a stands above b."""
    kind, said = deciding(name, opinions, bool)
    if kind is None:
        return None
    found = rankings.consensus([own_ranking(orders) for orders in said.values()])
    size = len(found.ranks)
    pairs = {
        f"{LETTERS[i]}>{LETTERS[j]}": float(found.above[i, j]) for i in range(size) for j in range(size) if i != j
    }
    details = {"mean_ranks": found.mean_ranks.tolist(), "equally_good_orders": found.orders}
    return Aggregate(found.ranks, rankings.weakest(found), pairs, None, len(said), found.method, kind, details)


def own_ranking(orders: Sequence[Sequence[int]]) -> list[int]:
    """One rater's ranking: by the mean of the ranks in each order shown."""
    places = [rankings.middle_ranks(ranks).tolist() for ranks in orders]
    return rankings.dense([fmean(column) for column in zip(*places, strict=True)])


def choice_options(config: Mapping[str, Any], taken: Iterable[str]) -> list[str]:
    """The values that a choice offers, then any others that were taken under earlier settings."""
    offered = [option["value"] if isinstance(option, Mapping) else option for option in config.get("options", [])]
    return list(dict.fromkeys([*map(str, offered), *sorted(taken)]))


def aggregate_choice(
    name: str,
    config: Mapping[str, Any],
    opinions: Sequence[Opinion],
    priors: Priors = (),
    known: Known | None = None,
    calibrated: Calibrated | None = None,
) -> Aggregate | None:
    """The options that people chose. One of several is a vote; of several that may be taken, each is its own.

    `calibrated` is what the judges' votes on one of several are worth, where somebody knows.
    """
    kind, said = deciding(name, opinions, lambda orders: any(orders) or bool(config.get("multiple")))
    if kind is None:
        return None
    options = choice_options(config, {value for orders in said.values() for answer in orders for value in answer})
    if config.get("multiple"):
        value, shares = choices.several([orders[0] for orders in said.values()], options)
        probability = min(
            (shares[option] if option in value else 1 - shares[option] for option in options), default=None
        )
        return Aggregate(value, probability, shares, None, len(said), "majority", kind, {})
    votes = {rater: shared([answer[0] for answer in orders if answer]) for rater, orders in said.items()}
    if kind == JUDGE and calibrated:
        source, worth = calibrated
        shares, method = reduce(with_prior, priors, dict(worth)), STAND_FOR_JUDGES[source]
    else:
        shares, method = posterior(votes, options, kind, known, priors)
    leading = choices.leaders(shares)
    details = {"shares": vote_shares(votes.values())}
    return Aggregate(leading, shares[leading[0]], shares, None, len(votes), method, kind, details)


def aggregate_step(name: str, opinions: Sequence[Opinion]) -> Aggregate | None:
    """What most say of each step of each response; None for a step that is split."""
    kind, said = deciding(name, opinions, bool)
    if kind is None:
        return None
    found = [steps.consensus(readings) for readings in zip(*(orders[0] for orders in said.values()), strict=True)]
    details = {
        "probabilities": [response.probabilities for response in found],
        "first_error": [response.first_error for response in found],
    }
    value = [response.marks for response in found]
    return Aggregate(value, None, {}, None, len(said), "majority of each step", kind, details)


def aggregate_span(name: str, opinions: Sequence[Opinion]) -> Aggregate | None:
    """The spans that more than half marked, and how far those who marked agree (mean pairwise F1 on characters)."""
    kind, said = deciding(name, opinions, lambda orders: True)
    if kind is None:
        return None
    marked = [orders[0] for orders in said.values()]
    details = {"agreement": spans.agreement(marked)}
    value = spans.consensus(marked)
    return Aggregate(value, None, {}, None, len(said), "majority of each character", kind, details)


def aggregate_question(
    question: Asked,
    opinions: Sequence[Opinion],
    priors: Priors = (),
    known: Known | None = None,
    calibrated: Calibrated | None = None,
) -> Aggregate | None:
    """What the opinions add up to on any kind of question; None without votes, and for kinds that are not voted on."""
    name, config = question.name, question.config
    match question.kind:
        case "preference":
            return aggregate_preference(name, config, opinions, priors, known, calibrated)
        case "rating":
            return aggregate_rating(name, opinions, config, known)
        case "choice":
            return aggregate_choice(name, config, opinions, priors, known, calibrated)
        case "ranking":
            return aggregate_ranking(name, opinions)
        case "step":
            return aggregate_step(name, opinions)
        case "span":
            return aggregate_span(name, opinions)
    return None
