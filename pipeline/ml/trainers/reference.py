"""What a reference model says of preference pairs: read once, kept in the run's folder, the same after a resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.ml.logprobs import answer_log_probs
from pipeline.ml.meter import Meter
from pipeline.ml.models import load_policy, load_tokenizer
from pipeline.ml.records import RunFolder, StageError, is_main_process, write_json
from pipeline.ml.trainers.arguments import Precision
from pipeline.ml.trainers.pair_tokens import PairTokens

FORWARD_BATCH = 16  # answers in a forward pass without gradients


@dataclass(frozen=True)
class PairLogProbs:
    """log p(answer | prompt) of both sides of pairs, in nats, summed over tokens: each (pairs,) float32."""

    chosen: torch.Tensor
    rejected: torch.Tensor

    def at(self, places: Sequence[int]) -> PairLogProbs:
        """Those of some of the pairs."""
        return PairLogProbs(self.chosen[list(places)], self.rejected[list(places)])

    def minus(self, reference: PairLogProbs) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-ratios against a reference, of chosen and of rejected answers: each (pairs,) nats."""
        return self.chosen - reference.chosen, self.rejected - reference.rejected


def pair_log_probs(
    model: nn.Module,
    tokens: Sequence[PairTokens],
    *,
    pad: int,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> PairLogProbs:
    """Both sides of all pairs under a model; `on_batch` hears how many answers and tokens each batch added."""
    found = answer_log_probs(
        model,
        [pair.prompt for pair in tokens],
        [(pair.chosen, pair.rejected) for pair in tokens],
        pad=pad,
        batch_size=FORWARD_BATCH,
        on_batch=on_batch,
    )
    chosen, rejected = zip(*found, strict=True)
    return PairLogProbs(torch.tensor(chosen), torch.tensor(rejected))


class Reference:
    """The model that the policy is held to: the input `reference` where one is given, else the policy's start.

    Must be asked before the policy is trained; what it has said once is never computed again in this folder.
    """

    def __init__(
        self,
        folder: RunFolder,
        start: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        precision: Precision,
    ) -> None:
        self._folder = folder
        self._start = start
        self._tokenizer = tokenizer
        self._precision = precision

    def log_probs(self, name: str, tokens: Sequence[PairTokens]) -> PairLogProbs:
        """What the reference says of the pairs called `name`."""
        return self._kept(f"reference-{name}.json", tokens, lambda: self._model)

    def start_log_probs(self, name: str, tokens: Sequence[PairTokens]) -> PairLogProbs:
        """What the policy said of the pairs at its start."""
        if not self._folder.has_input("reference"):
            return self.log_probs(name, tokens)
        return self._kept(f"start-{name}.json", tokens, lambda: self._start)

    @cached_property
    def _model(self) -> PreTrainedModel:
        if not self._folder.has_input("reference"):
            return self._start
        path = self._folder.input("reference")
        if load_tokenizer(path).get_vocab() != self._tokenizer.get_vocab():
            raise StageError(f"The reference {path} has other tokens than the policy: choose one of its family.")
        return load_policy(path, dtype=self._precision.weights)

    def _kept(self, file: str, tokens: Sequence[PairTokens], model: Callable[[], PreTrainedModel]) -> PairLogProbs:
        path = self._folder.path / file
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8"))
            return PairLogProbs(torch.tensor(values["chosen"]), torch.tensor(values["rejected"]))
        meter = Meter(self._folder.events, 2 * len(tokens), "reading what the reference says")
        with torch.autocast(self._start.device.type, torch.bfloat16, enabled=self._precision.autocast):
            found = pair_log_probs(
                model().eval(),
                tokens,
                pad=self._tokenizer.pad_token_id,
                on_batch=lambda rows, count: meter.add(rows=rows, tokens=count),
            )
        if is_main_process():
            write_json(path, {"chosen": found.chosen.tolist(), "rejected": found.rejected.tolist()})
        return found
