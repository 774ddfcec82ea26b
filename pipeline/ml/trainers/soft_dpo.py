"""DPO with soft labels, on TRL's DPOTrainer: what this subclass changes, and what it leans on.

Changed: pairs arrive as token ids (pair_tokens.py) with the reference's log-probabilities beside them, so TRL
neither tokenises nor reads the reference; the label's probability enters the loss; batches of like length in an order
that survives a resume; evaluation reads each held-out pair's margin. Leant on, and tested: `_compute_loss` calls the
model once and reads `ref_chosen_logps` and `ref_rejected_logps` from the batch when the reference is precomputed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from pipeline.ml.data import Pair
from pipeline.ml.evaluation.intervals import wilson
from pipeline.ml.records import Events, RunFolder, Stopped
from pipeline.ml.trainers.pair_tokens import PairTokens
from pipeline.ml.trainers.reference import PairLogProbs, pair_log_probs
from pipeline.ml.trainers.reward import soft_preference_loss
from pipeline.ml.trainers.sampling import LengthBucketSampler

DISPLACED = 0.2  # fall of the good answers' log-probability, as a share, from which it is worth a warning
DRIFT_MEMORY = 0.9  # weight of the past in the running sums behind that share
SAYING_PACE = 2.0  # seconds between two lines about a long evaluation
COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps", "probability")


@dataclass(frozen=True)
class HeldOut:
    """Pairs that are only looked at, with what the reference and the start of the training say of them."""

    tokens: list[PairTokens]
    probability: torch.Tensor
    reference: PairLogProbs
    start: PairLogProbs


def implicit_accuracy(margins: np.ndarray, probability: np.ndarray) -> dict[str, float | None]:
    """Share of pairs whose margin has the label's sign, with its 95% interval (Wilson); exact ties count ½.

    Pairs that the label calls even (probability ½) have no right side and do not count. All margins zero means that
    the policy still is the reference: there is nothing to be right or wrong about, and the share is None.
    """
    decided = margins[probability > 0.5]
    if len(decided) == 0 or not decided.any():
        return {"accuracy": None, "accuracy_low": None, "accuracy_high": None}
    right = float(((np.sign(decided) + 1) / 2).sum())
    low, high = wilson(right, len(decided))
    return {"accuracy": right / len(decided), "accuracy_low": low, "accuracy_high": high}


def held_out_metrics(held_out: HeldOut, policy: PairLogProbs, beta: float) -> dict[str, float | None]:
    """What the charts show of an evaluation: loss, accuracy with interval, margin, mean log-probabilities."""
    chosen, rejected = policy.minus(held_out.reference)
    margins = beta * (chosen - rejected)
    return {
        "loss": float(soft_preference_loss(margins, held_out.probability).mean()),
        **implicit_accuracy(margins.numpy(), held_out.probability.numpy()),
        "margin": float(margins.mean()),
        "logps_chosen": float(policy.chosen.mean()),
        "logps_rejected": float(policy.rejected.mean()),
    }


class DisplacementWatch:
    """Warns once when the good answers, too, lose probability: the margin may grow while both sides sink.

    Compares running sums over the same answers, so it does not depend on which of them a batch holds. (Razin et al.
    2024, 2410.08847, for the effect; the limit is ours.)
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._policy = 0.0
        self._reference = 0.0
        self.warned = False

    def update(self, policy: float, reference: float) -> None:
        """Take in the summed log-probabilities of the good answers of one batch, in nats."""
        self._policy = DRIFT_MEMORY * self._policy + policy
        self._reference = DRIFT_MEMORY * self._reference + reference
        if not self.warned and fall(self._policy, self._reference) > DISPLACED:
            self.warned = True
            self._events.log(
                "The good answers, too, are becoming unlikely: their log-probability has fallen by more than "
                f"{DISPLACED:.0%}. Lower the learning rate or the epochs, raise beta, or give sft_weight 0.1 to 0.2.",
                level="warning",
            )


def fall(policy: float, reference: float) -> float:
    """By what share a (negative) log-probability has fallen: 0.2 from -100 to -120 nats; negative where it rose."""
    return policy / reference - 1 if reference < 0 else 0.0


def dpo_dataset(
    pairs: Sequence[Pair], tokens: Sequence[PairTokens], reference: PairLogProbs, label_smoothing: float
) -> Dataset:
    """The training rows: token ids, the reference's log-probabilities and the smoothed probability of each label."""
    values = [
        [item.prompt for item in tokens],
        [item.chosen for item in tokens],
        [item.rejected for item in tokens],
        reference.chosen.tolist(),
        reference.rejected.tolist(),
        [smoothed(pair.probability, label_smoothing) for pair in pairs],
    ]
    return Dataset.from_dict(dict(zip(COLUMNS, values, strict=True)))


def smoothed(probability: float, flips: float) -> float:
    """P(chosen is better) when a share `flips` of labels is wrong; for a hard label this is cDPO's 1 − ε."""
    return probability * (1 - flips) + (1 - probability) * flips


@dataclass
class SoftPairCollator(DataCollatorForPreference):
    """TRL's batches (all chosen, then all rejected, padded on the right) with the labels' probabilities."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        return {**batch, "probability": torch.tensor([item["probability"] for item in examples])}


class SoftDPOTrainer(DPOTrainer):
    """DPOTrainer on token ids, with soft labels, that evaluates on `held_out` and reports to the run's folder."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        processing_class: PreTrainedTokenizerBase,
        held_out: HeldOut | None,
        **options: Any,
    ) -> None:
        self._folder = folder
        self._held_out = held_out
        self._displacement = DisplacementWatch(folder.events)
        super().__init__(
            processing_class=processing_class,
            data_collator=SoftPairCollator(pad_token_id=processing_class.pad_token_id),
            **options,
        )

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *arguments: Any) -> Dataset:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(COLUMNS)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        data = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in data]
        # state.epoch is a whole number at the start of an epoch and in between where a run is resumed.
        return LengthBucketSampler(
            lengths, self.args.train_batch_size, self.args.seed, lambda: int(self.state.epoch or 0)
        )

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """TRL's loss, its −log σ(h) exchanged for −q log σ(h) − (1−q) log σ(−h): that is (1−q)·h more.

        h is β times the difference of log-ratios, q the probability of the label; with q = 1 nothing changes.
        """
        probability = inputs.pop("probability")
        outputs: list[Any] = []

        def remembering(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        loss = super()._compute_loss(remembering, inputs, return_outputs)
        chosen, rejected = outputs[0].log_probs.sum(dim=1).chunk(2)
        self._displacement.update(float(chosen.detach().sum()), float(inputs["ref_chosen_logps"].sum()))
        if self.loss_types[0] != "sigmoid":
            return loss
        ratios = (chosen - inputs["ref_chosen_logps"]) - (rejected - inputs["ref_rejected_logps"])
        softening = ((1 - probability) * self.beta * ratios).mean()
        return (loss[0] + softening, loss[1]) if return_outputs else loss + softening

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL counts ties as wrong; while policy and reference are the same, the share means nothing."""
        unmoved = 2 if self.args.warmup_steps > 0 else 1  # a warm-up begins with a step of size 0
        if self.model.training and self.state.global_step <= unmoved:
            self._metrics["train"]["rewards/accuracies"] = [float("nan")]
        super().log(logs, start_time)

    def log_start(self) -> None:
        """The held-out pairs as they stand before the first update: where the charts begin."""
        if self._held_out is None:
            return
        found = held_out_metrics(self._held_out, self._held_out.start, self.beta)
        self._folder.events.metric(0, **{f"eval_{name}": value for name, value in found.items()})

    def evaluate(
        self,
        eval_dataset: Dataset | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Read all held-out pairs at once and not by batches, for an accuracy with its interval.

        When a stop is asked for meanwhile, the evaluation is dropped and the training saved.
        """
        self.model.eval()
        try:
            policy = self.held_out_log_probs()
        except Stopped:
            self.control.should_save = self.control.should_training_stop = True
            return {}
        found = held_out_metrics(self._held_out, policy, self.beta)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.model.train()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def held_out_log_probs(self) -> PairLogProbs:
        """The policy's log-probabilities of the held-out pairs, as it is now."""
        with self.accelerator.autocast():
            return pair_log_probs(
                self.model,
                self._held_out.tokens,
                pad=self.processing_class.pad_token_id,
                on_batch=_saying(self._folder, self.state, 2 * len(self._held_out.tokens)),
            )

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """No card into checkpoints: TRL's tells nothing that run.json does not."""


def _saying(folder: RunFolder, state: Any, total: int) -> Callable[[int, int], None]:
    """Report an evaluation in words; the bar stays where the training is."""
    done, said = 0, time.monotonic()

    def on_batch(rows: int, tokens: int) -> None:
        nonlocal done, said
        done += rows
        if time.monotonic() - said >= SAYING_PACE:
            said = time.monotonic()
            words = f"evaluating on held-out pairs: {done} of {total} answers"
            folder.events.progress(state.global_step, state.max_steps, stage=words)

    return on_batch
