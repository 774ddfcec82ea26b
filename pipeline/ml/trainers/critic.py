"""The critic of PPO: a language model's body with a linear head that foretells the rest of the reward.

It stands apart from the policy, because a head inside the policy would break saving it, the fused language-model
head that spares the full logits, and the transfer of weights to a generation server.
"""

import json
from pathlib import Path
from typing import Self

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.ml.models import HEAD, load_policy, load_reward_model
from pipeline.ml.trainers.repeatable import switch_off_dropout

WEIGHTS = "critic.safetensors"


class Critic(nn.Module):
    """Values of states, in units of the reward: column t is what is still to come after tokens 0..t.

    The head computes in float32 whatever the body's precision, and starts at zero: a random head would begin
    with an explained variance far below 0 and mislead the first updates.
    """

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 1, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        switch_off_dropout(self)  # a value must be the same when it is computed and when it is trained

    @classmethod
    def from_policy(cls, path: Path | str, *, dtype: torch.dtype = torch.float32) -> Self:
        """The body of a causal language model, with a head of zeros."""
        return cls(load_policy(Path(path), dtype=dtype).base_model)

    @classmethod
    def from_reward_model(
        cls,
        path: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> Self:
        """A reward model's body and score head, in the units of the calibrated score (raw - mean) / deviation."""
        model = load_reward_model(Path(path), dtype=dtype)
        critic = cls(model.base_model)
        with torch.no_grad():
            critic.head.weight.copy_(model.get_submodule(HEAD).weight.float() / deviation)
            critic.head.bias.fill_(-mean / deviation)
        return critic

    def add_adapters(self, config: LoraConfig) -> None:
        """Train low-rank adapters and the head, and leave the body's own weights as they are."""
        self.backbone = get_peft_model(self.backbone, config)

    def save_memory(self) -> None:
        """Compute activations twice instead of keeping them (which only happens in training mode)."""
        self.backbone.activation_checkpointing_enable()
        self.train()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask, (batch, columns), left-padded or not; values (batch, columns) in float32."""
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        hidden = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(hidden.float()).squeeze(-1)

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def save(self, folder: Path) -> None:
        """Write the weights that are trained; the rest comes from where the critic was made."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: parameter.detach().contiguous()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }
        save_file(tensors, folder / WEIGHTS, metadata={"names": json.dumps(sorted(tensors))})

    def load(self, folder: Path) -> None:
        """Take back what `save` wrote; the two critics must be made alike."""
        tensors = load_file(folder / WEIGHTS)
        parameters = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        if tensors.keys() != parameters.keys():
            raise ValueError(f"the critic in {folder} has other trained weights than this one")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[name])
