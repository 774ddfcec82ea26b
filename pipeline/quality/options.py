"""What a judge's choice or rating is worth: shares of its vote in, probabilities of options out. Pure: no database.

An answer is a vote on one of K options, or on one of the K points of a scale. As judges say nothing of how sure they
are of such an answer, as it says means what a label makes of one plain vote,

    choice:  s_k = log((vote for k + 1) / (K + 1))             (Laplace's rule of succession)
    rating:  s_k = −log 2 · |k − rating|                       (half as likely with each point)

    identity:     P(k) ∝ exp(s_k)
    temperature:  P(k) ∝ exp(s_k / T), T drawn to 1                            (Guo et al. 2017)
    isotonic:     choice: P(k) ∝ g_k(vote for k), each g_k never falling, one against the rest
                  rating: P(people ≥ k) = g_k(rating), never falling           (Zadrozny and Elkan 2002)

Which is used is decided as in `calibrating.py`: by log loss on prompts that the fit has not seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from annotate.statistics.kappa import kappa
from annotate.statistics.votes import Floats
from pipeline.quality import calibrating, leaning
from pipeline.quality.calibrating import IDENTITY, ISOTONIC, TEMPERATURE


@dataclass(frozen=True)
class Votes:
    """Answers that people and the judge both gave. Shares of the vote on each option: (n, K), rows adding up to 1.

    `options` are the options' names, of a scale its points in order. A judge's rating between two points is shared
    between them, and so is a mean of people's. `weights` (n,), and of which prompt each is.
    """

    options: tuple[str, ...]
    is_scale: bool
    judge: Floats
    people: Floats
    weights: Floats
    prompts: Sequence[str]

    def only(self, rows: Any) -> "Votes":
        prompts = [prompt for prompt, inside in zip(self.prompts, rows, strict=True) if inside]
        return Votes(self.options, self.is_scale, self.judge[rows], self.people[rows], self.weights[rows], prompts)


@dataclass(frozen=True)
class Mapped:
    """A fitted map from a judge's votes (n, K) to probabilities (n, K); `parameters` are plain data."""

    method: str
    is_scale: bool
    parameters: Mapping[str, Any]

    def __call__(self, judge: Floats) -> Floats:
        if self.method != ISOTONIC:
            return np.asarray(softmax(scores(judge, self.is_scale) * self.parameters.get("inverse", 1.0), axis=1))
        columns = places(judge)[:, None] if self.is_scale else judge
        steps = self.parameters["steps"]
        read = [
            np.interp(columns[:, 0 if self.is_scale else place], each["scores"], each["values"])
            for place, each in enumerate(steps)
        ]
        edge = self.parameters["edge"]
        if self.is_scale:  # P(people ≥ k) for k = 1 … K − 1: their differences
            above = np.column_stack([np.ones(len(judge)), *read, np.zeros(len(judge))])
            found = np.clip(above[:, :-1] - above[:, 1:], edge, None)
        else:
            found = np.clip(np.column_stack(read), edge, None)
        return np.asarray(found / found.sum(axis=1, keepdims=True))


def places(shares: Floats) -> Floats:
    """The mean place on the scale: (n, K) → (n,)."""
    return np.asarray(shares @ np.arange(shares.shape[1], dtype=np.float64))


def scores(judge: Floats, is_scale: bool) -> Floats:
    """s_k of each answer: (n, K), in nats."""
    count = judge.shape[1]
    if is_scale:
        return -np.log(2.0) * np.abs(np.arange(count)[None, :] - places(judge)[:, None])
    return np.log((judge + 1.0) / (count + 1.0))


def losses_of(probabilities: Floats, people: Floats) -> Floats:
    """−Σ_k people_k log P_k of each answer, in nats: (n,)."""
    return np.asarray(-(people * np.log(np.clip(probabilities, 1e-12, 1.0))).sum(axis=1))


def as_it_says(votes: Votes) -> Mapped:
    return Mapped(IDENTITY, votes.is_scale, {})


def fit_temperature(votes: Votes) -> Mapped:
    """With the prior of `calibrating.fit_temperature`, and one right and one wrong answer more (Laplace)."""
    raw, share = scores(votes.judge, votes.is_scale), calibrating.worth(votes.weights, votes.prompts)
    usual = raw[np.argsort(raw.max(axis=1))[len(raw) // 2]]
    top, other = np.argsort(usual)[-1], np.argsort(usual)[0]

    def loss(inverse: float) -> float:
        guard = log_softmax(inverse * usual)
        said = (votes.people * log_softmax(inverse * raw, axis=1)).sum(axis=1)
        return float(-(share * said).sum() - guard[top] - guard[other])

    return Mapped(TEMPERATURE, votes.is_scale, {"inverse": calibrating.drawn_to_one(loss)})


def fit_isotonic(votes: Votes) -> Mapped:
    """No probability is less than 1/(n + K): n answers prove no more."""
    count = len(votes.options)
    if votes.is_scale:
        above = np.cumsum(votes.people[:, ::-1], axis=1)[:, ::-1]
        columns = [(places(votes.judge), above[:, place]) for place in range(1, count)]
    else:
        columns = [(votes.judge[:, place], votes.people[:, place]) for place in range(count)]
    steps = [calibrating.steps_of(said, people, votes.weights) for said, people in columns]
    kept = [{"scores": said.tolist(), "values": values.tolist()} for said, values in steps]
    return Mapped(ISOTONIC, votes.is_scale, {"steps": kept, "edge": 1 / (len(votes.judge) + count)})


FITS: dict[str, Callable[[Votes], Mapped]] = {
    IDENTITY: as_it_says,
    TEMPERATURE: fit_temperature,
    ISOTONIC: fit_isotonic,
}


def unseen(method: str, votes: Votes) -> Floats:
    """The probabilities of each answer by a fit on the other folds; as it says for a fold that is all there is."""
    number = np.asarray([calibrating.fold_of(prompt) for prompt in votes.prompts])
    found = as_it_says(votes)(votes.judge)
    for fold in np.unique(number):
        if (number != fold).any():
            found[number == fold] = FITS[method](votes.only(number != fold))(votes.judge[number == fold])
    return found


def calibrate(votes: Votes) -> tuple[Mapped, dict[str, Any]]:
    """The best of the maps on unseen prompts, fitted on all answers, and a report as of `calibrating.calibrate`."""
    methods = calibrating.methods_for(votes.weights, votes.prompts)
    tried = {method: unseen(method, votes) for method in methods}
    found = {method: quality(guessed, votes) for method, guessed in tried.items()}
    losses = {method: losses_of(guessed, votes.people) for method, guessed in tried.items()}
    rows = calibrating.candidates_of(losses, votes.weights, votes.prompts)
    best = calibrating.chosen_of(rows)
    return FITS[best](votes), {
        "pairs": len(votes.judge),
        "effective": calibrating.effective(votes.weights),
        "prompts": len(set(votes.prompts)),
        "worth": float(calibrating.worth(votes.weights, votes.prompts).sum()),
        "before": found[IDENTITY],
        "after": found[best],
        "candidates": [{**row, "ece": found[row["method"]]["ece"]} for row in rows],
    }


def quality(probabilities: Floats, votes: Votes) -> dict[str, Any]:
    """Log loss, and how often the most probable option is people's, by how probable it is called."""
    named = probabilities.argmax(axis=1)
    here = np.arange(len(named))
    rows = calibrating.bins_of(probabilities[here, named], votes.people[here, named], votes.weights, floor=0.0)
    return {
        "log_loss": float(np.average(losses_of(probabilities, votes.people), weights=votes.weights)),
        "ece": calibrating.calibration_error(rows),
        "reliability": rows,
    }


# --- How far the two agree ------------------------------------------------------------------------------------
def agreement(votes: Votes) -> dict[str, Any]:
    """How much of the judge's vote fell on what people said, kappa (of a scale with squared distances), and of a
    scale how much higher the judge rates, in points, with a 95% bootstrap over prompts.
    """
    right = (votes.judge * votes.people).sum(axis=1)
    n = calibrating.effective(votes.weights)
    value = float(np.average(right, weights=votes.weights)) if len(right) else 0.0
    table = np.zeros((len(votes.options), len(votes.options)))
    np.add.at(table, (votes.people.argmax(axis=1), votes.judge.argmax(axis=1)), 1)
    found = {
        "accuracy": {**leaning.share(value * n, n), "n": len(right)},
        "kappa": kappa(table, ordered=votes.is_scale),
    }
    if votes.is_scale and len(right):
        higher = places(votes.judge) - places(votes.people)
        low, high = leaning.clustered(higher, votes.prompts, votes.weights)
        found["higher"] = {"mean": float(np.average(higher, weights=votes.weights)), "low": low, "high": high}
    return found
