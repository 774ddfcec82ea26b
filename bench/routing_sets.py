"""Routing policies on made-up sets whose judges err as real ones were seen to: who saves what, at which budget.

python -m bench.routing_sets [--sets NAME ...] [--seeds 10] [--first-seed 0]

Each set has the size, ties, orders and error rates of a public one, from the figures that its authors and others
published; texts say nothing, so that all is in the votes. A judge's lean towards the right response is

    skill of its model on this kind of pair + what its model, then this prompt of it, sees in the pair + place

and both orders share all but the place and a little noise: judges of one model err together. People err
independently of each other and of judges, which flatters second labels; a tie and a side are mixed up more often than
two sides. Real sets have texts that say something, and people who err together: expect other figures there, and look
here for policies that lose to simpler ones.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import django
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PLUMBLINE_DEV", "1")
django.setup()  # the package of routing has tables, though nothing here reads one

from annotate.statistics.votes import Floats, Integers  # noqa: E402
from pipeline.routing.evidence.pool import FIRST, HUMAN, JUDGE, SECOND, TIE, Ballots, Pool, Rater  # noqa: E402
from pipeline.routing.simulating import curves  # noqa: E402
from pipeline.routing.simulating.replay import USUAL, Settings, replayed  # noqa: E402
from pipeline.routing.simulating.scenario import scenario_of  # noqa: E402

BUDGETS = np.round(np.arange(0, 1.001, 0.05), 2)
SHOWN = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
WORDS = [f"word{number}" for number in range(300)]
POLICIES = ("random", "judge-uncertainty", "learned")


@dataclass(frozen=True)
class Model:
    """Judges of one model: so many `prompts`, its `skill` on plain and on tricky pairs, as standard deviations.

    `own` is the spread of what the model sees in a pair, `prompt` that of each prompt of it, `place` its lean to the
    response shown first, `noise` that of one answer. `indifferent` is how small a lean it calls a tie.
    """

    name: str
    prompts: int
    skill: tuple[float, float]
    own: float = 0.5
    prompt: float = 0.4
    place: float = 0.3
    noise: float = 0.2
    indifferent: float = 0.0


@dataclass(frozen=True)
class Kind:
    """A set: pairs, the share of `tricky` ones and of `ties`, people with their accuracy, models that judge.

    `shared` is how many pairs have the same prompt, `writers` how many models wrote the responses, of different
    worth. `common` is the spread of what all judges see in a pair and people do not.
    """

    pairs: int
    models: Sequence[Model]
    tricky: float = 0.0
    ties: float = 0.0
    people: int = 3
    accuracy: float = 0.94
    orders: int = 2
    common: float = 0.3
    shared: int = 1
    writers: int = 0


STRONG, MIDDLING = Model("strong", 15, (1.1, 0.65), place=0.1), Model("middling", 15, (0.75, 0.15))
WEAK = (
    Model("weak", 12, (0.6, -0.45), place=0.5),
    Model("weaker", 13, (0.6, -0.35), place=-0.4),
    Model("weakest", 10, (0.4, 0.0), place=0.8, noise=0.4),
)
SETS: Mapping[str, Kind] = {
    "panel with strong judges": Kind(419, (STRONG, MIDDLING, *WEAK), tricky=0.76),
    "one strong judge": Kind(419, (Model("strong", 1, (1.1, 0.65), place=0.1),), tricky=0.76),
    "panel without a strong judge": Kind(419, (MIDDLING, *WEAK), tricky=0.76),
    "weak judges alone": Kind(419, WEAK, tricky=0.76),
    "natural pairs, two judges": Kind(
        466, (Model("strong", 1, (0.6, 0.6), place=0.12), Model("weak", 1, (0.45, 0.45), place=0.45)), accuracy=0.9
    ),
    "one judge, 27% ties": Kind(1392, (Model("judge", 1, (0.75, 0.75), place=0.15),), ties=0.27, people=2),
    "chats, shared prompts": Kind(
        480, (Model("judge", 1, (0.75, 0.75), indifferent=0.1),), ties=0.2, accuracy=0.85, shared=6, writers=6
    ),
    "small": Kind(
        118, (Model("one", 1, (0.45, 0.45)), Model("other", 1, (0.3, 0.3), place=0.45)), ties=0.1, accuracy=0.95
    ),
    "small, judges of no use": Kind(118, (Model("one", 1, (0.1, 0.1)),), ties=0.1, accuracy=0.95),
}


def made(kind: Kind, seed: int) -> Pool:
    """A set of this kind, another for each seed."""
    rng = np.random.default_rng([seed, kind.pairs])
    writers = np.array([rng.permutation(max(kind.writers, 2))[:2] for _ in range(kind.pairs)])
    worth = rng.normal(0, 0.7 if kind.writers else 0.0, max(kind.writers, 2))
    gap = worth[writers[:, 0]] - worth[writers[:, 1]] + rng.normal(size=kind.pairs)
    near = np.abs(gap) <= np.quantile(np.abs(gap), kind.ties) if kind.ties else np.zeros(kind.pairs, bool)
    truth = np.where(near, TIE, np.where(gap > 0, FIRST, SECOND))
    said = [(Rater(f"person {number}", HUMAN), 0, by_person(truth, kind, rng)) for number in range(kind.people)]
    tricky, common = rng.random(kind.pairs) < kind.tricky, kind.common * rng.normal(size=kind.pairs)
    for model in kind.models:
        said += by_model(model, truth, tricky, common, kind.orders, rng)
    texts = [[" ".join(rng.choice(WORDS, 12)) for _ in range(kind.pairs)] for _ in range(3)]
    prompt = np.arange(kind.pairs) // kind.shared
    return Pool(
        keys=[str(number) for number in range(kind.pairs)],
        prompt=prompt,
        prompts=texts[0][: int(prompt.max()) + 1],
        first=texts[1],
        second=texts[2],
        models=writers if kind.writers else np.full((kind.pairs, 2), -1),
        model_names=[f"writer {number}" for number in range(kind.writers)],
        raters=list(dict.fromkeys(rater for rater, _, _ in said)),
        ballots=ballots(said),
    )


def by_person(truth: Integers, kind: Kind, rng: np.random.Generator) -> Integers:
    """One person's verdicts: (n,). A side is taken for a tie more often than for the other side."""
    other = np.where(truth == TIE, rng.choice([FIRST, SECOND], len(truth)), np.where(truth == FIRST, SECOND, FIRST))
    if kind.ties:
        other = np.where((truth != TIE) & (rng.random(len(truth)) < 0.6), TIE, other)
    return np.where(rng.random(len(truth)) < kind.accuracy, truth, other)


def by_model(
    model: Model, truth: Integers, tricky: NDArray[np.bool_], common: Floats, orders: int, rng: np.random.Generator
) -> list[tuple[Rater, int, Integers]]:
    """(judge, whether swapped, verdicts) of all prompts of a model, in each order."""
    sign = (truth == FIRST).astype(float) - (truth == SECOND)
    seen = sign * np.where(tricky, model.skill[1], model.skill[0]) + common + model.own * rng.normal(size=len(truth))
    found = []
    for number in range(model.prompts):
        by_prompt = seen + model.prompt * rng.normal(size=len(truth))
        for swapped in range(orders):
            lean = by_prompt + model.noise * rng.normal(size=len(truth)) + model.place * (1 - 2 * swapped)
            verdict = np.where(np.abs(lean) < model.indifferent, TIE, np.where(lean > 0, FIRST, SECOND))
            found.append((Rater(f"{model.name} {number}", JUDGE), swapped, verdict))
    return found


def ballots(said: list[tuple[Rater, int, Integers]]) -> Ballots:
    known = {rater: number for number, rater in enumerate(dict.fromkeys(rater for rater, _, _ in said))}
    size = len(said[0][2])
    votes = size * len(said)
    return Ballots(
        item=np.tile(np.arange(size), len(said)),
        rater=np.repeat([known[rater] for rater, _, _ in said], size),
        verdict=np.concatenate([verdict for _, _, verdict in said]),
        swapped=np.repeat([swapped for _, swapped, _ in said], size),
        strength=np.full(votes, np.nan),
        confidence=np.full(votes, np.nan),
        reason=[""] * votes,
        reference=[""] * votes,
    )


def measured(kind: Kind, policy: str, seeds: Sequence[int]) -> tuple[Floats, float]:
    """Mean curve over BUDGETS, and one person's accuracy, each seed with a set of its own."""
    reached, people = [], []
    for seed in seeds:
        scenario = scenario_of(made(kind, seed))
        reached.append(replayed(policy, scenario, seed, BUDGETS, Settings()).credit.mean(axis=1))
        people.append(float(scenario.human_right[scenario.scored].mean()))
    return np.mean(reached, axis=0), float(np.mean(people))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), metavar="NAME")
    parser.add_argument("--policies", nargs="+", choices=list(USUAL), default=list(POLICIES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    columns = "".join(f"{budget:>7.0%}" for budget in SHOWN)
    for name in options.sets:
        print(f"\n{name} ({SETS[name].pairs} pairs)\n{'':20}{columns}{'area':>8}{'saved':>7}{'s':>6}")
        for policy in options.policies:
            begun = time.perf_counter()
            curve, target = measured(SETS[name], policy, seeds)
            shown = "".join(f"{curve[budget == BUDGETS][0]:7.3f}" for budget in SHOWN)
            saved = curves.saved(list(curve), list(BUDGETS), target)
            taken = time.perf_counter() - begun
            print(f"{policy:20}{shown}{curves.area(curve, BUDGETS):8.3f}{saved:7.0%}{taken:6.0f}", flush=True)


if __name__ == "__main__":
    main()
