"""Label accuracy against budget: curves, the area under them, skill, and what a policy saves."""

from collections.abc import Sequence

import numpy as np

from annotate.statistics.votes import Floats


def static_curve(score: Floats, judge_right: Floats, human_right: Floats) -> Floats:
    """Accuracy after routing 0 … n items to one person each, highest score first: (n + 1,).

    Equal scores are shared out: the curve is the mean over all orders of theirs.
    """
    order = np.argsort(-score, kind="stable")
    gain = (human_right - judge_right)[order]
    _, group = np.unique(-score[order], return_inverse=True)
    means = np.bincount(group, gain) / np.bincount(group)
    return (judge_right.sum() + np.concatenate([[0.0], np.cumsum(means[group])])) / len(score)


def area(accuracy: Floats, budgets: Floats | None = None) -> float:
    """The area under a curve over budgets from 0 to 1, by trapezoids; evenly spaced budgets where none are given."""
    places = np.linspace(0, 1, len(accuracy)) if budgets is None else budgets
    return float(np.trapezoid(accuracy, places))


def skill(policy: float, random: float, oracle: float) -> float:
    """How far an area is on the way from random to the oracle; only comparable on the same judge labels."""
    return (policy - random) / (oracle - random)


def budget_reaching(accuracy: Sequence[float], budgets: Sequence[float], target: float) -> float | None:
    """The smallest budget at which the curve is at the target, by straight lines between its points; None: never."""
    for place, reached in enumerate(accuracy):
        if reached >= target - 1e-12:
            if place == 0:
                return float(budgets[0])
            before, width = accuracy[place - 1], budgets[place] - budgets[place - 1]
            return float(budgets[place - 1] + width * (target - before) / (reached - before))
    return None


def saved(accuracy: Sequence[float], budgets: Sequence[float], target: float) -> float:
    """The share of human labels that are not needed for the accuracy that one person on every item reaches."""
    reaching = budget_reaching(accuracy, budgets, target)
    return 0.0 if reaching is None else max(0.0, 1.0 - reaching)
