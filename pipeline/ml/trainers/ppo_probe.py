"""What PPO's policy says to held-out prompts while it learns, beside what it said at the start.

Each prompt is answered with random numbers of its own, the same at every look, so that a policy that has not
changed says the same. Every answer is kept in `probe.jsonl`, where a resumed run finds what was said before.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipeline.ml import stopping
from pipeline.ml.data import Messages, Prompt, encode_prompt
from pipeline.ml.evaluation.policy import Compared, policy_report
from pipeline.ml.logprobs import answer_log_probs
from pipeline.ml.records import RunFolder, is_main_process
from pipeline.ml.rows import RowFile
from pipeline.ml.sampling import Answer, Sampling, decode, row_seed, row_uniforms, sample_answers

SHOWN = 4  # answers of a look that are written to the events
SHOWN_IN_RESULT = 12

Row = dict[str, Any]
Lend = Callable[[], AbstractContextManager[PreTrainedModel]]


@dataclass(frozen=True)
class ProbeSettings:
    """How the probe's answers are sampled; `batch_size` of them go together."""

    sampling: Sampling
    seed: int
    max_prompt_length: int
    batch_size: int


class Probe:
    """A fixed set of prompts, and what was said to them at each look."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        prompts: Sequence[Prompt],
        tokenizer: PreTrainedTokenizerBase,
        reward: Callable[[Sequence[Messages]], list[float]],
        settings: ProbeSettings,
    ) -> None:
        self._folder = folder
        self._prompts = prompts
        self._tokenizer = tokenizer
        self._reward = reward
        self._settings = settings
        self._encoded = [encode_prompt(tokenizer, item.messages, settings.max_prompt_length).ids for item in prompts]
        self._file = RowFile(folder.path / "probe.jsonl")

    def look(self, step: int, policy: PreTrainedModel, lend_start: Lend) -> None:
        """Let `policy` answer, unless this step was looked at before.

        `lend_start` gives the model that the policy started from, for the KL divergence of what was said.
        """
        if self.answers(step):
            return
        was_training = policy.training
        policy.eval()
        try:
            rows = self._answer(step, policy, lend_start)
        finally:
            policy.train(was_training)
        if is_main_process():
            self._file.append(rows)
        else:  # every process looks, so that none waits; one writes
            self._file.rows.extend(rows)

    def answers(self, step: int) -> list[Row]:
        """The rows of one look, in the order of the prompts; none where there was no look."""
        return [row for row in self._file.rows if row["step"] == step]

    def compared(self, step: int) -> list[Compared]:
        """The start's answers beside those of `step`."""
        return [
            Compared(prompt, before, after, before["reward"], after["reward"], after["log_ratio"])
            for prompt, before, after in zip(self._prompts, self.answers(0), self.answers(step), strict=True)
        ]

    def report(self, step: int) -> None:
        """Write a look's figures and some of its answers to the events."""
        compared = self.compared(step)
        report = policy_report(compared, sampled=True)
        self._folder.events.metric(
            step,
            eval_reward=report["reward"]["policy"],
            eval_kl=report["kl"]["per_sequence"],
            eval_win_rate=report["win_rate"],
            eval_length=report["length"]["policy"],
            eval_eos_share=report["eos"]["policy"],
        )
        for sample in samples(compared)[:SHOWN]:
            self._folder.events.sample(step, **sample)

    def _answer(self, step: int, policy: PreTrainedModel, lend_start: Lend) -> list[Row]:
        answers = self._sample(policy)
        own = self._log_probs(policy, answers)
        with lend_start() as start:
            others = self._log_probs(start, answers)
        texts = [decode(self._tokenizer, answer) for answer in answers]
        return [
            {
                "step": step,
                "id": prompt.id,
                "messages": [{"role": "assistant", "content": text}],
                "tokens": len(answer.tokens),
                "finished": answer.finished,
                "reward": reward,
                "log_ratio": ours - theirs,
            }
            for prompt, answer, text, reward, ours, theirs in zip(
                self._prompts, answers, texts, self._rewards(texts), own, others, strict=True
            )
        ]

    def _sample(self, policy: PreTrainedModel) -> list[Answer]:
        settings, answers = self._settings, []
        for first in range(0, len(self._prompts), settings.batch_size):
            places = slice(first, first + settings.batch_size)
            seeds = [row_seed(settings.seed, prompt.id, 0) for prompt in self._prompts[places]]
            uniforms = row_uniforms(seeds, settings.sampling.max_new_tokens)
            answers += sample_answers(
                policy, self._encoded[places], uniforms, settings.sampling, on_step=lambda _: stopping.check()
            )
        return answers

    def _log_probs(self, model: PreTrainedModel, answers: Sequence[Answer]) -> list[float]:
        found = answer_log_probs(
            model,
            self._encoded,
            [[answer.tokens] for answer in answers],
            pad=self._settings.sampling.pad,
            batch_size=self._settings.batch_size,
            temperature=self._settings.sampling.temperature,
        )
        return [value for (value,) in found]

    def _rewards(self, texts: Sequence[str]) -> list[float]:
        """Raw rewards; an answer that was given before keeps its reward to the last bit, so that equals tie."""
        known = {(row["id"], row["messages"][0]["content"]): row["reward"] for row in self._file.rows}
        names = [(prompt.id, text) for prompt, text in zip(self._prompts, texts, strict=True)]
        fresh = [place for place, name in enumerate(names) if name not in known]
        conversations = [
            [*self._prompts[place].messages, {"role": "assistant", "content": texts[place]}] for place in fresh
        ]
        scores = self._reward(conversations) if fresh else []
        known.update(zip((names[place] for place in fresh), scores, strict=True))
        return [known[name] for name in names]


def samples(compared: Sequence[Compared]) -> list[Row]:
    """Prompts with both answers and their rewards, for people to read."""
    return [
        {
            "prompt": item.prompt.messages,
            "before": item.before["messages"][0]["content"],
            "after": item.after["messages"][0]["content"],
            "reward_before": item.reward_before,
            "reward_after": item.reward_after,
        }
        for item in compared
    ]


class ProbeCallback(TrainerCallback):
    """Look at the held-out prompts every so many rollouts, between one rollout and the next."""

    def __init__(self, look: Callable[[int], None], *, every: int, updates_per_step: int) -> None:
        self._look = look
        self._every = every
        self._updates_per_step = updates_per_step

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        step, updates = divmod(state.global_step, self._updates_per_step)
        if self._every and step and not updates and step % self._every == 0:
            self._look(step)
