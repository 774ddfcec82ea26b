"""What a causal model says of answers that are there already: their log-probabilities, in nats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.ml import stopping
from pipeline.ml.data import length_batches
from pipeline.ml.models import pad_right
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
def answer_log_probs(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[Sequence[int]]],
    *,
    pad: int,
    batch_size: int,
    temperature: float = 1.0,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> list[list[float]]:
    """log p(answer | prompt) at `temperature`, in nats, summed over tokens: a number for each answer of each prompt.

    The answers to one prompt share its forward pass. Prompts of like length go together, about `batch_size` answers
    at once; which do depends on lengths alone, so two models see the same batches and equal models get equal numbers
    to the last bit. `on_batch` hears how many answers and tokens each batch added. Raises Stopped between batches
    when a stop was asked for.
    """
    found: list[list[float]] = [[] for _ in prompts]
    lengths = [
        len(prompt) + max(len(answer) for answer in several) for prompt, several in zip(prompts, answers, strict=True)
    ]
    at_once = max(1, batch_size // max(len(several) for several in answers))
    for batch in length_batches(lengths, at_once):
        stopping.check()
        chosen = [answers[place] for place in batch]
        logits = _answer_logits(model, [prompts[place] for place in batch], chosen, pad)
        rows = iter(logits)
        for place in batch:
            found[place] = [_sum_of(next(rows), answer, temperature) for answer in answers[place]]
        tokens = sum(len(prompts[place]) for place in batch)
        on_batch(len(logits), tokens + sum(len(answer) for several in chosen for answer in several))
    return found


def _answer_logits(
    model: nn.Module, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]], pad: int
) -> torch.Tensor:
    """Logits (all answers, longest answer, vocabulary) for the tokens of the answers, prompt by prompt.

    Prompts are padded on the left and answers on the right, so that what was remembered of a prompt serves them all,
    and only the answers' positions go through the vocabulary, the dearest layer of a small model.
    """
    device = next(model.parameters()).device
    ids, mask = pad_left(prompts, pad, device)
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    prompt = model(ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    owner = torch.tensor([place for place, several in enumerate(answers) for _ in several], device=device)
    inputs = pad_right([list(answer[:-1]) for several in answers for answer in several], pad)
    begin = prompt.logits[owner, -1:]
    if inputs["input_ids"].size(1) == 0:
        return begin
    prompt.past_key_values.batch_select_indices(owner)
    own_mask = inputs["attention_mask"].to(device)
    rest = model(
        inputs["input_ids"].to(device),
        attention_mask=torch.cat([mask[owner], own_mask], dim=1),
        position_ids=mask[owner].sum(dim=-1, keepdim=True) + torch.arange(own_mask.size(1), device=device),
        past_key_values=prompt.past_key_values,
        use_cache=True,
    )
    return torch.cat([begin, rest.logits], dim=1)


def _sum_of(logits: torch.Tensor, answer: Sequence[int], temperature: float) -> float:
    """Sum over one answer's tokens, from logits (at least as many positions, vocabulary)."""
    if not answer:
        return 0.0
    scaled = logits[: len(answer)].float() / temperature
    chosen = scaled.gather(1, torch.tensor([answer], device=logits.device).T).squeeze(1)
    return float((chosen - scaled.logsumexp(dim=-1)).sum())
