"""Evaluate a reward model on held-out pairs: how often it prefers what people preferred, and how sure that is.

Beside the accuracy stand the baselines that need no model ("the longer answer wins", "the first one wins"), the
accuracy on pairs of like length, calibration, and slices by tag and source. Left out: listwise and step data.

    python -m pipeline.ml evaluate_reward run.json
    python -m pipeline.ml evaluate_reward --model DIR --pairs FILE.jsonl --out report.json
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.ml.configs import EvaluateRewardConfig
from pipeline.ml.data import Pair, answer_length, encode_conversation, read_pairs
from pipeline.ml.evaluation.intervals import (
    BOOTSTRAP_SEED,
    Floats,
    brier_score,
    calibration_error,
    clustered_bootstrap,
    wilson,
)
from pipeline.ml.meter import Meter
from pipeline.ml.models import choose_dtype, load_reward_model, load_tokenizer, score_sequences
from pipeline.ml.records import RunFolder, is_main_process, write_json

Report = dict[str, Any]
OnBatch = Callable[[int, int], None]
CALIBRATION_BINS = 10


def run(folder: RunFolder) -> Report:
    """The stage: score the pairs and return the report."""
    config = folder.config(EvaluateRewardConfig)
    folder.events.progress(0, 0, stage="loading the model")
    pairs = read_pairs(folder.input("pairs"))
    meter = Meter(folder.events, 2 * len(pairs), "scoring answers")
    return _evaluate(folder.input("model"), pairs, config, lambda rows, tokens: meter.add(rows=rows, tokens=tokens))


def evaluate_files(*, model: Path, pairs: Path, out: Path, config: EvaluateRewardConfig) -> Report:
    """Evaluate without a run's folder: write the report to `out` and return it."""
    report = _evaluate(model, read_pairs(pairs), config, None)
    if is_main_process():
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, report)
    return report


def summary(report: Report) -> str:
    """One line for people: accuracy with its interval, and what needs no model beside it."""
    longer, like = report["baselines"]["longer"], report["like_length"]
    words = f"accuracy {_words(report)} on {report['n']} pairs; the longer answer wins {_words(longer)}"
    return f"{words}; on {like['n']} pairs of like length {_words(like)}"


def _words(share: Report) -> str:
    if share["accuracy"] is None:
        return "unknown"
    return f"{share['accuracy']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _evaluate(
    model_folder: Path, pairs: Sequence[Pair], config: EvaluateRewardConfig, on_batch: OnBatch | None
) -> Report:
    tokenizer = load_tokenizer(model_folder)
    model = load_reward_model(model_folder, dtype=choose_dtype(config.dtype, model_folder))
    return evaluate_pairs(model, tokenizer, pairs, config, on_batch=on_batch)


def evaluate_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    config: EvaluateRewardConfig,
    *,
    on_batch: OnBatch | None,
) -> Report:
    """Score both sides of all pairs and report; `on_batch(answers, tokens)` is told the size of each batch done."""
    sides = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    tokens = [encode_conversation(tokenizer, prompt + answer, config.max_length) for prompt, answer in sides]
    scores = score_sequences(
        model,
        [item.ids for item in tokens],
        batch_size=config.batch_size,
        on_batch=on_batch,
    )
    report = reward_report(
        pairs, scores[::2], scores[1::2], like_length=config.like_length, resamples=config.bootstrap_samples
    )
    return {**report, "shortened": sum(item.shortened for item in tokens)}


def reward_report(
    pairs: Sequence[Pair],
    chosen: Sequence[float],
    rejected: Sequence[float],
    *,
    like_length: float = 0.1,
    resamples: int = 2000,
) -> Report:
    """The report on pairs whose sides got these rewards. Exact ties count ½, in the baselines too.

    `ece` and `brier` are in the confidence form: the probability of the side that the model prefers, against
    whether (or with which probability) that side was the preferred one.
    """
    margins = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    lengths = np.log([[max(1, answer_length(side)) for side in (pair.chosen, pair.rejected)] for pair in pairs])
    gaps = lengths[:, 0] - lengths[:, 1]
    everything = _Table(pairs, margins, gaps, resamples)
    like = everything.where(np.abs(gaps) <= like_length)
    confidence, outcome = _confidence(margins, np.array([pair.probability for pair in pairs]))
    return {
        **everything.accuracy(),
        "ties": int((margins == 0).sum()),
        "baselines": everything.baselines(),
        "like_length": {
            **like.accuracy(),
            "baselines": like.baselines(),
            "rule": f"|log(characters of one answer / characters of the other)| at most {like_length:g}",
        },
        "ece": calibration_error(confidence, outcome, bins=CALIBRATION_BINS, low=0.5),
        "brier": brier_score(confidence, outcome),
        "mean_margin": float(margins.mean()),
        "length_correlation": _length_correlation(margins, gaps),
        "reward": {"mean": float(np.mean([*chosen, *rejected])), "std": float(np.std([*chosen, *rejected]))},
        "slices": everything.slices(),
        "bootstrap_seed": BOOTSTRAP_SEED,
    }


class _Table:
    """Pairs with their score gaps and log length gaps, and the shares that follow from them."""

    def __init__(self, pairs: Sequence[Pair], margins: Floats, gaps: Floats, resamples: int) -> None:
        self.pairs = list(pairs)
        self.margins = margins
        self.gaps = gaps
        self.resamples = resamples

    def where(self, keep: np.ndarray) -> "_Table":
        pairs = [pair for pair, kept in zip(self.pairs, keep, strict=True) if kept]
        return _Table(pairs, self.margins[keep], self.gaps[keep], self.resamples)

    def accuracy(self) -> Report:
        return self._share(_wins(self.margins), self.pairs)

    def baselines(self) -> dict[str, Report | None]:
        known = [pair for pair in self.pairs if pair.chosen_first is not None]
        first = np.array([float(bool(pair.chosen_first)) for pair in known])
        return {
            "longer": self._share(_wins(self.gaps), self.pairs),
            "first": self._share(first, known) if known else None,
        }

    def slices(self) -> dict[str, Report]:
        """Accuracy by tag and by source of the label."""
        names = {f"tag:{tag}" for pair in self.pairs for tag in pair.tags}
        names |= {f"source:{pair.source}" for pair in self.pairs if pair.source}
        return {
            name: self.where(np.array([_in_slice(pair, name) for pair in self.pairs])).accuracy()
            for name in sorted(names)
        }

    def _share(self, wins: Floats, pairs: Sequence[Pair]) -> Report:
        """The mean of 0, ½ and 1 with its interval: Wilson where prompts are all different, else over prompts."""
        n = len(wins)
        if n == 0:
            return {"n": 0, "accuracy": None, "low": None, "high": None, "interval": None}
        keys = [pair.key for pair in pairs]
        if len(set(keys)) == n:
            method, (low, high) = "wilson", wilson(float(wins.sum()), n)
        else:
            method, (low, high) = "bootstrap", clustered_bootstrap(wins, keys, resamples=self.resamples)
        return {"n": n, "accuracy": float(wins.mean()), "low": low, "high": high, "interval": method}


def _wins(gaps: Floats) -> Floats:
    """1 where the preferred side is ahead, 0 where it is behind, ½ where both are level."""
    return (np.sign(gaps) + 1) / 2


def _in_slice(pair: Pair, name: str) -> bool:
    kind, _, value = name.partition(":")
    return value in pair.tags if kind == "tag" else value == pair.source


def _confidence(margins: Floats, probability: Floats) -> tuple[Floats, Floats]:
    """(P of the side the model prefers, probability that this side was preferred), each in [0, 1]."""
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    right = _wins(margins)
    return confidence, right * probability + (1 - right) * (1 - probability)


def _length_correlation(margins: Floats, gaps: Floats) -> float | None:
    """Correlation of score gap with log length gap, each pair counted in both orders; None where either is flat.

    With both orders both means are zero, so it does not depend on which side is called first.
    """
    scale = np.sqrt((margins**2).sum() * (gaps**2).sum())
    return float((margins * gaps).sum() / scale) if scale > 0 else None
