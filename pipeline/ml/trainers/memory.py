"""Will the models fit? Counted from their configs before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, AutoModel

from pipeline.ml.models import choose_device
from pipeline.ml.records import StageError

GIB = 2**30
# a gradient and Adam's two moments, in float32, beside each weight that is trained
TRAINING_BYTES = 12


@dataclass(frozen=True)
class ModelSize:
    """Parameters of a model without its head for words, and inputs plus outputs of all its linear layers."""

    parameters: int
    linear_width: int

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA adapters of this rank on every linear layer."""
        return rank * self.linear_width


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by what they are for; activations come on top and are not counted."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {in_gib(size)}" for name, size in self.parts.items())
        return f"{in_gib(self.total)} ({parts})"


def model_size(folder: Path) -> ModelSize:
    """Count a model's parameters without loading its weights; a word head that shares the embeddings is not extra."""
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    config = model.config.get_text_config()
    parameters = sum(weight.numel() for weight in model.parameters())
    if not config.tie_word_embeddings:
        parameters += config.vocab_size * config.hidden_size
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    return ModelSize(parameters, sum(part.in_features + part.out_features for part in linear))


def ppo_need(
    policy: ModelSize,
    reward: ModelSize,
    critic: ModelSize,
    *,
    weights: torch.dtype,
    scoring: torch.dtype,
    rank: int | None,
) -> MemoryNeed:
    """What PPO keeps in memory. With adapters of `rank` the policy is its own reference; without, all is trained."""
    if rank is None:
        trained = policy.parameters + critic.parameters
        adapters, reference = 0, policy.parameters * weights.itemsize
    else:
        trained = policy.adapters(rank) + critic.adapters(rank)
        adapters, reference = 4 * trained, 0
    return MemoryNeed(
        {
            "policy": policy.parameters * weights.itemsize,
            "reference": reference,
            "reward model": reward.parameters * scoring.itemsize,
            "critic": critic.parameters * weights.itemsize,
            "adapters, gradients and optimizer": adapters + TRAINING_BYTES * trained,
        }
    )


def require_memory(need: MemoryNeed) -> None:
    """StageError where the models alone exceed what is free."""
    free = free_memory()
    if need.total > free:
        raise StageError(
            f"The models need {need}, and only {in_gib(free)} of memory are free: train with LoRA, choose smaller "
            "models, or a machine with more memory."
        )


def free_memory() -> int:
    """Bytes that this process may still take, on the device that will be used."""
    if choose_device().type == "cuda":
        return torch.cuda.mem_get_info(choose_device())[0]
    return min(psutil.virtual_memory().available, _free_in_container())


def _free_in_container(group: Path = Path("/sys/fs/cgroup")) -> int:
    """What a container's limit leaves (cgroup v2); no limit is as good as endless."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return 2**63
    return 2**63 if limit == "max" else int(limit) - int(used)


def in_gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
