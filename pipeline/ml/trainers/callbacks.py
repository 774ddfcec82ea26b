"""What every trainer reports while it works, and how it stops: one callback for TRL's and our own trainers."""

import time
from typing import Any

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipeline.ml import stopping
from pipeline.ml.records import RunFolder, Stopped, is_main_process

SPEED_MEMORY = 0.9  # weight of the past in the running mean of seconds per step


class StageCallback(TrainerCallback):
    """Write a trainer's metrics, progress and checkpoints to the run's events; stop it when asked to.

    `names` maps the trainer's log keys to the names of our metrics; other keys are left out. A step, as people see
    it, is `updates_per_step` of the trainer's updates: 1 but for PPO, whose step is a rollout with all its updates.
    """

    def __init__(
        self, folder: RunFolder, names: dict[str, str], doing: str = "training", updates_per_step: int = 1
    ) -> None:
        self._folder = folder
        self._names = names
        self._doing = doing
        self._updates_per_step = updates_per_step
        self._seconds_per_step = 0.0
        self._tokens_per_second = 0.0
        self._tokens = 0.0
        self._step_began = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step:
            self._folder.events.log(f"Resumed at step {self._step(state)} of {self._steps(state)}.")
        self._tokens = state.num_input_tokens_seen
        self._report(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self._updates_per_step == 0:
            self._step_began = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self._updates_per_step:
            return
        seconds = time.monotonic() - self._step_began
        past = self._seconds_per_step
        self._seconds_per_step = SPEED_MEMORY * past + (1 - SPEED_MEMORY) * seconds if past else seconds
        if stopping.requested():
            self._stop(state, control)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between two micro-batches of a step: nobody should wait for the rest, which a resumed run does again.

        Not within PPO's steps: the answers that were sampled for a step are not in the checkpoint.
        """
        if stopping.requested() and self._updates_per_step == 1:
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        saved = self._folder.has_checkpoint(state.global_step)  # writing it again could spoil it
        control.should_save = state.global_step > 0 and not saved
        control.should_training_stop = True
        control.should_evaluate = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "train_runtime" in logs:
            return  # the trainer's closing words; after a stop they hold the means of an unfinished step
        values = {name: logs[key] for key, name in self._names.items() if key in logs}
        if values:
            self._folder.events.metric(self._step(state), **values)
        self._count_tokens(logs)
        self._report(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if is_main_process():
            self._folder.mark_checkpoint(state.global_step, step=self._step(state))

    def _step(self, state: TrainerState) -> int:
        return state.global_step // self._updates_per_step

    def _steps(self, state: TrainerState) -> int:
        return state.max_steps // self._updates_per_step

    def _count_tokens(self, logs: dict[str, Any]) -> None:
        """`num_tokens` counts all tokens since this process began; GRPO's and PPO's, since the run began."""
        total = logs.get("num_tokens")
        if total is None:
            return
        fresh, self._tokens = total - self._tokens, total
        if fresh > 0 and self._seconds_per_step:
            self._tokens_per_second = fresh / self._seconds_per_step

    def _report(self, state: TrainerState) -> None:
        left = (self._steps(state) - self._step(state)) * self._seconds_per_step
        self._folder.events.progress(
            self._step(state),
            self._steps(state),
            stage=self._doing,
            seconds_left=round(left, 1) if self._seconds_per_step else None,
            tokens_per_second=round(self._tokens_per_second, 1) if self._tokens_per_second else None,
            memory_bytes=memory_bytes(),
        )


def memory_bytes() -> int:
    """Memory that this process holds: on the GPU where there is one, else in the machine's."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss


def raise_if_stopped(state: TrainerState) -> None:
    """To be called after `train()`: a training that was cut short must not be taken for a finished one."""
    if stopping.requested() and state.global_step < state.max_steps:
        raise Stopped("stopped while training", step=state.global_step)
