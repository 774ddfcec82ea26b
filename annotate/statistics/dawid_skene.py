"""What is true, and how each rater errs, from votes alone: Dawid and Skene's model, fitted by EM.

    T_ik ∝ π_k · Π_j C_j[k, y_ij]                 what item i is, given the votes y_ij           (E)
    π_k = (Σ_i T_ik + s) / (n + s·K)                how common option k is                           (M)
    C_j[k, l] ∝ Σ_{i: y_ij = l} T_ik + s            how often rater j says l where k is true         (M)

Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm" (Applied Statistics
28, 1979). Smoothing s = 1 (one pseudo-vote in each cell) keeps a rater with few votes near "knows nothing". T
starts at the vote shares; everything multiplies in logarithms. The one-coin form gives a rater one number instead of
a matrix: right with probability a_j, else any other option alike (Zhang, Chen, Zhou, Jordan, "Spectral methods meet
EM", 2014).

It assumes that raters err independently given the truth. Judges do not (two that share a habit look like a
consensus), so people alone fit it; judges are measured against the result (`confusion_against`).
"""

from dataclasses import dataclass

import numpy as np

from annotate.statistics.votes import Floats, Votes, normalised, sums

ITERATIONS = 50
SETTLED = 1e-5  # mean change of the posterior below which another round changes nothing that is shown


@dataclass(frozen=True)
class Fit:
    """`posterior` (items, options), `prior` (options,), `confusion` (raters, true option, said option)."""

    posterior: Floats
    prior: Floats
    confusion: Floats
    iterations: int


def dawid_skene(votes: Votes, *, smoothing: float = 1.0, iterations: int = ITERATIONS) -> Fit:
    """Fit the full model. The posterior is the one that follows from the returned parameters."""
    posterior, rounds = votes.shares, 0
    prior, confusion = parameters(votes, posterior, smoothing)
    while rounds < iterations:
        rounds += 1
        before, posterior = posterior, posteriors(votes, prior, confusion)
        if np.abs(posterior - before).mean() < SETTLED or rounds == iterations:
            break
        prior, confusion = parameters(votes, posterior, smoothing)
    return Fit(posterior, prior, confusion, rounds)


def one_coin(votes: Votes, *, smoothing: float = 1.0, iterations: int = ITERATIONS) -> Fit:
    """The model with one accuracy for each rater, written as confusion matrices."""
    posterior, rounds = votes.shares, 0
    while True:
        accuracy = accuracies(votes, posterior, smoothing)
        prior, confusion = class_shares(posterior, smoothing), coins(accuracy, votes.options)
        before, posterior = posterior, posteriors(votes, prior, confusion)
        rounds += 1
        if np.abs(posterior - before).mean() < SETTLED or rounds == iterations:
            return Fit(posterior, prior, confusion, rounds)


def class_shares(posterior: Floats, smoothing: float) -> Floats:
    """π: how common each option is, (options,)."""
    return (posterior.sum(axis=0) + smoothing) / (len(posterior) + smoothing * posterior.shape[1])


def parameters(votes: Votes, posterior: Floats, smoothing: float = 1.0) -> tuple[Floats, Floats]:
    """The M step: π (options,) and C (raters, options, options)."""
    return class_shares(posterior, smoothing), confusion_against(votes, posterior, smoothing)


def confusion_against(votes: Votes, truth: Floats, smoothing: float = 1.0) -> Floats:
    """How each rater of `votes` errs, if `truth` (items, options) is: (raters, true option, said option)."""
    counts = np.empty((votes.raters, votes.options, votes.options))
    places = votes.rater * votes.options + votes.option
    for option in range(votes.options):
        weights = truth[votes.item, option] * votes.weight
        flat = sums(places, weights, votes.raters * votes.options)
        counts[:, option, :] = flat.reshape(votes.raters, votes.options)
    counts += smoothing
    return counts / counts.sum(axis=2, keepdims=True)


def posteriors(votes: Votes, prior: Floats, confusion: Floats) -> Floats:
    """The E step: what each item is, (items, options)."""
    logs = np.tile(np.log(prior), (votes.items, 1))
    said = np.log(confusion)
    for option in range(votes.options):
        evidence = said[votes.rater, option, votes.option] * votes.weight
        logs[:, option] += sums(votes.item, evidence, votes.items)
    return normalised(logs)


def accuracies(votes: Votes, posterior: Floats, smoothing: float) -> Floats:
    """One-coin M step: a_j = (Σ_i T_i[y_ij] + s) / (n_j + s·K), (raters,)."""
    right = votes.of_raters(posterior[votes.item, votes.option])
    return (right + smoothing) / (votes.of_raters(np.ones(len(votes.item))) + smoothing * votes.options)


def coins(accuracy: Floats, options: int) -> Floats:
    """Accuracies as confusion matrices: a on the diagonal, the rest shared out, (raters, options, options)."""
    wrong = (1 - accuracy) / max(options - 1, 1)
    matrix = np.repeat(wrong, options * options).reshape(len(accuracy), options, options)
    matrix[:, np.arange(options), np.arange(options)] = accuracy[:, None]
    return matrix


def expected_right(votes: Votes, posterior: Floats) -> tuple[Floats, Floats]:
    """How many of each rater's votes are right as far as the posterior knows, and of how many: both (raters,).

    Only items that somebody else voted on count: alone, a rater would be the measure of themselves.
    """
    others = votes.counts.sum(axis=1)[votes.item] - votes.weight > 0
    right = votes.of_raters(posterior[votes.item, votes.option] * others)
    return right, votes.of_raters(others.astype(np.float64))
