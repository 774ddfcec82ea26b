"""PPO on top of TRL's GRPOTrainer: the only file that leans on TRL's inside.

TRL generates, scores and computes log-probabilities of policy and reference, splits a rollout into minibatches and
epochs, and does devices, checkpoints and callbacks. Ours is what makes it PPO: a critic, KL inside the reward,
generalised advantages, and the clipped losses. The arithmetic is in ppo_core.py.

Written against trl 1.16; `tests/ml/test_ppo.py` keeps a record of the parts used here and fails when they move.
Left out: images and tools (text only), DeepSpeed and FSDP (the critic is replicated, as under DDP).
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from pipeline.ml import stopping
from pipeline.ml.records import StageError, Stopped
from pipeline.ml.rewards.reward_model import Calibration
from pipeline.ml.trainers.critic import Critic
from pipeline.ml.trainers.ppo_core import (
    KLController,
    PolicyLoss,
    ValueLoss,
    clipped_policy_loss,
    clipped_value_loss,
    combine_scores,
    explained_variance,
    generalized_advantages,
    last_token_mask,
    masked_mean,
    penalize_unfinished,
    shaped_rewards,
    whiten,
)
from pipeline.ml.trainers.repeatable import prompt_order, random_state, restore_random_state, switch_off_dropout

STATE_FILE = "ppo_state.json"
EARLY_STOP = 1.5  # an epoch ends early once the approximate KL exceeds this many times its limit
PATIENCE = 3.0  # seconds that a stop may wait for a rollout's updates to end

# What PPO takes for granted: a sampler that is exactly the policy whose probabilities are trained, the same
# probabilities at every look, and no second opinion on how answers without an end are handled.
REQUIRED = {
    "disable_dropout": True,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "mask_truncated_completions": False,
    "importance_sampling_level": "token",
    "off_policy_mask_threshold": None,
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
}


@dataclass
class PPOConfig(GRPOConfig):
    """GRPOConfig with PPO's own settings; `steps_per_generation` and `num_iterations` are minibatches and epochs."""

    kl_coef: float = 0.05
    kl_target: float | None = None  # nats per answer; None = fixed coefficient
    kl_horizon: int = 10_000
    kl_estimator: str = "k1"
    gamma: float = 1.0
    lam: float = 0.95
    clip_value: float | None = None
    dual_clip: float | None = None
    vf_coef: float = 0.1
    score_clip: float = 5.0
    whiten_rewards: bool = False
    critic_learning_rate: float = 1e-5
    critic_max_grad_norm: float = 0.5
    critic_warmup_updates: int = 0
    update_kl_limit: float | None = None  # nats per token; None = always finish the epochs
    missing_eos_penalty: float = 1.0
    max_prompt_length: int | None = None  # tokens; a longer prompt loses its beginning
    num_generations: int = 2  # the least that TRL takes: two answers to each prompt
    beta: float = 1e-8  # not zero, so that TRL computes the reference's log-probabilities; otherwise unused
    disable_dropout: bool = True
    adam_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in REQUIRED.items():
            if vars(self)[name] != value:
                raise ValueError(f"PPO needs {name}={value!r}, not {vars(self)[name]!r}.")
        if self.beta <= 0:
            raise ValueError("PPO needs beta > 0: without it TRL computes no reference log-probabilities.")
        if self.use_vllm and not self.vllm_importance_sampling_correction:
            raise ValueError("PPO with vLLM needs vllm_importance_sampling_correction: its sampler is not the policy.")
        slices = self.steps_per_generation * self.num_iterations
        if slices % self.gradient_accumulation_steps:
            raise ValueError(f"a rollout's {slices} slices must be a multiple of gradient_accumulation_steps.")
        if self.max_steps <= 0 or self.max_steps % self.updates_per_rollout:
            raise ValueError(
                f"PPO needs max_steps, a multiple of the {self.updates_per_rollout} updates of a rollout."
            )
        if self.save_strategy == "steps" and self.save_steps % self.updates_per_rollout:
            raise ValueError(
                f"save_steps ({self.save_steps}) must be a multiple of the {self.updates_per_rollout} updates of a"
                " rollout: the answers in the buffer are not part of a checkpoint."
            )

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer updates between one generation and the next."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    @property
    def prompts_needed(self) -> int:
        """Prompts of the whole run, repeats included."""
        rollouts = self.max_steps // self.updates_per_rollout
        return rollouts * self.generation_batch_size // self.num_generations


class PPOTrainer(GRPOTrainer):
    """Trains a policy with PPO; takes GRPOTrainer's arguments, a critic, and a calibration for each reward.

    The order of the prompts is laid out for the whole run at the start, as one epoch. TRL's sampler would begin
    its shuffling anew in a resumed run, and would find nothing to do with fewer prompts than one rollout takes.
    """

    _tag_names = ["trl", "ppo"]
    _name = "PPO"
    args: PPOConfig

    def __init__(
        self,
        *,
        args: PPOConfig,
        train_dataset: Dataset,
        critic: Critic,
        calibrations: Sequence[Calibration] | None = None,
        on_phase: Callable[[str], None] = lambda words: None,
        **kwargs: Any,
    ) -> None:
        args.shuffle_dataset = False
        order = prompt_order(len(train_dataset), args.prompts_needed, args.seed)
        super().__init__(args=args, train_dataset=train_dataset.select(order), **kwargs)
        if self._tokenizer.pad_token_id in self.eos_token_ids:
            raise ValueError("the padding token must differ from the tokens that end an answer")
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError("PPO runs on one device or under DDP: FSDP and DeepSpeed would not shard the critic")
        for part in (self.model, self.ref_model):
            if part is not None:
                switch_off_dropout(part)
        self.critic = critic.to(self.accelerator.device)
        if self.accelerator.num_processes > 1:
            for parameter in self.critic.trainable_parameters():
                broadcast(parameter.data)
        self.kl_controller = KLController(args.kl_coef, target=args.kl_target, horizon=args.kl_horizon)
        calibrations = calibrations or [Calibration()] * len(self.reward_funcs)
        device = self.accelerator.device
        self._means = torch.tensor([source.mean for source in calibrations], device=device)
        self._deviations = torch.tensor([source.deviation for source in calibrations], device=device)
        self._raw_rewards = torch.empty(0)
        self._answer_tokens = 0.0
        self._window_kl: list[Tensor] = []
        self._rollout_is_spent = False
        self._seconds: dict[str, float] = defaultdict(float)
        self._say = on_phase
        self._boundary_rng: tuple[int, dict[str, Any]] | None = None
        self._stop_seen: float | None = None
        # the one part that every use of the policy goes through, wrapped by adapters or not
        self.model.get_input_embeddings().register_forward_pre_hook(lambda *_: self._break_off_if_asked())

    # -- rollout --------------------------------------------------------------------------------------------

    def _tokenize_prompts(self, prompts: list) -> tuple:
        ids, images, fields = super()._tokenize_prompts(prompts)
        longest = self.args.max_prompt_length or max(map(len, ids))
        return [row[-longest:] for row in ids], images, fields

    def _generate(self, prompts: list) -> tuple:
        self._say("sampling answers")
        return self._timed("generate", super()._generate, prompts)

    def _calculate_rewards(self, inputs: list, prompts: list, completions: list, completion_ids_list: list) -> Tensor:
        """TRL's rewards, kept aside raw: all processes' answers, one column for each source."""
        self._say("scoring answers")
        calculate = super()._calculate_rewards
        self._raw_rewards = self._timed("score", calculate, inputs, prompts, completions, completion_ids_list)
        return self._raw_rewards

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Tensor]:
        """TRL's batch, with PPO's learning signal in place of group advantages."""
        self._rollout_is_spent = False
        self._boundary_rng = (self._step, random_state())
        self._seconds.clear()
        started = time.perf_counter()
        batch = super()._generate_and_score_completions(inputs)
        self._add_learning_signal(batch)
        self._seconds["rollout"] = time.perf_counter() - started
        self._say("updating the policy")
        return batch

    @torch.no_grad()
    def _add_learning_signal(self, batch: dict[str, Tensor]) -> None:
        score = self._scores(batch)
        mask = batch["completion_mask"] * (~score.isnan()).unsqueeze(1)  # what no source could score teaches nothing
        if "old_per_token_logps" not in batch:
            batch["old_per_token_logps"] = self._logprobs(batch)
        old, reference = batch["old_per_token_logps"], batch["ref_per_token_logps"]
        values = self._in_slices(self._values, batch)
        rewards, kl = shaped_rewards(
            score.nan_to_num(),
            old,
            reference,
            mask,
            kl_coef=self.kl_controller.coef,
            estimator=self.args.kl_estimator,
        )
        if self.args.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False, reduce=self._sum_over_processes)
        advantages, returns = generalized_advantages(rewards, values, mask, gamma=self.args.gamma, lam=self.args.lam)
        batch["loss_mask"] = mask
        batch["old_values"] = values
        batch["returns"] = returns
        batch["advantages"] = whiten(advantages, mask, reduce=self._sum_over_processes)
        batch["num_items_in_batch"] = self._sum_over_processes(mask.sum())
        self._record_rollout(batch, score, rewards, kl)

    def _scores(self, batch: dict[str, Tensor]) -> Tensor:
        """Calibrated score of each of this process's answers, less the penalty for having no end; (batch,)."""
        first = self.accelerator.process_index * batch["completion_ids"].size(0)
        raw = self._raw_rewards[first : first + batch["completion_ids"].size(0)]
        weights = self.reward_weights.to(raw.device)
        score = combine_scores(raw, weights, self._means, self._deviations, clip=self.args.score_clip)
        return penalize_unfinished(score, self._finished(batch), penalty=self.args.missing_eos_penalty)

    def _finished(self, batch: dict[str, Tensor]) -> Tensor:
        """Did the answer end by itself? (batch,) of bool."""
        ends = torch.isin(
            batch["completion_ids"], torch.tensor(self.eos_token_ids, device=batch["completion_ids"].device)
        )
        return (ends & last_token_mask(batch["completion_mask"]).bool()).any(dim=1)

    def _logprobs(self, batch: dict[str, Tensor]) -> Tensor:
        ids, attention = _whole_sequences(batch)
        logprobs, _, _ = self._get_per_token_logps_and_entropies(
            self.model,
            ids,
            attention,
            batch["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
        )
        return logprobs

    def _values(self, batch: dict[str, Tensor]) -> Tensor:
        """Value of the state *before* each answer token: the column to its left, (batch, answer tokens)."""
        with self.accelerator.autocast():
            columns = self.critic(*_whole_sequences(batch))
        return columns[:, batch["prompt_ids"].size(1) - 1 : -1]

    def _in_slices(self, compute: Callable[[dict[str, Tensor]], Tensor], batch: dict[str, Tensor]) -> Tensor:
        """`compute` over a whole rollout, no more rows at once than in training."""
        rows = self.args.per_device_train_batch_size
        sequences = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        starts = range(0, batch["prompt_ids"].size(0), rows)
        return torch.cat([compute({key: batch[key][start : start + rows] for key in sequences}) for start in starts])

    # -- update ---------------------------------------------------------------------------------------------

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Adds the critic's parameters as a group with its own learning rate."""
        if self.optimizer is None:
            super().create_optimizer(*args, **kwargs)
            self.optimizer.add_param_group(
                {
                    "params": self.critic.trainable_parameters(),
                    "lr": self.args.critic_learning_rate,
                    "weight_decay": 0.0,
                }
            )
        return self.optimizer

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids, attention = _whole_sequences(inputs)
        logprobs, entropies, _ = self._get_per_token_logps_and_entropies(
            model, ids, attention, inputs["completion_ids"].size(1), compute_entropy=True
        )
        mask, normalizer = inputs["loss_mask"], self._normalizer(inputs)
        policy = clipped_policy_loss(
            logprobs,
            inputs["old_per_token_logps"],
            inputs["advantages"],
            mask,
            clip_low=self.epsilon_low,
            clip_high=self.epsilon_high,
            dual_clip=self.args.dual_clip,
            normalizer=normalizer,
            token_weights=inputs.get("importance_sampling_ratio"),
        )
        value = clipped_value_loss(
            self._values(inputs),
            inputs["old_values"],
            inputs["returns"],
            mask,
            clip=self.args.clip_value,
            normalizer=normalizer,
        )
        self._record_update(policy, value, masked_mean(entropies, mask))
        loss = policy.loss + self.args.vf_coef * value.loss
        if not torch.isfinite(loss):
            raise StageError("The loss is no longer a number: lower the learning rates, or raise the KL coefficient.")
        return loss

    def _normalizer(self, inputs: dict[str, Tensor]) -> Tensor:
        """Tokens of one accumulation window on one process, however many micro-batches it is split into."""
        per_process = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        return per_process * self.args.gradient_accumulation_steps / self.args.steps_per_generation

    def training_step(self, model: torch.nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch; Trainer clears and clips the policy's gradients only, so the critic's are done here."""
        if self._step % self.args.gradient_accumulation_steps == 0:
            self.critic.zero_grad()
            self._window_kl.clear()
        loss = self._timed("all", super().training_step, model, *args, **kwargs)
        if self.accelerator.sync_gradients:
            self._finish_gradients(model)
        if self._step % (self.args.steps_per_generation * self.num_iterations) == 0:
            self._record_speed()
        return loss

    def _finish_gradients(self, model: torch.nn.Module) -> None:
        """What one optimizer update is about to use; a gradient that is None leaves its parameter as it is."""
        parameters = self.critic.trainable_parameters()
        if self.accelerator.num_processes > 1:
            for parameter in parameters:
                parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")
        torch.nn.utils.clip_grad_norm_(parameters, self.args.critic_max_grad_norm)
        if self.state.global_step < self.args.critic_warmup_updates:
            model.zero_grad()
        if self._moved_too_far():
            model.zero_grad()
            self.critic.zero_grad()

    def _moved_too_far(self) -> bool:
        """Has this rollout's policy left the one that sampled it behind? Then its remaining updates are skipped."""
        if self.args.update_kl_limit is None:
            return False
        kl = self.accelerator.reduce(torch.stack(self._window_kl).mean(), reduction="mean").item()
        self._rollout_is_spent |= kl > EARLY_STOP * self.args.update_kl_limit
        return self._rollout_is_spent

    # -- checkpoints ----------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            self.critic.save(folder)
            state = {"kl_controller": self.kl_controller.state_dict(), "micro_batches": self._step}
            (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.critic.load(Path(checkpoint))
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text(encoding="utf-8"))
            self.kl_controller.load_state_dict(state["kl_controller"])
            self._step = state["micro_batches"]

    def _between_rollouts(self) -> bool:
        """Is the policy as the last whole rollout left it? True until the next rollout's first update."""
        updates = self.state.global_step * self.args.gradient_accumulation_steps
        return self._step == updates and self._step % (self.args.steps_per_generation * self.num_iterations) == 0

    def _break_off_if_asked(self) -> None:
        """Raise Stopped at once where nothing is lost by it, and after a little patience where a rollout is."""
        if not stopping.requested():
            return
        self._stop_seen = self._stop_seen or time.monotonic()
        if self._between_rollouts() or time.monotonic() - self._stop_seen > PATIENCE:
            raise Stopped("stopped within a rollout")

    def save_where_it_stopped(self) -> None:
        """After Stopped: a checkpoint of the last boundary, if the weights are still those and none is there yet."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if not self.state.global_step or not self._between_rollouts() or folder.exists():
            return
        if self._boundary_rng is not None and self._boundary_rng[0] == self._step:
            restore_random_state(self._boundary_rng[1])
        self._save_checkpoint(self.model, trial=None)
        self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    # -- metrics --------------------------------------------------------------------------------------------

    def _record_rollout(self, batch: dict[str, Tensor], score: Tensor, rewards: Tensor, kl: Tensor) -> None:
        """Figures of the rollout, means over the answers of all processes; then the KL coefficient's next value."""
        gather = self.accelerator.gather
        lengths = gather(batch["completion_mask"].sum(dim=1)).float()
        scorable = gather(batch["loss_mask"].sum(dim=1)) > 0
        kl_of_answers = gather(kl.sum(dim=1))
        mean_kl = _mean_where(kl_of_answers, scorable)
        self._answer_tokens = lengths.sum().item()
        self._note("score", gather(score).nanmean())
        self._note("shaped_return", _mean_where(gather(rewards.sum(dim=1)), scorable))
        self._note("kl", mean_kl)
        self._note("kl_per_token", kl_of_answers.sum() / batch["num_items_in_batch"].clamp(min=1))
        self._note("length", lengths.mean())
        self._note("eos_share", gather(self._finished(batch).float()).mean())
        self._note("unscorable_share", (~scorable).float().mean())
        self._note("explained_variance", explained_variance(batch["old_values"], batch["returns"], batch["loss_mask"]))
        self._note("kl_coef", self.kl_controller.coef)
        if self.model.training:
            self.kl_controller.update(mean_kl.item(), sequences=int(scorable.sum()))

    def _record_update(self, policy: PolicyLoss, value: ValueLoss, entropy: Tensor) -> None:
        self._window_kl.append(policy.approx_kl)
        # a micro-batch holds its share of the window's loss
        share = self.args.gradient_accumulation_steps
        self._note("policy_loss", policy.loss.detach() * share)
        self._note("value_loss", value.loss.detach() * share)
        self._note("entropy", entropy.detach())
        self._note("approx_kl", policy.approx_kl)
        self._note("clip_fraction", policy.clip_fraction)
        self._note("value_clip_fraction", value.clip_fraction)
        highest = max(policy.ratio_max.item(), *self._metrics[self._mode]["ratio_max"], 0.0)
        self._metrics[self._mode]["ratio_max"] = [highest]

    def _record_speed(self) -> None:
        """Seconds by part of the work, and answer tokens a second over all of it: sampling, scoring, updates."""
        spent = self._seconds
        self._note("tokens_per_second", self._answer_tokens / spent["all"])
        self._note("seconds_generate", spent["generate"])
        self._note("seconds_score", spent["rollout"] - spent["generate"])
        self._note("seconds_update", spent["all"] - spent["rollout"])

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _note(self, name: str, value: Tensor | float) -> None:
        self._metrics[self._mode][name].append(float(value))

    def _timed(self, part: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = call(*args, **kwargs)
        self._seconds[part] += time.perf_counter() - started
        return result

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        return self.accelerator.reduce(sums, reduction="sum")


def _whole_sequences(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of prompt and answer together, (batch, prompt + answer tokens)."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return ids, attention


def _mean_where(x: Tensor, keep: Tensor) -> Tensor:
    return x[keep].mean() if keep.any() else x.new_zeros(())
