"""Reward models on real preferences: what the training stage reaches on HH and AlpacaEval, with intervals.

    python -m bench.reward_models                        # both files, the demo model, head_only: minutes
    python -m bench.reward_models --method finetune      # as the pages train by default: longer
    python -m bench.reward_models --only hh --json

Each file is split by prompt (70/15/15); training sees train and validation, the figures are from test. Everything
goes through `python -m pipeline.ml`, the command that the pages use. The data is read from PLUMBLINE_DATA
(default ../shared/data) and never copied into the project.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ml.data import read_pairs, read_rows
from pipeline.ml.splits import prompt_key, split_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PLUMBLINE_DATA", ROOT.parent / "shared" / "data"))
SEED = 17

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A file of real preferences, and how many of its training pairs are used (0 = all)."""

    name: str
    title: str
    file: str
    rows: Callable[[Path], Iterator[Row]]
    train_pairs: int
    max_length: int


def hh_rows(path: Path) -> Iterator[Row]:
    """The reader takes HH transcripts as they are; the prompt is cut out for the split."""
    for pair in read_pairs(path):
        yield {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected, "source": "human"}


def alpaca_rows(path: Path) -> Iterator[Row]:
    """The side of 1.5 is the choice, the distance from it the judge's confidence; exactly 1.5 is a tie, left out."""
    for _, row in read_rows(path):
        if row["preference"] == 1.5:
            continue
        first = row["preference"] < 1.5
        sides = [[{"role": "assistant", "content": row[name]}] for name in ("output_1", "output_2")]
        yield {
            "prompt": [{"role": "user", "content": row["instruction"]}],
            "chosen": sides[0 if first else 1],
            "rejected": sides[1 if first else 0],
            "probability": 0.5 + abs(row["preference"] - 1.5),
            "tags": [row["generator_2"]],
            "source": "judge",
            "chosen_first": first,
        }


CASES = (
    Case("hh", "HH harmless, people's choices", "hh_harmless.jsonl.gz", hh_rows, 0, 512),
    Case("alpaca", "AlpacaEval, a judge's choices", "alpaca_eval.jsonl.gz", alpaca_rows, 400, 768),
)


def main() -> int:
    """Train and evaluate on each file; print a table, or JSON."""
    options = parse()
    cases = [case for case in CASES if options.only in (None, case.name)]
    missing = [case.file for case in cases if not (DATA / case.file).exists()]
    if missing:
        sys.exit(f"There is no {' or '.join(missing)} in {DATA}: set PLUMBLINE_DATA to the folder that holds it.")
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        model = options.model or build_demo_model(work / "demo-model")
        config = json.loads(options.config)
        results = [measure(case, model, work, options.method, config) for case in cases]
    print(json.dumps(results, indent=2) if options.json else table(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one of the files")
    parser.add_argument("--method", choices=["head_only", "finetune"], default="head_only")
    parser.add_argument("--model", type=Path, help="folder of the base model (default: the demo model)")
    parser.add_argument("--config", default="{}", help="more settings of train_reward, as JSON")
    parser.add_argument(
        "--work", type=Path, help="keep run folders here; started again, it goes on (default: deleted)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole reports")
    return parser.parse_args()


def build_demo_model(out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pipeline.ml.demo_model", str(out)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return out


def measure(case: Case, model: Path, work: Path, method: str, config: Row) -> Row:
    """Write the run's folder, run the stage in its own process, and take the report from its result."""
    folder = work / f"{case.name}-{method}"
    folder.mkdir(parents=True, exist_ok=True)
    train, test = split_rows(case)
    spec = {
        "stage": "train_reward",
        "seed": SEED,
        "config": {"method": method, "max_length": case.max_length, **config},
        "inputs": {
            "base": {"path": str(model.resolve())},
            "train": {"path": str(write_rows(folder / "train.jsonl", train))},
            "eval": {"path": str(write_rows(folder / "eval.jsonl", test))},
        },
    }
    (folder / "run.json").write_text(json.dumps(spec, indent=2), encoding="utf-8")
    began = time.monotonic()
    command = [sys.executable, "-m", "pipeline.ml", "train_reward", str(folder / "run.json")]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {"case": case.name, "title": case.title, "seconds": round(time.monotonic() - began, 1), **result}


def split_rows(case: Case) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows); a limit on the former takes prompts in the order of their hashes."""
    rows = list(case.rows(DATA / case.file))
    test = [row for row in rows if split_of(row["prompt"]) == "test"]
    train = [row for row in rows if split_of(row["prompt"]) != "test"]
    train.sort(key=lambda row: prompt_key(row["prompt"]))
    return train[: case.train_pairs or None], test


def write_rows(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path.resolve()


def table(results: list[Row]) -> str:
    """A Markdown table: the model beside what needs no model, on all pairs and on those of like length."""
    lines = ["| data | pairs | accuracy (95%) | longer wins | first wins |", "| --- | ---: | --- | --- | --- |"]
    for result in results:
        report = result["eval"]
        for words, part in ((result["title"], report), ("… of like length", report["like_length"])):
            baselines = part["baselines"]
            cells = [str(part["n"]), share(part), share(baselines["longer"]), share(baselines["first"])]
            lines.append(f"| {' | '.join([words, *cells])} |")
    spent = "; ".join(
        f"{result['case']}: {result['method']} on {result['pairs']} pairs, {result['seconds']:.0f} s"
        for result in results
    )
    return "\n".join([*lines, "", spent])


def share(part: Row | None) -> str:
    if part is None or part["accuracy"] is None:
        return "–"
    return f"{part['accuracy']:.1%} ({part['low']:.1%} to {part['high']:.1%})"


if __name__ == "__main__":
    sys.exit(main())
