"""Sample responses from a policy: `python -m pipeline.ml generate run.json`.

Reads `model` and `prompts` ({"id", "prompt"} rows), writes `responses.jsonl`: {"id", "index", "messages", "tokens",
"finished", "seed"}, `responses_per_prompt` rows for each prompt. `finished` is false where the answer was cut at the
longest length. Texts are as sampled, without special tokens; nothing is trimmed or repaired.

Prompts of like length go together. Which ones do is decided by all prompts, whether or not some are done, and each
row has a seed of its own: a run that was stopped and started again writes the rows it would have written.

Left out: serving. Where there is a GPU server, sample from an OpenAI-compatible endpoint instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.ml.configs import GenerateConfig
from pipeline.ml.data import Prompt, Tokens, encode_prompt, length_batches, read_prompts
from pipeline.ml.meter import Meter
from pipeline.ml.models import choose_dtype, load_policy, load_tokenizer
from pipeline.ml.records import RunFolder, StageError
from pipeline.ml.rows import RowFile
from pipeline.ml.sampling import (
    Answer,
    Sampling,
    decode,
    end_tokens,
    row_seed,
    row_uniforms,
    sample_answers,
)


def run(folder: RunFolder) -> dict[str, Any]:
    """Sample what is missing from responses.jsonl; returns counts, lengths and speed."""
    config = folder.config(GenerateConfig)
    prompts = read_prompts(folder.input("prompts"))
    require_unique_ids([prompt.id for prompt in prompts])
    total = len(prompts) * config.responses_per_prompt
    folder.events.progress(0, total, stage="loading the model")
    tokenizer = load_tokenizer(folder.input("model"))
    model = load_policy(folder.input("model"), dtype=choose_dtype(config.dtype, folder.input("model")))
    encoded = [encode_prompt(tokenizer, prompt.messages, config.max_prompt_length) for prompt in prompts]
    require_context(model, encoded, config.max_new_tokens)
    shortened = sum(item.shortened for item in encoded)
    if shortened:
        folder.events.log(f"{shortened} prompts lost their beginning: they are too long.", level="warning")
    responses = RowFile(folder.path / "responses.jsonl")
    meter = Meter(folder.events, total, "sampling responses", done=len(responses.rows))
    sample_missing(folder.seed, config, prompts, encoded, model, tokenizer, responses, meter)
    return _summary(responses.rows, prompts=len(prompts), shortened=shortened, speed=meter.tokens_per_second)


def require_unique_ids(ids: Sequence[str]) -> None:
    """Rows are found again by their id, so two prompts must not share one."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise StageError(f"Two rows have the id “{name}”: give every row an id of its own.")
        seen.add(name)


def require_context(model: PreTrainedModel, encoded: Sequence[Tokens], room: int) -> None:
    """StageError unless the longest prompt and `room` more tokens fit into what the model can read."""
    context = model.config.get_text_config().max_position_embeddings
    longest = max(len(item.ids) for item in encoded)
    if longest + room > context:
        raise StageError(
            f"The longest prompt ({longest} tokens) and {room} tokens of answer exceed the {context} tokens that "
            "the model can read: lower the longest prompt or the longest response."
        )


def sample_missing(
    seed: int,
    config: GenerateConfig,
    prompts: Sequence[Prompt],
    encoded: Sequence[Tokens],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    responses: RowFile,
    meter: Meter,
    *,
    keep_ids: bool = False,
) -> None:
    """Go through the batches in their fixed order; one of which rows are missing is sampled whole.

    With `keep_ids` the rows also hold the sampled token ids, which the text alone does not always give back.
    """
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens,
        ends=end_tokens(model, tokenizer),
        pad=tokenizer.pad_token_id,
    )
    there = {(row["id"], row["index"]) for row in responses.rows}
    at_once = max(1, config.batch_size // config.responses_per_prompt)
    for batch in length_batches([len(item.ids) for item in encoded], at_once):
        rows = [(prompts[place].id, index) for place in batch for index in range(config.responses_per_prompt)]
        missing = [row for row in rows if row not in there]
        if not missing:
            continue
        seeds = {row: row_seed(seed, *row) for row in rows}
        steps, worth = count(1), len(missing) / config.max_new_tokens
        answers = sample_answers(
            model,
            [encoded[place].ids for place in batch],
            row_uniforms(list(seeds.values()), config.max_new_tokens),
            sampling,
            on_step=lambda tokens: meter.add(tokens=tokens, underway=worth * next(steps)),  # noqa: B023 - used at once
        )
        written = dict(zip(rows, answers, strict=True))
        responses.append(_row(tokenizer, row, written[row], seeds[row], keep_ids) for row in missing)
        meter.add(rows=len(missing))


def _row(
    tokenizer: PreTrainedTokenizerBase, name: tuple[str, int], answer: Answer, seed: int, keep_ids: bool
) -> dict[str, Any]:
    row = {
        "id": name[0],
        "index": name[1],
        "messages": [{"role": "assistant", "content": decode(tokenizer, answer)}],
        "tokens": len(answer.tokens),
        "finished": answer.finished,
        "seed": seed,
    }
    return row | {"ids": answer.tokens} if keep_ids else row


def _summary(rows: Sequence[dict[str, Any]], *, prompts: int, shortened: int, speed: float) -> dict[str, Any]:
    tokens = [row["tokens"] for row in rows]
    return {
        "n": len(rows),
        "prompts": prompts,
        "shortened_prompts": shortened,
        "tokens": sum(tokens),
        "mean_tokens": sum(tokens) / len(rows),
        "finished_share": sum(row["finished"] for row in rows) / len(rows),
        "empty": sum(not row["messages"][0]["content"].strip() for row in rows),
        "tokens_per_second": speed,
    }
