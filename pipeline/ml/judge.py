"""Judge with a local model, by the log-probability of its verdict: `python -m pipeline.ml judge run.json`.

Reads `model` and `requests` ({"id", "prompt": messages, "choices": ["A", "B"]} rows), writes `verdicts.jsonl`:
{"id", "logprobs": {choice: nats}, "tokens", "shortened"}. The model writes nothing: each choice is scored as the start
of its answer, summed over its tokens; where every choice is one token, a request is one forward pass. The numbers
are as the model gives them; whoever reads them renormalises over the choices and averages both orders.

Left out: prompts, orders, calibration. They belong to whoever asks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.ml.configs import JudgeConfig
from pipeline.ml.data import Messages, Tokens, encode_prompt, length_batches, read_prompts, read_rows
from pipeline.ml.generate import require_context, require_unique_ids
from pipeline.ml.logprobs import answer_log_probs, float32_logits
from pipeline.ml.meter import Meter
from pipeline.ml.models import choose_dtype, load_policy, load_tokenizer
from pipeline.ml.records import RunFolder, StageError
from pipeline.ml.rows import RowFile


@dataclass(frozen=True)
class Request:
    """A question put to the judge, and the verdicts it may give."""

    id: str
    messages: Messages
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Encoded:
    """A request in token ids: its prompt, and one sequence per choice."""

    prompt: Tokens
    choices: list[list[int]]


def run(folder: RunFolder) -> dict[str, Any]:
    """Score what is missing from verdicts.jsonl; returns counts, and how the verdicts are spread."""
    config = folder.config(JudgeConfig)
    requests = read_requests(folder.input("requests"))
    require_unique_ids([request.id for request in requests])
    folder.events.progress(0, len(requests), stage="loading the judge")
    tokenizer = load_tokenizer(folder.input("model"))
    encoded = [encode_request(tokenizer, request, config.max_length) for request in requests]
    model = load_policy(folder.input("model"), dtype=choose_dtype(config.dtype, folder.input("model")))
    longest = max(len(choice) for item in encoded for choice in item.choices)
    require_context(model, [item.prompt for item in encoded], longest)
    verdicts = RowFile(folder.path / "verdicts.jsonl")
    meter = Meter(folder.events, len(requests), "judging", done=len(verdicts.rows))
    there = {row["id"] for row in verdicts.rows}
    for batch in length_batches([len(item.prompt.ids) for item in encoded], config.batch_size):
        if all(requests[place].id in there for place in batch):
            continue
        # The whole batch is scored even where part of it is there: rounding depends on who shares a batch.
        scores = score(model, [encoded[place] for place in batch], tokenizer.pad_token_id)
        rows = [_row(requests[place], encoded[place], values) for place, values in zip(batch, scores, strict=True)]
        new = [row for row in rows if row["id"] not in there]
        verdicts.append(new)
        meter.add(rows=len(new), tokens=sum(row["tokens"] for row in new))
    return _summary(verdicts.rows, meter.tokens_per_second)


def read_requests(path: Path) -> list[Request]:
    """All requests of a file; StageError with the row's number for the first that cannot be used."""
    prompts = read_prompts(path)
    rows = read_rows(path)
    return [
        Request(prompt.id, prompt.messages, _choices(row.get("choices"), path, number))
        for prompt, (number, row) in zip(prompts, rows, strict=True)
    ]


def _choices(value: Any, path: Path, number: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(choice, str) for choice in value):
        raise StageError(f"{path.name}, row {number}: “choices” must be a list of texts.")
    if len(value) < 2 or len(set(value)) < len(value):
        raise StageError(f"{path.name}, row {number}: “choices” must name at least two different verdicts.")
    return tuple(value)


def encode_request(tokenizer: PreTrainedTokenizerBase, request: Request, max_length: int) -> Encoded:
    """Token ids of a request; StageError where its choices cannot be told apart by their tokens.

    A choice that begins another one ("A" and "A+") would also collect the other's probability.
    """
    choices = [tokenizer.encode(choice, add_special_tokens=False) for choice in request.choices]
    for name, tokens in zip(request.choices, choices, strict=True):
        for other, others in zip(request.choices, choices, strict=True):
            if other != name and others[: len(tokens)] == tokens:
                raise StageError(
                    f"Request “{request.id}”: in the judge's tokens the choice “{other}” begins with “{name}”, so "
                    "their probabilities overlap. Use choices that begin differently, such as A and B."
                )
    return Encoded(encode_prompt(tokenizer, request.messages, max_length), choices)


def score(model: PreTrainedModel, batch: Sequence[Encoded], pad: int) -> list[list[float]]:
    """log p(choice | prompt) in nats for each choice of each request."""
    prompts, choices = [item.prompt.ids for item in batch], [item.choices for item in batch]
    with float32_logits(model):
        return answer_log_probs(model, prompts, choices, pad=pad, batch_size=sum(len(item) for item in choices))


def _row(request: Request, encoded: Encoded, values: Sequence[float]) -> dict[str, Any]:
    return {
        "id": request.id,
        "logprobs": dict(zip(request.choices, values, strict=True)),
        "tokens": len(encoded.prompt.ids),
        "shortened": encoded.prompt.shortened,
    }


def _summary(rows: Sequence[dict[str, Any]], speed: float) -> dict[str, Any]:
    """`mass`: the mean probability of all choices together; near 0 the model did not mean to give a verdict."""
    masses = [sum(math.exp(value) for value in row["logprobs"].values()) for row in rows]
    verdicts = Counter(max(row["logprobs"], key=row["logprobs"].__getitem__) for row in rows)
    return {
        "n": len(rows),
        "mass": sum(masses) / len(rows),
        "verdicts": dict(sorted(verdicts.items())),
        "shortened": sum(row["shortened"] for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
        "tokens_per_second": speed,
    }
