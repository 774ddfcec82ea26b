"""Preference pairs as token ids: one prompt and two answers, each with the token that ends it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from pipeline.ml.data import Messages, Pair
from pipeline.ml.records import StageError

LEAST_PROMPT = 8  # tokens of the prompt that a pair must keep: an answer to nothing teaches nothing


@dataclass(frozen=True)
class PairTokens:
    """Token ids of one pair; both answers end with the tokenizer's end token and follow the same prompt."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class EncodedPairs:
    """The pairs that fit, with their token ids; how many prompts were shortened and how many pairs left out."""

    pairs: list[Pair]
    tokens: list[PairTokens]
    shortened: int
    left_out: int


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_length: int) -> EncodedPairs:
    """Token ids of all pairs of at most `max_length` tokens, prompt and longer answer together.

    What is too long loses the beginning of its prompt, the same for both answers. Answers are never cut: without its
    end an answer teaches the policy not to stop. A pair whose longer answer leaves no room for a prompt is left out.
    """
    kept, tokens, shortened = [], [], 0
    for pair in pairs:
        whole = encode_pair(tokenizer, pair)
        room = max_length - max(len(whole.chosen), len(whole.rejected))
        if room < min(LEAST_PROMPT, len(whole.prompt)):
            continue
        prompt = whole.prompt[max(0, len(whole.prompt) - room) :]
        kept.append(pair)
        tokens.append(PairTokens(prompt, whole.chosen, whole.rejected))
        shortened += len(prompt) < len(whole.prompt)
    return EncodedPairs(kept, tokens, shortened, left_out=len(pairs) - len(kept))


def encode_pair(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> PairTokens:
    """Token ids of one pair at full length, split where its prompt ends as the policy sees it when it answers."""
    prompt = _render(tokenizer, pair.prompt, answered=False)
    chosen = _render(tokenizer, pair.prompt + pair.chosen, answered=True)
    rejected = _render(tokenizer, pair.prompt + pair.rejected, answered=True)
    # A template may render the end of a prompt differently once it is answered (thinking models do): the answers
    # begin where all three part.
    start = len(os.path.commonprefix([prompt, chosen, rejected]))
    return PairTokens(
        tokenizer.encode(prompt[:start], add_special_tokens=False),
        encode_answer(tokenizer, chosen[start:]),
        encode_answer(tokenizer, rejected[start:]),
    )


def _render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, answered: bool) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not answered))
    except TemplateError as error:
        raise StageError(f"The model's chat template does not take this conversation: {error}.") from None


def encode_answer(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a rendered answer up to its last end token; what the template puts behind it is no answer."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.eos_token_id not in ids:
        raise StageError(
            f"The chat template does not end an answer with {tokenizer.eos_token!r}, so the policy could not learn "
            "to stop: give the model's tokenizer a chat template that does."
        )
    last = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
    return ids[:last]
