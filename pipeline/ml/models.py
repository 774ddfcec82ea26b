"""Load, adapt and save models: precision by what the machine has, ordinary Hugging Face folders in and out.

Reward models are decoders with one linear `score` head read at the last real token
(`AutoModelForSequenceClassification`, `num_labels=1`). The head works in float32 whatever the body's precision:
in bfloat16 two rewards near 10 could not differ by less than 1/16.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from pipeline.ml import stopping
from pipeline.ml.data import length_batches
from pipeline.ml.records import StageError, is_main_process

HEAD = "score"
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86 and Arm names
_BLOCK = re.compile(r"\blayers\.(\d+)\.")
disable_progress_bar()  # a run's progress goes to its events; bars would only fill its log
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device() -> torch.device:
    """The GPU of this process (LOCAL_RANK under a launcher), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def choose_dtype(name: str, *folders: Path) -> torch.dtype:
    """The dtype that a config names; "auto" is bfloat16 where the hardware computes in it, else float32.

    Where one of the models in `folders` lies in float32, it is float32: most of what a training adds to a weight is
    smaller than bfloat16's last digit, and loading it in bfloat16 would take the training away again. Models that are
    compared are named together, since a difference of precision would pass for a difference of models.
    """
    if name != "auto":
        return _DTYPES[name]
    kept = any(stored_dtype(folder) == torch.float32 for folder in folders)
    return torch.bfloat16 if has_bfloat16() and not kept else torch.float32


def stored_dtype(folder: Path) -> torch.dtype | None:
    """The dtype that a model's folder names in its config; None where it names none, or holds no model."""
    if not (folder / "config.json").is_file():
        return None
    named = AutoConfig.from_pretrained(folder).dtype
    return getattr(torch, named) if isinstance(named, str) else named


def has_bfloat16() -> bool:
    """Does the device that will be used compute in bfloat16 (and not merely emulate it)?"""
    if choose_device().type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in BFLOAT16_INSTRUCTIONS)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """A folder's tokenizer, with a padding token that is not the end of a turn, padding on the right."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        raise StageError(
            f"The tokenizer in {folder} has no chat template: choose an instruct model, or add chat_template.jinja."
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = _spare_token(tokenizer, folder)
    return tokenizer


def _spare_token(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """A special token that no conversation uses. Padding with the end of a turn would hide it from the losses."""
    template = str(tokenizer.chat_template)
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    named = [tokenizer.pad_token, tokenizer.unk_token, *tokenizer.all_special_tokens]
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    for token in [*named, *added]:
        if token is not None and token not in taken and token not in template:
            return token
    raise StageError(f"The tokenizer in {folder} has no special token left for padding: add one named <|pad|>.")


def load_policy(folder: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model on this process's device, ready for inference."""
    _require_model(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.to(choose_device()).eval()


def load_reward_model(folder: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """A saved reward model on this process's device, ready for inference, its head in float32 as it was saved."""
    _require_model(folder)
    if AutoConfig.from_pretrained(folder).num_labels != 1:
        raise StageError(f"{folder} is no reward model: it does not end in one score.")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    _use_float32_head(model, _saved_head(folder))
    return model.to(choose_device()).eval()


def new_reward_model(
    base: Path, tokenizer: PreTrainedTokenizerBase, *, dtype: torch.dtype, seed: int
) -> PreTrainedModel:
    """A reward model on a language model's body, with a new head drawn from N(0, 1/(hidden + 1))."""
    _require_model(base)
    transformers_log = logging.getLogger("transformers.modeling_utils")
    level = transformers_log.level
    transformers_log.setLevel(logging.ERROR)  # it warns that lm_head is unused and score is new: both intended
    try:
        model = AutoModelForSequenceClassification.from_pretrained(base, dtype=dtype, num_labels=1)
    finally:
        transformers_log.setLevel(level)
    hidden = model.config.get_text_config().hidden_size
    noise = torch.randn((1, hidden), generator=torch.Generator().manual_seed(seed))
    _use_float32_head(model, noise / (hidden + 1))
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model.to(choose_device())


class Float32Head(nn.Linear):
    """A linear head without bias that computes in float32, whatever reaches it, autocast or not."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, hidden) of any dtype -> (batch, tokens, 1) float32."""
        with torch.autocast(hidden.device.type, enabled=False):
            return nn.functional.linear(hidden.float(), self.weight.float())


def _use_float32_head(model: PreTrainedModel, weight: torch.Tensor) -> None:
    if HEAD not in dict(model.named_children()):
        raise StageError(f"Reward models need a decoder with a “{HEAD}” head; {type(model).__name__} has none.")
    head = Float32Head(weight.shape[1], 1, bias=False, dtype=torch.float32)
    head.weight.data.copy_(weight)
    model.set_submodule(HEAD, head)


def _saved_head(folder: Path) -> torch.Tensor:
    """The head's weight as it lies in the file: loading the model in bfloat16 has rounded it."""
    name = f"{HEAD}.weight"
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 - not a mapping
                return tensors.get_tensor(name).float()
    raise StageError(f"{folder} is no reward model: its files hold no “{name}”.")


def _require_model(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise StageError(f"{folder} holds no model: there is no config.json in it.")


def add_lora(model: PreTrainedModel, *, rank: int, task: str, layers: int = 0, seed: int = 0) -> PeftModel:
    """Freeze a model and give its linear layers adapters in float32; a reward head stays trainable.

    `task` is peft's: "SEQ_CLS" for reward models, "CAUSAL_LM" for policies. Scale 2 (alpha = 2·rank), no dropout.
    `layers` > 0 adapts only so many of the topmost blocks: what lies below needs no gradient and no activations.
    The adapters' first values are drawn from torch's global generator, which is seeded here.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=_linear_layers(model, layers) if layers else "all-linear",
        task_type=task,
        modules_to_save=[HEAD] if task == "SEQ_CLS" else None,
    )
    return get_peft_model(model, config)


def _linear_layers(model: PreTrainedModel, topmost: int) -> list[str]:
    """The names of the linear layers in the topmost blocks of a decoder, "model.layers.29.mlp.up_proj" and so on."""
    lowest = model.config.get_text_config().num_hidden_layers - topmost
    found = []
    for name, module in model.named_modules():
        block = _BLOCK.search(name)
        if block is not None and int(block[1]) >= lowest and isinstance(module, nn.Linear):
            found.append(name)
    return found


def merged(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model with its adapters added to its weights, in float32; a model without adapters as it is.

    In bfloat16 nine of ten weights of a small training would round back to what they were before it.
    """
    return model.float().merge_and_unload() if isinstance(model, PeftModel) else model


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write an ordinary model folder: weights, config, tokenizer with its chat template."""
    if not is_main_process():
        return
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # written private to the user; another process's user must be able to read it


def pad_right(sequences: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Token ids and mask, both (batch, tokens), padded on the right."""
    rows = [torch.tensor(ids, dtype=torch.long) for ids in sequences]
    pad = nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True, padding_value=pad_token_id),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True, padding_value=0),
    }


def score_sequences(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    batch_size: int,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[float]:
    """The reward of each token sequence, in their order, in batches of like length.

    `on_batch(sequences, tokens)` is told the size of each batch done. Raises Stopped between batches when asked to.
    """
    rewards: dict[int, float] = {}
    for batch, output in _forward(model, sequences, batch_size, on_batch):
        rewards.update(zip(batch, output.logits[:, 0].float().tolist(), strict=True))
    return [rewards[index] for index in range(len(sequences))]


def last_token_features(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    batch_size: int,
    on_batch: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """What the head of a reward model sees: (sequences, hidden) float32 on the CPU, as for `score_sequences`."""
    features: dict[int, torch.Tensor] = {}
    for batch, output in _forward(model.base_model, sequences, batch_size, on_batch):
        last = torch.tensor([len(sequences[index]) - 1 for index in batch])
        rows = output.last_hidden_state[torch.arange(len(batch)), last].float().cpu()
        features.update(zip(batch, rows, strict=True))
    return torch.stack([features[index] for index in range(len(sequences))])


@torch.inference_mode()
def _forward(
    model: nn.Module,
    sequences: Sequence[Sequence[int]],
    batch_size: int,
    on_batch: Callable[[int, int], None] | None,
) -> Any:
    """Yield (indices, model output) for batches of like length; `model` is a PreTrainedModel or its body."""
    for batch in length_batches([len(ids) for ids in sequences], batch_size):
        stopping.check()
        chosen = [sequences[index] for index in batch]
        inputs = pad_right(chosen, model.config.get_text_config().pad_token_id)
        device = next(model.parameters()).device
        yield batch, model(**{name: tensor.to(device) for name, tensor in inputs.items()}, use_cache=False)
        if on_batch is not None:
            on_batch(len(batch), sum(len(ids) for ids in chosen))
