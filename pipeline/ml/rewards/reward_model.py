"""Score answers with a reward model: a reward for PPO, and the ruler of evaluations.

The policy's text is put through the reward model's own chat template and tokenizer, since the two models need not
share either. Scores are raw; `calibrate` gives the constants that put them on a common scale.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.ml.data import Messages, encode_conversation
from pipeline.ml.models import load_reward_model, load_tokenizer, score_sequences

LEAST_DEVIATION = 1e-6  # a reward model that gives every answer the same score has no scale to divide by


@dataclass(frozen=True)
class Calibration:
    """Puts one source's rewards on a common scale: (raw - mean) / deviation."""

    mean: float = 0.0
    deviation: float = 1.0


def calibrate(reference_scores: Sequence[float]) -> Calibration:
    """Centre and unit of a reward model: mean and deviation (ddof 1) of its scores on the start's own answers.

    Afterwards 0 is "as good as the policy was at the start", and a KL coefficient means the same under every
    reward model. Fewer than two scores, or scores all alike, give no unit: then only the centre moves.
    """
    if not reference_scores:
        return Calibration()
    spread = statistics.stdev(reference_scores) if len(reference_scores) > 1 else 0.0
    return Calibration(statistics.fmean(reference_scores), spread if spread > LEAST_DEVIATION else 1.0)


class RewardModelScorer:
    """A reward model that reads conversations; also a reward function for TRL's trainers.

    `max_length` in tokens; without it, what the model can read.
    """

    def __init__(
        self, folder: Path, *, dtype: torch.dtype, batch_size: int = 8, max_length: int | None = None
    ) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._model = load_reward_model(folder, dtype=dtype)
        self._model.config.get_text_config().pad_token_id = self._tokenizer.pad_token_id
        self._batch_size = batch_size
        self._max_length = max_length or self._model.config.get_text_config().max_position_embeddings

    def score(self, conversations: Sequence[Messages]) -> list[float]:
        """Raw scores, in order; a conversation that is too long loses its beginning, never its answer."""
        sequences = [encode_conversation(self._tokenizer, turns, self._max_length).ids for turns in conversations]
        return score_sequences(self._model, sequences, batch_size=self._batch_size)

    def __call__(self, prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
        """TRL's form of a reward function: prompts and answers as lists of messages."""
        return self.score([[*prompt, *answer] for prompt, answer in zip(prompts, completions, strict=True)])
