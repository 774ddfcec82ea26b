"""All policies over all seeds as one report: plain data for report.json."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.estimators.value import accuracy_of_people
from pipeline.routing.evidence.pool import HUMAN, SILENT, Pool
from pipeline.routing.policies import learned
from pipeline.routing.simulating import curves, heads
from pipeline.routing.simulating.bands import band
from pipeline.routing.simulating.replay import USUAL, Settings, Trace, replayed
from pipeline.routing.simulating.scenario import ASSUMED, Purchases, Scenario, leaders

BUDGETS = tuple(round(0.05 * step, 2) for step in range(21))
HEAD_BUDGETS = (0.0, 0.2, 0.3, 0.5, 1.0)
FOLDS = 2


@dataclass(frozen=True)
class Prices:
    """Of one human label and of one answer by a judge, in the same money."""

    human: float = 1.0
    judge: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is replayed: policies, seeds, budgets, how the policies learn, prices."""

    policies: Sequence[str] = USUAL
    seeds: Sequence[int] = tuple(range(10))
    budgets: Sequence[float] = BUDGETS
    settings: Settings = Settings()
    prices: Prices = Prices()


def report(scenario: Scenario, plan: Plan, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Replay everything and sum it up."""
    target = human_accuracy(scenario)
    traces: dict[str, list[Trace]] = {}
    for name in plan.policies:
        say(f"{name}: {len(plan.seeds)} seeds")
        budgets = np.array(plan.budgets)
        traces[name] = [replayed(name, scenario, seed, budgets, plan.settings) for seed in plan.seeds]
    curve = {name: points(scenario, plan, runs, "credit") for name, runs in traces.items()}
    means = {name: [point["label_accuracy"] for point in row] for name, row in curve.items()}
    say("held-out prompts and reward models")
    return {
        "items": len(scenario.scored),
        "raters": raters(scenario.pool),
        "curves": curve,
        "area": {name: round(curves.area(np.array(row), np.array(plan.budgets)), 4) for name, row in means.items()},
        "saved_at_human_accuracy": {
            name: round(curves.saved(row, plan.budgets, target["value"]), 4) for name, row in means.items()
        },
        "saved_within_one_point": {
            name: round(curves.saved(row, plan.budgets, target["value"] - 0.01), 4) for name, row in means.items()
        },
        "human_accuracy": target,
        "truth": truth(scenario),
        "truth_by_others": by_others(scenario, plan, traces),
        "held_out": held_out(scenario, plan),
        "reward_model": reward_models(scenario, plan, traces),
        "cost": {name: costs(scenario, plan, runs) for name, runs in traces.items()},
        "data": described(scenario),
        "plan": {"seeds": list(plan.seeds), "prices": asdict(plan.prices), "settings": asdict(plan.settings)},
    }


def points(scenario: Scenario, plan: Plan, runs: list[Trace], kind: str) -> list[dict[str, float]]:
    """A curve: accuracy with its interval, and how many labels were bought, at each budget."""
    credit = np.array([run.credit if kind == "credit" else run.others for run in runs])
    mean, low, high = band(credit, scenario.pool.prompt[scenario.scored])
    spent = np.mean([run.spent for run in runs], axis=0)
    columns = zip(plan.budgets, mean, low, high, spent, strict=True)
    return [
        {
            "budget": float(budget),
            "label_accuracy": round(float(middle), 4),
            "low": round(float(least), 4),
            "high": round(float(most), 4),
            "human_labels": round(float(bought), 1),
        }
        for budget, middle, least, most, bought in columns
    ]


def human_accuracy(scenario: Scenario) -> dict[str, Any]:
    """What labelling every pair by one person reaches, and where the number comes from."""
    if scenario.one_voice and not scenario.error:
        return {
            "value": ASSUMED,
            "measured": False,
            "source": f"Assumed: each pair has one person's label, which is taken for the truth; another person is "
            f"taken to agree with it on {ASSUMED:.0%} (--human-accuracy says otherwise and has bought labels err).",
        }
    value = float(scenario.human_right[scenario.scored].mean())
    agreeing = round(accuracy_of_people(scenario.pool.human_votes), 4)
    source = "Errors of this rate are drawn." if scenario.error else "One person drawn from each pair's people."
    return {"value": round(value, 4), "measured": not scenario.error, "by_agreement": agreeing, "source": source}


def truth(scenario: Scenario) -> str:
    if scenario.one_voice:
        return "The one person's label of each pair."
    return (
        "What most people said of a pair, the person whose label was bought among them; a shared first place counts "
        "for each by its share. `truth_by_others` leaves out the person drawn first."
    )


def by_others(scenario: Scenario, plan: Plan, traces: dict[str, list[Trace]]) -> dict[str, Any] | None:
    """Curves with the people who were not drawn first as the truth; None where pairs have fewer than three people."""
    if scenario.pool.human_votes[scenario.scored].sum(axis=1).min() < 3:
        return None
    found = {name: points(scenario, plan, runs, "others") for name, runs in traces.items()}
    means = {name: np.array([point["label_accuracy"] for point in row]) for name, row in found.items()}
    areas = {name: round(curves.area(row, np.array(plan.budgets)), 4) for name, row in means.items()}
    return {"curves": found, "area": areas}


def raters(pool: Pool) -> dict[str, dict[str, Any]]:
    """Each rater's kind, votes, and how often they say what most people say (a person: most of the others)."""
    found = {}
    for number, rater in enumerate(pool.raters):
        own = pool.ballots.of(pool.ballots.rater == number)
        heard = own.of(own.verdict != SILENT)
        votes = pool.human_votes[heard.item].copy()
        if rater.kind == HUMAN:
            votes[np.arange(len(heard.item)), heard.verdict] -= 1
        known = votes.sum(axis=1) > 0
        right = leaders(votes)[np.arange(len(heard.item)), heard.verdict][known]
        name = rater.name if rater.name not in found else f"{rater.name} ({rater.kind})"
        found[name] = {
            "kind": rater.kind,
            "votes": len(own.item),
            "items": len(np.unique(own.item)),
            "unread": int((own.verdict == SILENT).sum()),
            "accuracy": round(float(right.mean()), 4) if len(right) else None,
        }
    return found


def costs(scenario: Scenario, plan: Plan, runs: list[Trace]) -> list[float]:
    """Money spent at each budget: people's labels, and every judge's answers, which are there from the start."""
    judged = plan.prices.judge * len(scenario.pool.judged.item)
    spent = np.mean([run.spent for run in runs], axis=0)
    return [round(float(plan.prices.human * bought + judged), 4) for bought in spent]


def described(scenario: Scenario) -> dict[str, Any]:
    pool = scenario.pool
    return {
        "pairs": pool.size,
        "prompts": len(np.unique(pool.prompt)),
        "pairs_that_share_a_prompt": int(scenario.data.shared.sum()),
        "people_per_pair": round(scenario.people_per_pair, 3),
        "judges": len(pool.judges),
        "ties": pool.has_ties,
    }


def reward_models(scenario: Scenario, plan: Plan, traces: dict[str, list[Trace]]) -> dict[str, Any]:
    """Accuracy of a cheap head by policy at a few budgets, mean over seeds with the standard error of the mean."""
    places = [place for place, budget in enumerate(plan.budgets) if budget in HEAD_BUDGETS]
    table, scored = heads.differences(scenario.pool), scenario.scored
    found: dict[str, Any] = {}
    for name, runs in traces.items():
        reached = np.full((len(runs), len(places)), np.nan)
        for row, (seed, run) in enumerate(zip(plan.seeds, runs, strict=True)):
            rng = np.random.default_rng(seed)
            train = heads.training_pairs(scenario.pool.prompt[scored], rng)
            for column, place in enumerate(places):
                labels = run.labels[place][scored]
                reached[row, column] = heads.head_accuracy(table[scored], labels, scenario.credit[scored], train, rng)
        found[name] = [
            {"budget": float(plan.budgets[place]), **summary(reached[:, column])}
            for column, place in enumerate(places)
        ]
    return found


def summary(values: Floats) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"accuracy": None, "error": None}
    error = float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else None
    return {"accuracy": round(float(known.mean()), 4), "error": None if error is None else round(error, 4)}


def held_out(scenario: Scenario, plan: Plan) -> dict[str, Any]:
    """The label model fitted on half of the prompts and used on the other, whose pairs have no labelled sibling.

    Nothing is learned while routing, so each policy is one order of the pairs, with the first BUDGETS of it bought.
    """
    prompts = np.unique(scenario.pool.prompt[scenario.scored])
    if len(prompts) < 2 * FOLDS:
        return {}
    rows: dict[str, list[Floats]] = {"random": [], "judge-uncertainty": [], "learned": [], "oracle": []}
    for seed in plan.seeds:
        rng = np.random.default_rng(seed)
        for fold in np.array_split(rng.permutation(prompts), FOLDS):
            test = scenario.scored[np.isin(scenario.pool.prompt[scenario.scored], fold)]
            train = np.setdiff1d(scenario.scored, test)
            for name, curve in of_fold(scenario, train, test, rng, plan.settings).items():
                places = np.linspace(0, 1, len(curve))
                rows[name].append(np.interp(plan.budgets, places, curve))
    means = {name: np.mean(found, axis=0) for name, found in rows.items()}
    return {
        "folds": FOLDS,
        "curves": {
            name: [
                {"budget": float(budget), "label_accuracy": round(float(value), 4)}
                for budget, value in zip(plan.budgets, row, strict=True)
            ]
            for name, row in means.items()
        },
        "area": {name: round(curves.area(row, np.array(plan.budgets)), 4) for name, row in means.items()},
    }


def of_fold(
    scenario: Scenario, train: Integers, test: Integers, rng: np.random.Generator, settings: Settings
) -> dict[str, Floats]:
    """Policy → its curve on the test pairs."""
    purchases = Purchases(scenario, rng)
    purchases.buy(train)
    belief = learned.believe(scenario.data, purchases.votes, ties=scenario.pool.has_ties, priors=settings.priors)
    human = scenario.human_right[test]
    judge = scenario.credit[test, scenario.judge[test]]
    fused = scenario.credit[test, belief.posterior[test].argmax(axis=1)]
    return {
        "random": curves.static_curve(np.zeros(len(test)), judge, human),
        "judge-uncertainty": curves.static_curve(scenario.doubt[test], judge, human),
        "learned": curves.static_curve(belief.score[test], fused, human),
        "oracle": curves.static_curve(human - judge, judge, human),
    }
