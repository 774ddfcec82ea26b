"""Aggregation: how long a fit and one item's label take, and how right labels are on real people's votes.

    python -m bench.aggregation                    # a million made-up votes, 2,000 items in a database, PandaLM
    python -m bench.aggregation --votes 100000 --json

The database is a new one in a temporary folder, or DATABASE_URL's if that is set (make it an empty one). PandaLM is
read from PLUMBLINE_DATA (default ../shared/data): each annotator is left out in turn, the rest is aggregated by each
method, and compared with the majority of all three and with the one left out.
"""

import argparse
import itertools
import json
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotate.statistics.bradley_terry import Comparisons, noisy_bradley_terry
from annotate.statistics.dawid_skene import dawid_skene, one_coin
from annotate.statistics.skill_weights import skills, weighted_posterior
from annotate.statistics.votes import Votes, votes_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PLUMBLINE_DATA", ROOT.parent / "shared" / "data"))
SEED = 17
OPTIONS = 4
SIDES = {"0": 0, "Tie": 0, "tie": 0, "1": 1, "2": 2}
JUDGES = ["gpt-3.5-turbo", "pandalm-7b"]
# What else is known of the third annotator left out, on all 999 items: majority, Dawid–Skene, one-coin, skill-weighted
PUBLISHED = {
    "2 people": (0.960, 0.964, 0.966, None),
    "2 people + gpt-3.5-turbo": (0.968, 0.968, 0.969, 0.968),
    "2 people + 2 judges": (0.912, 0.969, 0.931, 0.968),
    "1 person + 2 judges": (0.824, 0.81, 0.795, 0.813),
    "2 judges": (0.688, 0.695, 0.722, None),
}
METHODS = ("majority", "Dawid–Skene", "one-coin", "skill-weighted")


# --- A million votes ------------------------------------------------------------------------------------------


def made_up(votes: int, raters: int = 500, overlap: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(votes, 3) rows of item, rater, option, and the truth; raters are right on 50 to 95%."""
    draw = np.random.default_rng(SEED)
    items = -(-votes // overlap)
    truth = draw.choice(OPTIONS, items, p=[0.4, 0.4, 0.15, 0.05])
    accuracy = draw.uniform(0.5, 0.95, raters)
    item = np.repeat(np.arange(items), overlap)[:votes]
    rater = draw.integers(0, raters, votes)
    right = draw.random(votes) < accuracy[rater]
    wrong = (truth[item] + draw.integers(1, OPTIONS, votes)) % OPTIONS
    return np.column_stack([item, rater, np.where(right, truth[item], wrong)]), truth


def large_fit(count: int) -> dict[str, Any]:
    table, truth = made_up(count)
    began = time.perf_counter()
    votes = votes_of(table, OPTIONS)
    fit = dawid_skene(votes)
    return {
        "votes": count,
        "seconds": time.perf_counter() - began,
        "rounds": fit.iterations,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "right": right(fit.posterior, truth),
        "right_by_majority": right(votes.shares, truth),
    }


def right(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of items whose best option is the true one; a first place shared by m counts 1/m."""
    leading = np.isclose(scores, scores.max(axis=1, keepdims=True))
    return float((leading[np.arange(len(truth)), truth] / leading.sum(axis=1)).mean())


# --- One label in a database ----------------------------------------------------------------------------------


def prepare_database(folder: str) -> None:
    os.environ.setdefault("PLUMBLINE_DEV", "1")
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    os.environ["PLUMBLINE_VAR"] = folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def labels_in_database(items: int) -> dict[str, Any]:
    """Three people on each of so many items: read and fit, relabel all, and one label at a time, by both methods."""
    from annotate import projects, skills
    from annotate.models import Item, Project, Rater
    from annotate.submitting import ImportedAnnotation, record_imported

    project = projects.create_project(name=f"Benchmark {time.time_ns()}", by=None)
    people = [Rater.objects.create(project=project, name=f"rater-{n}", kind=Rater.HUMAN) for n in range(12)]
    rows = (
        Item(project=project, external_id=f"{n}", prompt=[], prompt_hash=f"{n}", content_hash=f"{n}")
        for n in range(items)
    )
    made = Item.objects.bulk_create(rows, batch_size=500)
    draw = np.random.default_rng(SEED)
    for start in range(0, items, 500):
        batch = [
            ImportedAnnotation(
                item.pk, people[rater], [0, 1], {"preference": {"choice": "ab"[int(draw.random() < 0.5)]}}
            )
            for item in made[start : start + 500]
            for rater in draw.choice(len(people), 3, replace=False)
        ]
        record_imported(project=project, rows=batch)
    plain = one_by_one(made)
    Project.objects.filter(pk=project.pk).update(aggregation_method=Project.DAWID_SKENE)
    began = time.perf_counter()
    skills.refresh(Project.objects.get(pk=project.pk))
    return {
        "items": items,
        "annotations": 3 * items,
        "fit_and_relabel_seconds": time.perf_counter() - began,
        "majority_ms": plain,
        "dawid_skene_ms": one_by_one(made),
    }


def one_by_one(items: Sequence[Any]) -> dict[str, float]:
    """What one item's label takes in milliseconds (read, decide, compare): median, 95th percentile, processor time."""
    from django.db import transaction

    from annotate import aggregation

    times: list[float] = []
    worked = time.process_time()
    for item in items[:300]:
        began = time.perf_counter()
        with transaction.atomic():
            aggregation.relabel([item.pk])
        times.append(1000 * (time.perf_counter() - began))
    worked = 1000 * (time.process_time() - worked) / len(times)
    return {"median": statistics.median(times), "p95": float(np.percentile(times, 95)), "processor": worked}


# --- Real people ----------------------------------------------------------------------------------------------


def said_by(row: Mapping[str, Any], rater: str) -> int | None:
    """0 tie, 1 first, 2 second; None for what could not be read."""
    given = row[rater] if rater.startswith("annotator") else row["judges"][rater]["label"]
    return SIDES.get(str(given))


def votes_by(rows: Sequence[Mapping[str, Any]], raters: Sequence[str]) -> Votes:
    triplets = [
        (item, place, side)
        for item, row in enumerate(rows)
        for place, rater in enumerate(raters)
        if (side := said_by(row, rater)) is not None
    ]
    return votes_of(triplets, 3, items=len(rows), raters=len(raters))


def scores_of(votes: Votes) -> dict[str, np.ndarray]:
    return {
        "majority": votes.shares,
        "Dawid–Skene": dawid_skene(votes).posterior,
        "one-coin": one_coin(votes).posterior,
        "skill-weighted": weighted_posterior(votes, skills(votes).weight),
    }


def inputs_without(left_out: str) -> dict[str, list[str]]:
    people = [name for name in ("annotator1", "annotator2", "annotator3") if name != left_out]
    return {
        "2 people": people,
        "2 people + gpt-3.5-turbo": [*people, JUDGES[0]],
        "2 people + 2 judges": [*people, *JUDGES],
        "1 person + 2 judges": [people[0], *JUDGES],
        "2 judges": JUDGES,
    }


def real_people(path: Path) -> list[dict[str, Any]]:
    """One row for each set of inputs and method, with the mean over the annotator left out."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    people = np.array([[row[f"annotator{n}"] for n in (1, 2, 3)] for row in rows])
    target = np.array([np.bincount(row, minlength=3).argmax() for row in people])
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for place in range(3):
        for name, raters in inputs_without(f"annotator{place + 1}").items():
            for method, scores in scores_of(votes_by(rows, raters)).items():
                pair = right(scores, target), right(scores, people[:, place])
                found.setdefault((name, method), []).append(pair)
    table = []
    for (name, method), pairs in found.items():
        majority, left_out = np.mean(pairs, axis=0)
        known = PUBLISHED[name][METHODS.index(method)]
        table.append(
            {"inputs": name, "method": method, "majority_of_three": majority, "left_out": left_out, "published": known}
        )
    return table


def siblings(path: Path) -> list[dict[str, Any]]:
    """Noisy Bradley–Terry over responses shared by several pairs of a prompt, on the left-out annotator's non-ties."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    nodes: dict[tuple[str, ...], int] = {}
    sides = [[nodes.setdefault(node_of(row, n), len(nodes)) for n in (1, 2)] for row in rows]
    published = {"2 people": 0.946, "2 people + 2 judges": 0.936, "2 judges": 0.808}
    table = []
    for name, known in published.items():
        shares, alone = [], []
        for place in range(3):
            raters = inputs_without(f"annotator{place + 1}")[name]
            votes = votes_by(rows, raters)
            pairs = np.array(sides)[votes.item]
            won = np.array([0.5, 1.0, 0.0])[votes.option]
            data = Comparisons(pairs[:, 0], pairs[:, 1], votes.rater, won, len(nodes), len(raters))
            strength = noisy_bradley_terry(data).strength
            truth = np.array([row[f"annotator{place + 1}"] for row in rows])
            gap = strength[np.array(sides)[:, 0]] - strength[np.array(sides)[:, 1]]
            shares.append(halves(gap, truth))
            alone.append(halves(votes.counts[:, 1] - votes.counts[:, 2], truth))
        table.append({"inputs": name, "right": np.mean(shares), "votes_alone": np.mean(alone), "published": known})
    return table


def tossers(repeats: int = 5) -> list[dict[str, Any]]:
    """Three people who answer from the responses and one who tosses a coin: who notices, and over which pairs?"""
    table = []
    for name, sharing in (("pairs of their own", 1), ("15 pairs of 6 responses", 15)):
        attentive, accurate = np.empty((repeats, 4)), np.empty((repeats, 4))
        for seed in range(repeats):
            data, votes = crowd_with_a_tosser(np.random.default_rng(seed), pairs=600, sharing=sharing)
            attentive[seed] = noisy_bradley_terry(data).attentive
            accurate[seed] = (votes.of_raters(dawid_skene(votes).posterior[votes.item, votes.option])
                              / votes.of_raters(np.ones(len(votes.item))))  # fmt: skip
        table.append({"pairs": name, "attentive": attentive.mean(0), "accuracy": accurate.mean(0)})
    return table


def crowd_with_a_tosser(draw: np.random.Generator, pairs: int, sharing: int) -> tuple[Comparisons, Votes]:
    """Three votes on each pair, in drawn order; strengths are normal with a deviation of 1.5 log odds."""
    sides = np.array([(2 * n, 2 * n + 1) for n in range(pairs)])
    if sharing > 1:
        among = np.array(list(itertools.combinations(range(6), 2)))
        sides = np.array([6 * (n // sharing) + among[n % sharing] for n in range(pairs)])
    strength = draw.normal(0, 1.5, sides.max() + 1)
    raters = np.array([draw.choice(4, 3, replace=False) for _ in range(pairs)]).ravel()
    item = np.repeat(np.arange(pairs), 3)
    shown = np.where(draw.random(len(item)) < 0.5, 0, 1)
    first, second = sides[item, shown], sides[item, 1 - shown]
    sure = 1 / (1 + np.exp(strength[second] - strength[first]))
    won = draw.random(len(item)) < np.where(raters == 3, 0.5, sure)
    option = np.where(won, shown, 1 - shown)
    data = Comparisons(first, second, raters, won.astype(float), len(strength), 4)
    return data, votes_of(np.column_stack([item, raters, option]), 2)


def node_of(row: Mapping[str, Any], side: int) -> tuple[str, ...]:
    return row["instruction"], row["input"] or "", str(row[f"response{side}"]).strip()


def halves(gap: np.ndarray, truth: np.ndarray) -> float:
    """Share of decided items on which the gap points the right way; no gap counts half."""
    decided = truth != 0
    points = np.sign(gap[decided]) * np.where(truth[decided] == 1, 1, -1)
    return float(((points + 1) / 2).mean())


def show(report: Mapping[str, Any]) -> None:
    fit, labels = report["fit"], report["labels"]
    print(
        f"Dawid–Skene on {fit['votes']:,} votes: {fit['seconds']:.1f} s, {fit['rounds']} rounds, "
        f"peak {fit['peak_gb']:.2f} GB; right {fit['right']:.3f}, by majority {fit['right_by_majority']:.3f}"
    )
    plain, model = labels["majority_ms"], labels["dawid_skene_ms"]
    print(
        f"One item's label among {labels['items']:,}: "
        f"majority {plain['median']:.1f} ms (p95 {plain['p95']:.1f}, processor {plain['processor']:.1f}), "
        f"Dawid–Skene {model['median']:.1f} ms (p95 {model['p95']:.1f}, processor {model['processor']:.1f}); "
        f"fit and relabel all: {labels['fit_and_relabel_seconds']:.1f} s"
    )
    for row in report["people"]:
        known = "" if row["published"] is None else f"{row['published']:.3f}"
        print(f"{row['inputs']:26} {row['method']:15} {row['majority_of_three']:.3f} ({row['left_out']:.3f})  {known}")
    for row in report["siblings"]:
        print(
            f"{row['inputs']:26} noisy Bradley–Terry {row['right']:.3f}, votes alone {row['votes_alone']:.3f}  "
            f"{row['published']:.3f}"
        )
    for row in report["tossers"]:
        print(f"{row['pairs']:26} attentive {np.round(row['attentive'], 2)}, accuracy {np.round(row['accuracy'], 2)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--votes", type=int, default=1_000_000, help="made-up votes in the large fit")
    parser.add_argument("--items", type=int, default=2_000, help="items in the database")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pandalm = DATA / "pandalm.jsonl"
    report: dict[str, Any] = {"fit": large_fit(options.votes)}
    with tempfile.TemporaryDirectory() as folder:
        prepare_database(folder)
        report["labels"] = labels_in_database(options.items)
    report["people"] = real_people(pandalm) if pandalm.exists() else []
    report["siblings"] = siblings(pandalm) if pandalm.exists() else []
    report["tossers"] = tossers()
    print(json.dumps(report, default=lambda value: np.asarray(value).tolist())) if options.json else show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
