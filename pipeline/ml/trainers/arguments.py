"""From a stage's settings to the arguments of a Hugging Face trainer, the same for every trainer on pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.ml.configs import TrainingConfig
from pipeline.ml.models import choose_device, choose_dtype
from pipeline.ml.records import RunFolder

CHECKPOINTS_KEPT = 2  # the newest may be half-written when a process is killed


@dataclass(frozen=True)
class Precision:
    """How weights are held and how the forward pass computes."""

    weights: torch.dtype
    autocast: bool


def choose_precision(config: TrainingConfig, model: Path | None = None) -> Precision:
    """How to hold and compute a training that starts from the folder `model`.

    LoRA freezes the body, so it may lie in bfloat16 (its adapters are float32), unless an earlier training has left
    it in float32. Without LoRA the weights stay in float32, because an update of 1e-5 vanishes in a bfloat16 weight
    of 0.05; autocast then does the computing.
    """
    dtype = choose_dtype(config.dtype, *([model] if model and config.lora else []))
    if config.lora:
        return Precision(weights=dtype, autocast=False)
    return Precision(weights=torch.float32, autocast=dtype == torch.bfloat16)


def training_arguments(config: TrainingConfig, folder: RunFolder, *, evaluate: bool) -> dict[str, Any]:
    """Keyword arguments of transformers' TrainingArguments: log each step, checkpoint to resume, report to nobody."""
    evaluating = evaluate and config.eval_every > 0
    return {
        "output_dir": str(folder.checkpoints),
        "seed": folder.seed,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        # Below 1 it is a share of the steps; 1 would be read as a single step.
        "warmup_steps": min(config.warmup_ratio, 1 - 1e-9),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": config.gradient_checkpointing,
        "bf16": choose_precision(config).autocast,
        "use_cpu": choose_device().type == "cpu",
        "dataloader_pin_memory": choose_device().type == "cuda",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": CHECKPOINTS_KEPT,
        "eval_strategy": "steps" if evaluating else "no",
        "eval_steps": config.eval_every if evaluating else None,
        "report_to": "none",
        "disable_tqdm": True,
    }
