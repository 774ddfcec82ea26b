"""Sample answers from a policy: batched, left padded, each row with random numbers of its own.

The random numbers of a row come from its own seed, never from a shared generator, so what a row says does not depend
on how many rows were sampled before it. A stage that is stopped and started again writes the same rows, and two
policies that are compared answer with the same luck.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

# How many of the likeliest tokens are sorted before the whole vocabulary is: nearly always they hold the top-p mass,
# and sorting 49,152 tokens per answer and step costs as much as the model's own forward pass.
SHORTLIST = 1024
SEED_BITS = 48  # a seed survives JSON readers that hold numbers as doubles


@dataclass(frozen=True)
class Sampling:
    """How to sample: `ends` are the token ids that end an answer, `pad` fills rows up. Temperature 0 is greedy."""

    temperature: float
    top_p: float
    max_new_tokens: int
    ends: tuple[int, ...]
    pad: int


@dataclass(frozen=True)
class Answer:
    """Token ids as sampled. A finished answer ends with one of `ends`, any other was cut at max_new_tokens."""

    tokens: list[int]
    finished: bool


def row_seed(*parts: object) -> int:
    """A seed (48 bits) for one row, decided by the parts of its name: run seed, prompt id, index …"""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest, "big") >> (256 - SEED_BITS)


def row_uniforms(seeds: Sequence[int], length: int) -> torch.Tensor:
    """Uniform random numbers in [0, 1), one row per seed: (rows, length), float64."""
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that end an answer: the tokenizer's end of turn and those that the model's own settings name."""
    named = model.generation_config.eos_token_id
    ends = {named} if isinstance(named, int) else set(named or ())
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    return tuple(sorted(ends))


def choose_tokens(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One token id per row (batch,) from logits (batch, vocabulary) and uniforms (batch,) in [0, 1).

    Inverts the cumulative distribution: the same number gives the same token wherever the row stands in a batch.
    With top_p < 1 only the likeliest tokens that together reach that share can be chosen (Holtzman et al. 2019).
    """
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    log_probs = torch.log_softmax(logits.float() / temperature, dim=-1)
    if top_p >= 1.0:
        return _invert(log_probs.double().exp(), uniforms)
    values, tokens = _likeliest(log_probs, top_p)
    probs = values.double().exp()
    before = probs.cumsum(dim=-1) - probs
    chosen = _invert(probs.masked_fill(before >= top_p, 0.0), uniforms)
    return tokens.gather(1, chosen.unsqueeze(1)).squeeze(1)


def _likeliest(log_probs: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted log-probabilities and their ids: a shortlist where it holds the mass, else the whole vocabulary."""
    size = min(SHORTLIST, log_probs.size(-1))
    values, tokens = log_probs.topk(size, dim=-1)
    if bool((values.exp().sum(dim=-1) < top_p).any()):
        values, tokens = log_probs.sort(dim=-1, descending=True)
    return values, tokens


def _invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The index (batch,) at which the cumulated weights (batch, n) pass uniforms × their sum."""
    cumulated = weights.cumsum(dim=-1)
    target = uniforms.to(cumulated).unsqueeze(1) * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, target, right=True).squeeze(1)
    # Rounding can carry the target to the very end, past the last token that may be chosen.
    last = (cumulated < cumulated[:, -1:]).sum(dim=-1)
    return torch.minimum(chosen, last)


@torch.inference_mode()
def sample_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    uniforms: torch.Tensor,
    sampling: Sampling,
    on_step: Callable[[int], None] = lambda tokens: None,
) -> list[Answer]:
    """Answer every prompt (token ids); `uniforms` (rows, max_new_tokens) has a row per answer, prompt by prompt.

    Several answers to one prompt share its forward pass; an answer that has ended leaves the batch. `on_step` hears
    after each step how many tokens it added, and may raise to break off.
    """
    repeats, rest = divmod(len(uniforms), len(prompts))
    if rest or uniforms.size(1) < sampling.max_new_tokens:
        raise ValueError(f"random numbers {tuple(uniforms.shape)} do not fit {len(prompts)} prompts")
    batch = _Batch(model, prompts, repeats, sampling.pad)
    ends = torch.tensor(sampling.ends, device=model.device)
    uniforms = uniforms.to(model.device)
    written: list[list[int]] = [[] for _ in range(len(uniforms))]
    for step in range(sampling.max_new_tokens):
        tokens = choose_tokens(batch.logits, uniforms[batch.rows, step], sampling.temperature, sampling.top_p)
        for row, token in zip(batch.rows.tolist(), tokens.tolist(), strict=True):
            written[row].append(token)
        on_step(len(tokens))
        going = ~torch.isin(tokens, ends)
        if not bool(going.any()) or step + 1 == sampling.max_new_tokens:
            break
        batch.advance(tokens, going)
    return [Answer(tokens, tokens[-1] in sampling.ends) for tokens in written]


class _Batch:
    """The answers still being written: `rows` their places, `logits` (batch, vocabulary) of their next tokens."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], repeats: int, pad: int) -> None:
        self._model = model
        ids, mask = pad_left(prompts, pad, model.device)
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        output = model(ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values
        if repeats > 1:
            self._cache.batch_repeat_interleave(repeats)
        self._mask = mask.repeat_interleave(repeats, dim=0)
        self.logits = output.logits[:, -1].repeat_interleave(repeats, dim=0)
        self.rows = torch.arange(len(self._mask), device=model.device)

    def advance(self, tokens: torch.Tensor, going: torch.Tensor) -> None:
        """Drop the rows that are not `going` (batch,), feed the others their token and read the next logits."""
        if not bool(going.all()):
            self._cache.batch_select_indices(going.nonzero().squeeze(1))
            self.rows, self._mask, tokens = self.rows[going], self._mask[going], tokens[going]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        output = self._model(
            tokens.unsqueeze(1),
            attention_mask=self._mask,
            position_ids=self._mask.sum(dim=-1, keepdim=True) - 1,
            past_key_values=self._cache,
            use_cache=True,
        )
        self.logits = output.logits[:, -1]


def pad_left(sequences: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (batch, longest), padded on the left so that all sequences end together."""
    longest = max(len(sequence) for sequence in sequences)
    ids = [[pad] * (longest - len(sequence)) + list(sequence) for sequence in sequences]
    mask = [[0] * (longest - len(sequence)) + [1] * len(sequence) for sequence in sequences]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def decode(tokenizer: PreTrainedTokenizerBase, answer: Answer) -> str:
    """The answer's text: all that was sampled except special tokens; spaces and line ends stay as they came."""
    return tokenizer.decode(answer.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
