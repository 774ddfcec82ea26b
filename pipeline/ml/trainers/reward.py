"""Train a reward model on preference pairs (Bradley–Terry, with soft labels), on TRL's RewardTrainer.

What it adds to TRL: over-long conversations lose their beginning instead of the pair being dropped; the label's
probability enters the loss; the head starts from the best fit on frozen features; batches of like length in an
order that survives a resume; live metrics. `method = "head_only"` stops after the head: one forward pass, no
gradients. Left out: margins and weights from preference strength, and rewards per token or step.

The `eval` input is only looked at, never used to choose anything, so its accuracy is a held-out one.

    python -m pipeline.ml train_reward run.json
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch import nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from pipeline.ml.configs import EvaluateRewardConfig, TrainRewardConfig
from pipeline.ml.data import Pair, encode_conversation, read_pairs
from pipeline.ml.evaluation.intervals import wilson
from pipeline.ml.evaluation.reward import evaluate_pairs, summary
from pipeline.ml.meter import Meter
from pipeline.ml.models import (
    HEAD,
    add_lora,
    choose_dtype,
    last_token_features,
    load_reward_model,
    load_tokenizer,
    merged,
    new_reward_model,
    save_model,
    score_sequences,
)
from pipeline.ml.records import RunFolder, Stopped, is_main_process, write_json
from pipeline.ml.trainers.arguments import choose_precision, training_arguments
from pipeline.ml.trainers.callbacks import StageCallback, raise_if_stopped
from pipeline.ml.trainers.reward_head import FittedHead, fit_head, head_from_json, head_to_json
from pipeline.ml.trainers.sampling import LengthBucketSampler

TRAIN_METRICS = ("loss", "accuracy", "margin", "learning_rate", "grad_norm")
EVAL_METRICS = ("eval_loss", "eval_accuracy", "eval_accuracy_low", "eval_accuracy_high")
FORWARD_BATCH = 16  # answers in a forward pass without gradients


@dataclass(frozen=True)
class Encoded:
    """Pairs as token ids, with their prompts' hashes; how many answers had to lose their beginning."""

    chosen: list[list[int]]
    rejected: list[list[int]]
    probability: list[float]
    prompts: list[str]
    shortened: int

    @property
    def sides(self) -> list[list[int]]:
        """chosen 0, rejected 0, chosen 1, rejected 1, …"""
        return [ids for pair in zip(self.chosen, self.rejected, strict=True) for ids in pair]


def run(folder: RunFolder) -> dict[str, Any]:
    """The stage: train, save the model, and evaluate it as it was saved."""
    config = folder.config(TrainRewardConfig)
    began = time.monotonic()
    pairs = read_pairs(folder.input("train"))
    held_out = read_pairs(folder.input("eval")) if folder.has_input("eval") else []
    folder.events.progress(0, 0, stage="loading the model")
    tokenizer = load_tokenizer(folder.input("base"))
    train = encode_pairs(tokenizer, pairs, config.max_length)
    if train.shortened:
        folder.events.log(f"{train.shortened} answers and their prompts have more than {config.max_length} tokens.")
    outcome = _train(folder, config, tokenizer, train, held_out)
    return {
        "method": config.method,
        "pairs": len(pairs),
        "shortened": train.shortened,
        **outcome,
        "eval": _evaluate_saved(folder, config, tokenizer, held_out),
        "seconds": round(time.monotonic() - began, 1),
    }


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_length: int) -> Encoded:
    """Both sides of each pair as token ids; no pair is lost, long ones lose their beginning."""
    chosen = [encode_conversation(tokenizer, pair.prompt + pair.chosen, max_length) for pair in pairs]
    rejected = [encode_conversation(tokenizer, pair.prompt + pair.rejected, max_length) for pair in pairs]
    return Encoded(
        chosen=[item.ids for item in chosen],
        rejected=[item.ids for item in rejected],
        probability=[pair.probability for pair in pairs],
        prompts=[pair.key for pair in pairs],
        shortened=sum(item.shortened for item in [*chosen, *rejected]),
    )


def _train(
    folder: RunFolder,
    config: TrainRewardConfig,
    tokenizer: PreTrainedTokenizerBase,
    train: Encoded,
    held_out: Sequence[Pair],
) -> dict[str, Any]:
    """Make the model and save it; returns what the result tells about the training."""
    precision = choose_precision(config, folder.input("base"))
    model = new_reward_model(folder.input("base"), tokenizer, dtype=precision.weights, seed=folder.seed)
    outcome: dict[str, Any] = {"steps": 0, "head": None}
    if config.method == "head_only" or config.warm_start:
        head = _fitted_head(folder, config, model, train)
        model.get_submodule(HEAD).weight.data.copy_(torch.tensor(head.weight)[None])
        outcome["head"] = {
            "ridge": head.ridge,
            "held_out_loss": head.held_out_loss,
            "held_out_accuracy": head.held_out_accuracy,
        }
    if config.method == "finetune":
        model, numbers = _finetune(folder, config, tokenizer, model, train, held_out)
        outcome |= numbers
    folder.events.progress(0, 0, stage="saving the model")
    save_model(merged(model), tokenizer, folder.model)
    return outcome


def _fitted_head(folder: RunFolder, config: TrainRewardConfig, model: PreTrainedModel, train: Encoded) -> FittedHead:
    """The head that fits the frozen features; kept in the run's folder, so that a resumed run need not read again."""
    kept = folder.path / "head.json"
    if kept.exists():
        return head_from_json(kept)
    on_batch = _meter(folder, "reading features", len(train.sides))
    features = last_token_features(model.eval(), train.sides, batch_size=FORWARD_BATCH, on_batch=on_batch)
    folder.events.progress(0, 0, stage="fitting the head")
    rows = features.numpy().astype(np.float64)
    head = fit_head(
        rows[::2],
        rows[1::2],
        np.array(train.probability),
        train.prompts,
        ridge=config.head_ridge,
        centring=config.center_coefficient,
    )
    if is_main_process():
        write_json(kept, head_to_json(head))
    if head.held_out_accuracy is not None:
        folder.events.log(f"The fitted head is right on {head.held_out_accuracy:.1%} in cross-validation.")
    return head


def _meter(folder: RunFolder, doing: str, total: int) -> Callable[[int, int], None]:
    meter = Meter(folder.events, total, doing)
    return lambda rows, tokens: meter.add(rows=rows, tokens=tokens)


def _finetune(
    folder: RunFolder,
    config: TrainRewardConfig,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    train: Encoded,
    held_out: Sequence[Pair],
) -> tuple[PreTrainedModel | PeftModel, dict[str, Any]]:
    """Train body and head, going on from the newest checkpoint where there is one."""
    adapted = model
    if config.lora:
        adapted = add_lora(model, rank=config.lora_rank, task="SEQ_CLS", layers=config.lora_layers, seed=folder.seed)
    watched = random.Random(folder.seed).sample(held_out, min(len(held_out), config.eval_pairs))
    trainer = PreferenceTrainer(
        model=adapted,
        args=RewardConfig(
            **training_arguments(config, folder, evaluate=bool(watched)),
            max_length=None,  # nothing is dropped: encode_pairs has shortened what is too long
            center_rewards_coefficient=config.center_coefficient or None,
        ),
        processing_class=tokenizer,
        train_dataset=_dataset(train),
        eval_dataset=_dataset(encode_pairs(tokenizer, watched, config.max_length)) if watched else None,
        callbacks=[StageCallback(folder, {name: name for name in (*TRAIN_METRICS, *EVAL_METRICS)})],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = folder.latest_checkpoint()
    output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    raise_if_stopped(trainer.state)
    trainable = sum(item.numel() for item in adapted.parameters() if item.requires_grad)
    return trainer.model, {
        "steps": trainer.state.global_step,
        "train_loss": output.training_loss,
        "trainable_parameters": trainable,
    }


def _dataset(encoded: Encoded) -> Dataset:
    columns = {
        "chosen_ids": encoded.chosen,
        "rejected_ids": encoded.rejected,
        "probability": encoded.probability,
    }
    return Dataset.from_dict(columns)


@dataclass
class SoftPreferenceCollator(DataCollatorForPreference):
    """TRL's batches (all chosen, then all rejected, padded on the right) with the labels' probabilities."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        return {**batch, "probability": torch.tensor([item["probability"] for item in examples])}


class PreferenceTrainer(RewardTrainer):
    """RewardTrainer with soft labels, an order of batches that survives a resume, and intervals in evaluation."""

    def __init__(self, *, processing_class: PreTrainedTokenizerBase, **options: Any) -> None:
        collator = SoftPreferenceCollator(pad_token_id=processing_class.pad_token_id)
        super().__init__(processing_class=processing_class, data_collator=collator, **options)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["chosen_ids", "rejected_ids", "probability"]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        data = self.train_dataset if train_dataset is None else train_dataset
        lengths = [max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in data]
        # state.epoch is a whole number at the start of an epoch and in between where a run is resumed.
        return LengthBucketSampler(
            lengths, self.args.train_batch_size, self.args.seed, lambda: int(self.state.epoch or 0)
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean soft Bradley–Terry loss of a batch, plus the centring penalty; all in float32."""
        probability = inputs.pop("probability")
        outputs = model(**inputs, use_cache=False)
        chosen, rejected = outputs.logits.squeeze(-1).float().chunk(2)
        loss = soft_preference_loss(chosen - rejected, probability).mean()
        if self.args.center_rewards_coefficient is not None:
            loss = loss + centring_penalty(chosen, rejected, self.args.center_rewards_coefficient)
        self._record(chosen.detach() - rejected.detach(), inputs["attention_mask"])
        return (loss, outputs) if return_outputs else loss

    def _record(self, margins: torch.Tensor, mask: torch.Tensor) -> None:
        gather = self.accelerator.gather_for_metrics
        self._total_train_tokens += int(gather(mask.sum()).sum())
        metrics = self._metrics["train"]
        metrics["num_tokens"] = [self._total_train_tokens]
        metrics["accuracy"].append(float(((gather(margins).sign() + 1) / 2).mean()))
        metrics["margin"].append(float(gather(margins).mean()))

    def evaluate(
        self,
        eval_dataset: Dataset | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and accuracy on the held-out pairs with its 95% interval, computed at once and not by batches."""
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        sides = [ids for row in data for ids in (row["chosen_ids"], row["rejected_ids"])]
        self.model.eval()
        try:
            with self.accelerator.autocast():
                rewards = torch.tensor(score_sequences(self.model, sides, batch_size=FORWARD_BATCH))
        except Stopped:  # the step before is done: save it, then stop
            self.control.should_save = self.control.should_training_stop = True
            self.control.should_evaluate = False
            return {}
        finally:
            self.model.train()
        margins = rewards[::2] - rewards[1::2]
        right = float(((margins.sign() + 1) / 2).sum())
        low, high = wilson(right, len(data))
        found = {
            "loss": float(soft_preference_loss(margins, torch.tensor(data["probability"])).mean()),
            "accuracy": right / len(data),
            "accuracy_low": low,
            "accuracy_high": high,
        }
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        super(RewardTrainer, self).log(metrics)  # RewardTrainer's own would add the training batches' means
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """No card into checkpoints: TRL's tells nothing that run.json does not."""


def soft_preference_loss(margins: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """p·softplus(−δ) + (1−p)·softplus(δ) per pair, in nats; least at δ = logit(p).

    Bradley–Terry with soft labels (Mitchell 2023, cDPO); p = 1 is −log σ(δ). Shapes (pairs,).
    """
    return nn.functional.softplus(-margins) + (1 - probability) * margins


def centring_penalty(chosen: torch.Tensor, rejected: torch.Tensor, coefficient: float) -> torch.Tensor:
    """coefficient · mean((r_c + r_r)²): keeps rewards around zero (Eisenstein et al. 2023, 2312.09244)."""
    return coefficient * ((chosen + rejected) ** 2).mean()


def _evaluate_saved(
    folder: RunFolder,
    config: TrainRewardConfig,
    tokenizer: PreTrainedTokenizerBase,
    held_out: Sequence[Pair],
) -> dict[str, Any] | None:
    """The report on the held-out pairs by the model as it was saved, or None without such pairs."""
    if not held_out or not is_main_process():  # the main process alone has saved it, and writes the result
        return None
    model = load_reward_model(folder.model, dtype=choose_dtype(config.dtype, folder.model))
    settings = EvaluateRewardConfig(max_length=config.max_length, batch_size=FORWARD_BATCH)
    on_batch = _meter(folder, "evaluating on held-out pairs", 2 * len(held_out))
    report = evaluate_pairs(model, tokenizer, held_out, settings, on_batch=on_batch)
    folder.events.log(f"Held-out {summary(report)}.")
    return report
