"""Train a policy on preference pairs with DPO, on TRL's DPOTrainer: `python -m pipeline.ml dpo run.json`.

What it adds to TRL: soft labels (soft_dpo.py); prompts that are too long lose their beginning, answers never their
end (pair_tokens.py); a reference that is what the run says it is, read once before the first update and kept in the
run's folder, so that a resumed run cannot take its own checkpoint for it; held-out accuracy with its interval; a
warning when the good answers, too, become unlikely. Left out: sampling while training, and losses beyond the config's.

The reference is the input `reference` where one is given, else the policy as it was at the start. The `eval` input is
only looked at, never used to choose anything, so its accuracy is a held-out one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig

from pipeline.ml.configs import DPOStageConfig
from pipeline.ml.data import Pair, answer_length, read_pairs
from pipeline.ml.evaluation.reward import reward_report, summary
from pipeline.ml.meter import Meter
from pipeline.ml.models import add_lora, choose_dtype, load_policy, load_tokenizer, merged, save_model
from pipeline.ml.records import RunFolder, StageError
from pipeline.ml.trainers.arguments import Precision, choose_precision, training_arguments
from pipeline.ml.trainers.callbacks import StageCallback, raise_if_stopped
from pipeline.ml.trainers.pair_tokens import EncodedPairs, encode_pairs
from pipeline.ml.trainers.reference import PairLogProbs, Reference, pair_log_probs
from pipeline.ml.trainers.soft_dpo import HeldOut, SoftDPOTrainer, dpo_dataset, fall

TRAIN_NAMES = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "logps/chosen": "logps_chosen",
    "logps/rejected": "logps_rejected",
}
EVAL_NAMES = ("loss", "accuracy", "accuracy_low", "accuracy_high", "margin", "logps_chosen", "logps_rejected")
NAMES = TRAIN_NAMES | {f"eval_{name}": f"eval_{name}" for name in EVAL_NAMES}


@dataclass(frozen=True)
class Judged:
    """Held-out pairs with what the reference and the policy's start say of them."""

    encoded: EncodedPairs
    reference: PairLogProbs
    start: PairLogProbs

    def watched(self, count: int, seed: int) -> HeldOut:
        """At most `count` of them, for evaluations while training."""
        places = sorted(
            random.Random(seed).sample(range(len(self.encoded.pairs)), min(count, len(self.encoded.pairs)))
        )
        return HeldOut(
            tokens=[self.encoded.tokens[place] for place in places],
            probability=torch.tensor([self.encoded.pairs[place].probability for place in places]),
            reference=self.reference.at(places),
            start=self.start.at(places),
        )


def run(folder: RunFolder) -> dict[str, Any]:
    """The stage: train, save the merged policy, and read the held-out pairs with it as it was saved."""
    config = folder.config(DPOStageConfig)
    began = time.monotonic()
    folder.events.progress(0, 0, stage="reading the pairs")
    tokenizer = load_tokenizer(folder.input("policy"))
    train = encode_pairs(tokenizer, read_pairs(folder.input("train")), config.max_length)
    _tell_what_was_cut(folder, config, train)
    judged, outcome = _train(folder, config, tokenizer, train, _held_out_pairs(folder, config, tokenizer))
    return {
        "pairs": len(train.pairs),
        "shortened": train.shortened,
        "left_out": train.left_out,
        **outcome,
        "eval": _evaluate_saved(folder, config, tokenizer, judged) if judged else None,
        "seconds": round(time.monotonic() - began, 1),
    }


def _tell_what_was_cut(folder: RunFolder, config: DPOStageConfig, train: EncodedPairs) -> None:
    if not train.pairs:
        raise StageError(f"No pair fits into {config.max_length} tokens with its longer answer: raise max_length.")
    if train.left_out:
        words = f"an answer alone fills the {config.max_length} tokens of max_length"
        folder.events.log(f"{train.left_out} pairs are left out: {words}.", level="warning")
    if train.shortened:
        folder.events.log(f"{train.shortened} prompts lost their beginning to fit {config.max_length} tokens.")


def _held_out_pairs(
    folder: RunFolder, config: DPOStageConfig, tokenizer: PreTrainedTokenizerBase
) -> EncodedPairs | None:
    """The pairs of `eval` that have a better side; None where there are none."""
    if not folder.has_input("eval"):
        return None
    pairs = [pair for pair in read_pairs(folder.input("eval")) if pair.probability > 0.5]
    encoded = encode_pairs(tokenizer, pairs, config.max_length)
    return encoded if encoded.pairs else None


def _train(
    folder: RunFolder,
    config: DPOStageConfig,
    tokenizer: PreTrainedTokenizerBase,
    train: EncodedPairs,
    held_out: EncodedPairs | None,
) -> tuple[Judged | None, dict[str, Any]]:
    """Train from the newest checkpoint on and save; returns the held-out pairs and numbers for the result."""
    folder.events.progress(0, 0, stage="loading the policy")
    precision = choose_precision(config, folder.input("policy"))
    model = load_policy(folder.input("policy"), dtype=precision.weights)
    reference = Reference(folder, model, tokenizer, precision)
    judged = None
    if held_out:
        start = reference.start_log_probs("eval", held_out.tokens)
        judged = Judged(held_out, reference.log_probs("eval", held_out.tokens), start)
    rows = dpo_dataset(train.pairs, train.tokens, reference.log_probs("train", train.tokens), config.label_smoothing)
    trainer = SoftDPOTrainer(
        model=add_lora(model, rank=config.lora_rank, task="CAUSAL_LM", seed=folder.seed) if config.lora else model,
        args=_arguments(config, folder, evaluate=judged is not None),
        folder=folder,
        processing_class=tokenizer,
        train_dataset=rows,
        eval_dataset=rows.select([0]) if judged else None,  # TRL asks for one; the trainer reads `held_out`
        held_out=judged.watched(config.eval_pairs, folder.seed) if judged else None,
        callbacks=[StageCallback(folder, NAMES)],
    )
    return judged, _fit(folder, config, tokenizer, trainer)


def _arguments(config: DPOStageConfig, folder: RunFolder, *, evaluate: bool) -> DPOConfig:
    losses, weights = [config.loss], [1.0]
    if config.sft_weight:
        losses, weights = [*losses, "sft"], [*weights, config.sft_weight]
    return DPOConfig(
        **training_arguments(config, folder, evaluate=evaluate),
        beta=config.beta,
        loss_type=losses,
        loss_weights=weights,
        max_length=None,  # encode_pairs has shortened what is too long
        precompute_ref_log_probs=True,  # by Reference: TRL would take a resumed policy for its own reference
    )


def _fit(
    folder: RunFolder, config: DPOStageConfig, tokenizer: PreTrainedTokenizerBase, trainer: SoftDPOTrainer
) -> dict[str, Any]:
    """Run the trainer to its end and save the policy, adapters merged."""
    trainer.remove_callback(PrinterCallback)
    checkpoint = folder.latest_checkpoint()
    if checkpoint is None:
        trainer.log_start()
    output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    raise_if_stopped(trainer.state)
    steps = trainer.state.global_step
    trainable = sum(item.numel() for item in trainer.model.parameters() if item.requires_grad)
    folder.events.progress(steps, steps, stage="saving the policy")
    save_model(merged(trainer.model), tokenizer, folder.model)
    return {"steps": steps, "train_loss": output.training_loss, "trainable_parameters": trainable}


def _evaluate_saved(
    folder: RunFolder, config: DPOStageConfig, tokenizer: PreTrainedTokenizerBase, judged: Judged
) -> dict[str, Any]:
    """The report on all held-out pairs, with the implied rewards β·(log p − log p_ref) of the policy as saved.

    The reference reads them once more, in the precision of the saved policy: the reading that served the training may
    have been in another, and the difference of the two would count as a preference.
    """
    pairs, tokens = judged.encoded.pairs, judged.encoded.tokens
    dtype = choose_dtype(config.dtype, folder.model)
    unchanged = load_policy(folder.input("policy"), dtype=dtype)
    reference = Reference(folder, unchanged, tokenizer, Precision(weights=dtype, autocast=False))
    start, held_to = reference.start_log_probs("saved", tokens), reference.log_probs("saved", tokens)
    del unchanged, reference
    meter = Meter(folder.events, 2 * len(pairs), "evaluating on held-out pairs")
    policy = pair_log_probs(
        load_policy(folder.model, dtype=dtype),
        tokens,
        pad=tokenizer.pad_token_id,
        on_batch=lambda rows, count: meter.add(rows=rows, tokens=count),
    )
    chosen, rejected = (config.beta * change for change in policy.minus(held_to))
    report = reward_report(pairs, chosen.tolist(), rejected.tolist())
    folder.events.log(f"Held-out {summary(report)}.")
    return {
        **report,
        "by_length": _by_length(pairs, chosen.tolist(), rejected.tolist()),
        "logps_chosen": _change(start.chosen, policy.chosen),
        "logps_rejected": _change(start.rejected, policy.rejected),
        "left_out": judged.encoded.left_out,
    }


def _by_length(pairs: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Accuracy where the better answer is the longer one and where it is the shorter one, in characters."""
    gaps = [answer_length(pair.chosen) - answer_length(pair.rejected) for pair in pairs]
    report = {}
    for name, sign in (("chosen_longer", 1), ("chosen_shorter", -1)):
        places = [place for place, gap in enumerate(gaps) if gap * sign > 0]
        share = _accuracy(
            [pairs[place] for place in places],
            [chosen[place] for place in places],
            [rejected[place] for place in places],
        )
        report[name] = share
    return report


def _accuracy(pairs: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, Any]:
    if not pairs:
        return {"n": 0, "accuracy": None, "low": None, "high": None}
    report = reward_report(pairs, chosen, rejected)
    return {name: report[name] for name in ("n", "accuracy", "low", "high")}


def _change(start: torch.Tensor, end: torch.Tensor) -> dict[str, float]:
    """Mean log-probability in nats before and after, and the share by which it fell."""
    before, after = float(start.mean()), float(end.mean())
    return {"start": before, "end": after, "fall": fall(after, before)}
