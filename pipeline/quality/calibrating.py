"""What a judge's margin is worth: margins and people's decisions in, probabilities out. Pure: arrays, no database.

A margin m is the judge's log-odds for the first response over the second, in nats. Calibrated it is

    identity:     P(first) = σ(m), as the judge says
    temperature:  P(first) = σ(m / T), T with the least log loss              (Guo et al. 2017, 1706.04599)
    isotonic:     P(first) = g(σ(m)), g the best never-falling step function  (Zadrozny and Elkan 2002)

T is drawn to 1 by a normal prior on its logarithm, so that few audits leave the judge's own numbers nearly as they
are. Which of the three is used is decided on prompts that the fit has not seen: the one with the least log loss there,
and as the judge says where nothing is better. So a calibration is no worse than none, as far as its audits can tell.

Every pair is taken together with its mirror, (m, y) and (−m, 1 − y), so that P(first | m) = 1 − P(first | −m):
no calibration can favour a place. T is kept positive: a judge that is worse than a coin becomes a coin, never its
own opposite.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize_scalar
from scipy.special import expit, log_expit

from annotate.statistics.intervals import wilson
from annotate.statistics.votes import Floats
from pipeline.quality.leaning import clustered

IDENTITY, TEMPERATURE, ISOTONIC = "identity", "temperature", "isotonic"
ENOUGH_FOR_ISOTONIC = 200  # audits of different prompts (`worth`); a free step function learns the noise of fewer
COLDEST, HOTTEST = 0.05, 1000.0  # temperatures: a margin of 1 is as good as certain, and as good as nothing
SPREAD = 0.5  # standard deviation of log T beforehand: simulated judges that need no T lose least by it
LOOKS = 40  # temperatures that are tried before the best is refined
FOLDS = 5
BINS = 5  # of the confidence: few audits fill few bins


@dataclass(frozen=True)
class Calibrated:
    """A fitted map from margins to P(first); `parameters` are plain data that can be stored."""

    method: str
    parameters: Mapping[str, Any]

    def __call__(self, margins: Floats) -> Floats:
        if self.method == IDENTITY:
            return expit(np.asarray(margins, dtype=np.float64))
        if self.method == TEMPERATURE:
            return expit(np.asarray(margins, dtype=np.float64) * self.parameters["inverse"])
        return np.interp(expit(margins), self.parameters["scores"], self.parameters["values"])


def losses_of(probabilities: Floats, outcomes: Floats) -> Floats:
    """−y log p − (1 − y) log(1 − p) of each pair, in nats; outcomes may be ½."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(-(outcomes * np.log(p) + (1 - outcomes) * np.log1p(-p)))


def log_loss(probabilities: Floats, outcomes: Floats, weights: Floats | None = None) -> float:
    """The mean loss, in nats."""
    return float(np.average(losses_of(probabilities, outcomes), weights=weights))


def inverse_temperature(margins: Floats, outcomes: Floats, weights: Floats | None = None) -> float:
    """β = 1/T ≥ 0 with the least mean log loss of σ(β m); 0 where the margins say nothing or the opposite.

    The loss is convex in β, and the same on the mirrored pairs, so they need not be made.
    """
    m, y = np.asarray(margins, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)

    def loss(inverse: float) -> float:
        return float(np.average(-(y * log_expit(inverse * m) + (1 - y) * log_expit(-inverse * m)), weights=weights))

    found = minimize_scalar(loss, bounds=(0.0, 1 / COLDEST), method="bounded", options={"xatol": 1e-9})
    return float(found.x) if found.fun < loss(0.0) else 0.0


def drawn_to_one(loss: Callable[[float], float]) -> float:
    """β = 1/T at which loss(β) + (log β / SPREAD)² / 2 is least: where the loss (a sum, in nats) says little, 1."""

    def drawn(log_inverse: float) -> float:
        return loss(float(np.exp(log_inverse))) + 0.5 * (log_inverse / SPREAD) ** 2

    looked_at = np.linspace(-np.log(HOTTEST), -np.log(COLDEST), LOOKS)
    best = int(np.argmin([drawn(each) for each in looked_at]))
    around = looked_at[max(best - 1, 0)], looked_at[min(best + 1, LOOKS - 1)]
    return float(np.exp(minimize_scalar(drawn, bounds=around, method="bounded", options={"xatol": 1e-9}).x))


def fit_temperature(margins: Floats, outcomes: Floats, weights: Floats | None = None) -> Calibrated:
    """With the prior. The weights add up to how many audits they are worth (`worth`)."""
    m, y = np.asarray(margins, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    given = np.ones(len(m)) if weights is None else np.asarray(weights, dtype=np.float64)

    def loss(inverse: float) -> float:
        return float(-(given * (y * log_expit(inverse * m) + (1 - y) * log_expit(-inverse * m))).sum())

    return Calibrated(TEMPERATURE, {"inverse": drawn_to_one(loss)})


def worth(weights: Floats, prompts: Sequence[str]) -> Floats:
    """The weights, scaled to add up to how many equally weighted prompts say as much: (Σ W)² / Σ W² over prompts.

    A judge errs alike on pairs of one prompt: they are one witness (Kish 1965).
    """
    _, member = np.unique(np.asarray(prompts), return_inverse=True)
    of_prompts = np.bincount(member, weights).astype(np.float64)
    return np.asarray(weights * effective(of_prompts) / np.sum(weights))


def as_it_says(margins: Floats, outcomes: Floats, weights: Floats | None = None) -> Calibrated:
    """The judge's own numbers: nothing is fitted."""
    return Calibrated(IDENTITY, {})


def steps_of(scores: Floats, outcomes: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Distinct scores in order, and the best never-falling fit at each (pool adjacent violators)."""
    known = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    distinct, place = np.unique(scores, return_inverse=True)
    total = np.bincount(place, known)
    means = np.bincount(place, known * outcomes) / total
    return distinct, np.asarray(isotonic_regression(means, weights=total).x)


def fit_isotonic(margins: Floats, outcomes: Floats, weights: Floats | None = None) -> Calibrated:
    """Fitted on the pairs and their mirrors. No value is nearer to 0 or 1 than 1/(n + 2): n pairs prove no more."""
    m, y = np.asarray(margins, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    both = None if weights is None else np.concatenate([weights, weights])
    scores, values = steps_of(expit(np.concatenate([m, -m])), np.concatenate([y, 1 - y]), both)
    edge = 1 / (len(m) + 2)
    kept = {"scores": scores.tolist(), "values": np.clip(values, edge, 1 - edge).tolist()}
    return Calibrated(ISOTONIC, kept)


FITS = {IDENTITY: as_it_says, TEMPERATURE: fit_temperature, ISOTONIC: fit_isotonic}


@dataclass(frozen=True)
class Pairs:
    """Audits where people preferred a side. All (n,): log-odds, 1 where people preferred the first, weight, prompt."""

    margins: Floats
    outcomes: Floats
    weights: Floats
    prompts: Sequence[str]

    def only(self, rows: Any) -> "Pairs":
        prompts = [prompt for prompt, inside in zip(self.prompts, rows, strict=True) if inside]
        return Pairs(self.margins[rows], self.outcomes[rows], self.weights[rows], prompts)


def guarded(margins: Floats, outcomes: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """The pairs and, as in Laplace's rule of succession, one more that went right and one that went wrong.

    Both have the usual margin. Without them a judge that was right twenty times out of twenty would be called certain.
    """
    return np.append(margins, np.mean(np.abs(margins))), np.append(outcomes, 0.5), np.append(weights, 2.0)


def fit(method: str, pairs: Pairs) -> Calibrated:
    return FITS[method](*guarded(pairs.margins, pairs.outcomes, worth(pairs.weights, pairs.prompts)))


def fold_of(group: str) -> int:
    """The fold of a prompt: by hash, so that it is the same in every fit."""
    return hashlib.sha256(group.encode()).digest()[0] % FOLDS


def unseen(method: str, pairs: Pairs) -> Floats:
    """P(first) of each pair by a fit on the other folds; as the judge says for a fold that is all there is."""
    number = np.asarray([fold_of(prompt) for prompt in pairs.prompts])
    found = expit(np.asarray(pairs.margins, dtype=np.float64))
    for fold in np.unique(number):
        if (number != fold).any():
            found[number == fold] = fit(method, pairs.only(number != fold))(pairs.margins[number == fold])
    return found


def reliability(probabilities: Floats, outcomes: Floats, weights: Floats) -> list[dict[str, Any]]:
    """How often the side that is called more probable was right, by how probable it was called (`bins_of`).

    A pair called ½ says nothing and is right half the time, whatever people decided.
    """
    confidence = np.maximum(probabilities, 1 - probabilities)
    right = np.where(probabilities > 0.5, outcomes, np.where(probabilities < 0.5, 1 - outcomes, 0.5))
    return bins_of(confidence, right, weights)


def bins_of(confidence: Floats, right: Floats, weights: Floats, floor: float = 0.5) -> list[dict[str, Any]]:
    """One row a filled bin of the confidence, from `floor` to 1.

    {"low", "high": the bin, "confidence": mean, "accuracy": share, "from", "to": its 95% band (Wilson), "n"}.
    """
    width = (1 - floor) / BINS
    place = np.clip(((confidence - floor) / width + 1e-9).astype(int), 0, BINS - 1)
    rows = []
    for number in range(BINS):
        inside = place == number
        if not inside.any():
            continue
        n = effective(weights[inside])
        accuracy = float(np.average(right[inside], weights=weights[inside]))
        below, above = wilson(accuracy * n, n)
        rows.append(
            {
                "low": floor + number * width,
                "high": floor + (number + 1) * width,
                "confidence": float(np.average(confidence[inside], weights=weights[inside])),
                "accuracy": accuracy,
                "from": below,
                "to": above,
                "n": int(inside.sum()),
                "weight": float(weights[inside].sum() / weights.sum()),
            }
        )
    return rows


def calibration_error(rows: Sequence[Mapping[str, Any]]) -> float:
    """Expected calibration error: Σ_b share_b · |confidence_b − accuracy_b| (Naeini et al. 2015)."""
    return float(sum(row["weight"] * abs(row["confidence"] - row["accuracy"]) for row in rows))


def effective(weights: Floats) -> float:
    """How many equally weighted pairs say as much: (Σw)² / Σw² (Kish 1965)."""
    return float(np.sum(weights) ** 2 / np.sum(np.square(weights))) if len(weights) else 0.0


def quality(probabilities: Floats, outcomes: Floats, weights: Floats) -> dict[str, Any]:
    rows = reliability(probabilities, outcomes, weights)
    return {
        "log_loss": log_loss(probabilities, outcomes, weights),
        "ece": calibration_error(rows),
        "reliability": rows,
    }


def calibrate(pairs: Pairs) -> tuple[Calibrated, dict[str, Any]]:
    """The best of the maps on unseen prompts, fitted on all pairs, and what each does on unseen ones.

    {"before": as the judge says, "after": the chosen map, "candidates": as `candidates_of` has them, …}. Isotonic is
    tried from 200 prompts on.
    """
    tried = {method: unseen(method, pairs) for method in methods_for(pairs.weights, pairs.prompts)}
    found = {method: quality(guessed, pairs.outcomes, pairs.weights) for method, guessed in tried.items()}
    losses = {method: losses_of(guessed, pairs.outcomes) for method, guessed in tried.items()}
    rows = candidates_of(losses, pairs.weights, pairs.prompts)
    best = chosen_of(rows)
    return fit(best, pairs), {
        "pairs": len(pairs.margins),
        "effective": effective(pairs.weights),
        "prompts": len(set(pairs.prompts)),
        "worth": float(worth(pairs.weights, pairs.prompts).sum()),
        "before": found[IDENTITY],
        "after": found[best],
        "candidates": [{**row, "ece": found[row["method"]]["ece"]} for row in rows],
    }


def methods_for(weights: Floats, prompts: Sequence[str]) -> tuple[str, ...]:
    """The maps that so many audits are enough for."""
    enough = worth(weights, prompts).sum() > ENOUGH_FOR_ISOTONIC - 0.5
    return (IDENTITY, TEMPERATURE, ISOTONIC) if enough else (IDENTITY, TEMPERATURE)


def candidates_of(losses: Mapping[str, Floats], weights: Floats, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """Each map's mean loss on unseen prompts, and how much less that is than the identity's, which comes first.

    {"method", "log_loss", "gain", "low", "high", "chosen"}, nats; the interval is a 95% bootstrap over prompts.
    """
    means = {method: float(np.average(each, weights=weights)) for method, each in losses.items()}
    best = min(means, key=lambda method: means[method])  # the first where two are level
    rows = []
    for method, mean in means.items():
        low, high = clustered(losses[IDENTITY] - losses[method], prompts, weights)
        gain = {"gain": means[IDENTITY] - mean, "low": low, "high": high}
        rows.append({"method": method, "log_loss": mean, **gain, "chosen": method == best})
    return rows


def chosen_of(rows: Sequence[Mapping[str, Any]]) -> str:
    return str(next(row["method"] for row in rows if row["chosen"]))


# --- Neither side ---------------------------------------------------------------------------------------------

SHRINK = 5.0  # audits that what is usual for all of them weighs as much as


def neither(kinds: Sequence[str], decided: Sequence[str], weights: Floats, options: Sequence[str]) -> dict[str, Any]:
    """How often people choose no side, by what kind of verdict the judge gave: kind → option → share.

    `options` are those that are no side (tie, both_bad). A kind's share is drawn to that of all audits by five
    audits' weight, and that of all to 1/(options + 2) by one pseudo-vote an option: few verdicts prove little.
    The kind "" is what holds for kinds that were never seen.
    """
    scale = np.asarray(weights) / np.mean(weights) if len(weights) else np.asarray([])
    said, known = np.asarray(kinds), np.asarray(decided)
    total = float(scale.sum())
    usual = {option: (float(scale[known == option].sum()) + 1) / (total + len(options) + 2) for option in options}
    found = {"": usual}
    for kind in sorted(set(kinds)):
        inside = said == kind
        n = float(scale[inside].sum())
        found[kind] = {
            option: (float(scale[inside & (known == option)].sum()) + SHRINK * usual[option]) / (n + SHRINK)
            for option in options
        }
    return found


def posterior(first: float, shares: Mapping[str, float]) -> dict[str, float]:
    """Option → probability, from P(first | a side) and what falls on no side. Adds up to 1."""
    sides = 1 - sum(shares.values())
    return {"a": sides * first, "b": sides * (1 - first), **shares}


def pooled(posteriors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Several judges' posteriors as one: their geometric mean, made to add up to 1 (Genest and Zidek 1986).

    Judges err alike, so agreement of two is no proof: multiplying them would count one opinion twice.
    """
    logs = {
        option: float(np.mean([np.log(max(each.get(option, 0.0), 1e-9)) for each in posteriors]))
        for option in posteriors[0]
    }
    highest = max(logs.values())
    shares = {option: float(np.exp(value - highest)) for option, value in logs.items()}
    total = sum(shares.values())
    return {option: share / total for option, share in shares.items()}
