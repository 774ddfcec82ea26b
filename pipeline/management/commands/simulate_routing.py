"""manage.py simulate_routing FILE --out DIR: replay routing policies on past data, at every budget."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from annotate.commands import JsonCommand, WrongUse
from annotate.importing.formats import FORMATS
from pipeline.commands import how_many
from pipeline.routing.evidence.reading import PoolError, pool_from
from pipeline.routing.simulating.plotting import picture
from pipeline.routing.simulating.replay import POLICIES, USUAL, Settings
from pipeline.routing.simulating.reporting import Plan, Prices, report
from pipeline.routing.simulating.scenario import scenario_of

REPORT, PLOT = "report.json", "curves.svg"


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def price(text: str) -> float:
    """An argparse type: a number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a price")
    return value


class Command(JsonCommand):
    help = "Replay routing policies on a file of items with labels by people and judges; nothing is stored."
    expected = (PoolError,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="Native items, or any format that import_items knows.")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"For {REPORT} and {PLOT}.")
        parser.add_argument("--seeds", type=how_many, default=10, help="How many replays of each policy (10).")
        parser.add_argument("--first-seed", type=int, default=0, help="The seeds are this one and those after it (0).")
        parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(USUAL))
        parser.add_argument("--format", default="", choices=["", *FORMATS], help="Recognised if not given.")
        parser.add_argument("--question", default="", help="The preference question; else the one with most answers.")
        parser.add_argument("--isolated", action="store_true", help="As if no two pairs had the same prompt.")
        parser.add_argument("--no-models", action="store_true", help="As if nobody knew who wrote the responses.")
        parser.add_argument("--start", type=how_many, help="Labels drawn evenly at first; each policy has its own.")
        parser.add_argument("--batch", type=how_many, default=Settings.batch, help="Labels between two fits.")
        parser.add_argument("--explore", type=share, default=0.0, help="Share of each batch drawn at random (0).")
        parser.add_argument(
            "--most-votes", type=how_many, default=Settings.most_votes, help="People asked about one item at most."
        )
        parser.add_argument(
            "--human-accuracy", type=share, help="Let bought labels err so that they are right so often."
        )
        parser.add_argument("--human-price", type=price, default=1.0, help="Of one human label (1).")
        parser.add_argument("--judge-price", type=price, default=0.0, help="Of one answer by a judge (0).")

    def run(self, **options: Any) -> dict[str, Any]:
        path, folder = options["file"], options["out"]
        if not path.is_file():
            raise WrongUse(f"There is no file {path}: check the path.")
        if folder.exists() and not folder.is_dir():
            raise WrongUse(f"{folder} is a file: name a folder after --out.")
        accuracy = options["human_accuracy"]
        pool = pool_from(path, question=options["question"], format_name=options["format"])
        self.say(f"{path.name}: {pool.size} pairs, {len(pool.judges)} judges, {len(pool.raters)} raters")
        scenario = scenario_of(
            pool,
            isolated=options["isolated"],
            models=not options["no_models"],
            error=0.0 if accuracy is None else 1 - accuracy,
        )
        found = {**report(scenario, planned(options), self.say), "file": path.name, "folder": str(folder)}
        written(folder / REPORT, json.dumps(found, ensure_ascii=False, indent=1))
        written(folder / PLOT, picture(found, f"Routing replayed on {path.name}"))
        return found

    def in_words(self, result: dict[str, Any]) -> str:
        target = result["human_accuracy"]["value"]
        lines = [f"{result['items']} items; one person on everything: {target:.1%}", ""]
        lines.append(f"{'policy':20}{'0%':>7}{'20%':>7}{'30%':>7}{'50%':>7}{'100%':>7}{'area':>8}{'saved':>8}")
        for name, points in result["curves"].items():
            at = {point["budget"]: point["label_accuracy"] for point in points}
            shown = "".join(f"{at[budget]:7.3f}" for budget in (0.0, 0.2, 0.3, 0.5, 1.0))
            area, saved = result["area"][name], result["saved_at_human_accuracy"][name]
            lines.append(f"{name:20}{shown}{area:8.3f}{saved:8.0%}")
        return "\n".join([*lines, "", f"{REPORT} and {PLOT} are in {result['folder']}"])


def planned(options: dict[str, Any]) -> Plan:
    settings = Settings(
        start=options["start"],
        batch=options["batch"],
        explore=options["explore"],
        most_votes=options["most_votes"],
    )
    first = options["first_seed"]
    return replace(
        Plan(),
        policies=tuple(dict.fromkeys(options["policies"])),
        seeds=tuple(range(first, first + options["seeds"])),
        settings=settings,
        prices=Prices(options["human_price"], options["judge_price"]),
    )


def written(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
