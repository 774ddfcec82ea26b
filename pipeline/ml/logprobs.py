"""Log-probabilities that a causal model gives to texts it did not have to sample: nats, by whole answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.ml import stopping
from pipeline.ml.data import length_batches
from pipeline.ml.sampling import pad_left


@contextmanager
def float32_logits(model: PreTrainedModel) -> Iterator[None]:
    """Within it the model's last layer computes in float32, whatever the precision of its weights.

    In bfloat16 two logits near 16 differ by a multiple of 1/8 or not at all: two choices would tie that do not. For
    few positions at a time it costs nothing; over whole answers it costs a quarter and the body's rounding prevails.
    """

    def project(head: nn.Module, hidden: tuple[torch.Tensor, ...], logits: torch.Tensor) -> torch.Tensor:
        bias = None if head.bias is None else head.bias.float()
        return nn.functional.linear(hidden[0].float(), head.weight.float(), bias)

    hook = model.get_output_embeddings().register_forward_hook(project)
    try:
        yield
    finally:
        hook.remove()


@torch.inference_mode()
def next_log_probs(model: nn.Module, prompts: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """The distribution of the token after each prompt: (batch, vocabulary) float32, nats, on the CPU."""
    logits, _ = _last_logits(model, prompts, pad, keep=1)
    return torch.log_softmax(logits[:, -1].float(), dim=-1).cpu()


@torch.inference_mode()
def answer_log_probs(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    pad: int,
    batch_size: int,
    temperature: float = 1.0,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> torch.Tensor:
    """log p(answer | prompt) at `temperature`, summed over the answer's tokens: (rows,) float32, on the CPU.

    Rows of like length go together; which do depends on lengths alone, so two models see the same batches and equal
    models get equal numbers to the last bit. `on_batch` hears how many rows and tokens each batch added. Raises
    Stopped between batches when a stop was asked for.
    """
    sums = torch.zeros(len(prompts))
    texts = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    for batch in length_batches([len(text) for text in texts], batch_size):
        stopping.check()
        chosen = [texts[row] for row in batch]
        longest = max(len(answers[row]) for row in batch)
        logits, ids = _last_logits(model, chosen, pad, keep=longest + 1)
        for place, row in enumerate(batch):
            sums[row] = _sum_of(logits[place], ids[place], len(answers[row]), temperature)
        on_batch(len(batch), sum(len(text) for text in chosen))
    return sums


def _last_logits(
    model: nn.Module, texts: Sequence[Sequence[int]], pad: int, keep: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (batch, keep, vocabulary) of the last positions, and the ids (batch, tokens), padded on the left.

    Only the positions asked for go through the vocabulary, which is the dearest layer of a small model.
    """
    ids, mask = pad_left(texts, pad, next(model.parameters()).device)
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    output = model(ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=keep)
    return output.logits, ids


def _sum_of(logits: torch.Tensor, ids: torch.Tensor, length: int, temperature: float) -> float:
    """Sum over the last `length` tokens of one row: logits (kept, vocabulary) and ids (tokens)."""
    if length == 0:
        return 0.0
    scaled = logits[-length - 1 : -1].float() / temperature
    chosen = scaled.gather(1, ids[-length:].unsqueeze(1)).squeeze(1)
    return float((chosen - scaled.logsumexp(dim=-1)).sum())
