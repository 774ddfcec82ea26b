"""Judge with reward models: `python -m pipeline.ml judge_reward run.json`.

Reads `requests` ({"id", "prompt": messages, "responses": [messages, …]} rows) and one reward model as `model`, or an
ensemble as `model`, `model_2` … `model_8`. Writes `verdicts.jsonl`: {"id", "scores": one list a response with one raw
score a model, "tokens", "shortened"}. The models are loaded one after the other, so an ensemble needs the memory of
one; each model's scores are kept as soon as they are there, and a run that is resumed goes on with the next.

Left out: what the scores mean. Whoever reads them takes differences, since a reward model's scale has no zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.ml.configs import JudgeConfig
from pipeline.ml.data import Messages, encode_conversation, read_prompts, read_rows
from pipeline.ml.generate import require_unique_ids
from pipeline.ml.meter import Meter
from pipeline.ml.models import choose_dtype, load_reward_model, load_tokenizer, score_sequences
from pipeline.ml.records import RunFolder, StageError
from pipeline.ml.rows import RowFile

MODELS = ("model", "model_2", "model_3", "model_4", "model_5", "model_6", "model_7", "model_8")

Conversations = list[list[Messages]]  # of each request: its prompt with each of its responses


def run(folder: RunFolder) -> dict[str, Any]:
    """Score what is missing; returns counts."""
    config = folder.config(JudgeConfig)
    ids, conversations = read_requests(folder.input("requests"))
    require_unique_ids(ids)
    names = [name for name in MODELS if folder.has_input(name)]
    total = len(names) * sum(len(each) for each in conversations)
    meter = Meter(folder.events, total, "scoring answers")
    kept = [RowFile(folder.path / f"scores-{name}.jsonl") for name in names]
    for name, file in zip(names, kept, strict=True):
        if len(file.rows) < len(ids):
            file.append(scored(folder.input(name), ids, conversations, config, meter)[len(file.rows) :])
    verdicts = RowFile(folder.path / "verdicts.jsonl")
    if not verdicts.rows:
        verdicts.append(
            {
                "id": rows[0]["id"],
                "scores": [list(of_response) for of_response in zip(*(row["scores"] for row in rows), strict=True)],
                "tokens": sum(row["tokens"] for row in rows),
                "shortened": any(row["shortened"] for row in rows),
            }
            for rows in zip(*(file.rows for file in kept), strict=True)
        )
    return {
        "n": len(ids),
        "models": len(names),
        "shortened": sum(row["shortened"] for row in verdicts.rows),
        "tokens": sum(row["tokens"] for row in verdicts.rows),
        "tokens_per_second": meter.tokens_per_second,
    }


def read_requests(path: Path) -> tuple[list[str], Conversations]:
    """Ids and conversations of all requests; StageError with the row's number for the first that cannot be used."""
    prompts = read_prompts(path)
    conversations = []
    for prompt, (number, row) in zip(prompts, read_rows(path), strict=True):
        responses = row.get("responses")
        if not isinstance(responses, list) or not responses or not all(isinstance(each, list) for each in responses):
            raise StageError(f"{path.name}, row {number}: “responses” must be a list of lists of messages.")
        conversations.append([[*prompt.messages, *response] for response in responses])
    return [prompt.id for prompt in prompts], conversations


def scored(
    model_folder: Path, ids: list[str], conversations: Conversations, config: JudgeConfig, meter: Meter
) -> list[dict[str, Any]]:
    """One model's raw score of every response: {"id", "scores", "tokens", "shortened"} rows."""
    tokenizer = load_tokenizer(model_folder)
    model = load_reward_model(model_folder, dtype=choose_dtype(config.dtype, model_folder))
    encoded = [[encode_conversation(tokenizer, one, config.max_length) for one in each] for each in conversations]
    scores = iter(
        score_sequences(
            model,
            [tokens.ids for each in encoded for tokens in each],
            batch_size=config.batch_size,
            on_batch=lambda rows, tokens: meter.add(rows=rows, tokens=tokens),
        )
    )
    return [
        {
            "id": key,
            "scores": [next(scores) for _ in each],
            "tokens": sum(len(tokens.ids) for tokens in each),
            "shortened": any(tokens.shortened for tokens in each),
        }
        for key, each in zip(ids, encoded, strict=True)
    ]
