"""What makes a training run repeatable: the order of its prompts, the state of its generators, no dropout."""

import math
import random
from typing import Any

import numpy as np
import torch


def prompt_order(count: int, needed: int, seed: int) -> list[int]:
    """Indices of `needed` prompts out of `count`: pass after pass over all of them, each in an order of its own."""
    order: list[int] = []
    for number in range(math.ceil(needed / count)):
        one_pass = list(range(count))
        random.Random(f"{seed}:{number}").shuffle(one_pass)
        order += one_pass
    return order[:needed]


def random_state() -> dict[str, Any]:
    """The state of every generator that sampling and shuffling draw from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo what was drawn since `random_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def switch_off_dropout(model: torch.nn.Module) -> None:
    """Also the dropout that is no module but a number which a module hands to a function (attention's)."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
