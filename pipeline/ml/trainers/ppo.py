"""Train a policy against a reward model with PPO.

Starts from the policy's folder, which is also the reference, and a reward model's. A step is one rollout (answers
sampled, scored, valued) with all its updates. Held-out prompts are answered at the start, every few steps and at the
end, with the same luck each time: the result compares the two ends. Checkpoints fall between rollouts, and a resumed
run ends where a straight one does. The policy is saved as an ordinary model folder, adapters merged.

Left out: several reward models, FSDP and DeepSpeed, and stopping early on over-optimisation.

    python -m pipeline.ml ppo run.json
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerState, set_seed

from pipeline.ml.configs import PPOStageConfig
from pipeline.ml.data import Prompt, encode_prompt, read_prompts, read_rows
from pipeline.ml.evaluation.policy import policy_report
from pipeline.ml.generate import require_context, require_unique_ids
from pipeline.ml.models import choose_device, choose_dtype, load_policy, load_tokenizer, merged, save_model
from pipeline.ml.records import RunFolder, StageError, Stopped
from pipeline.ml.rewards.reward_model import Calibration, RewardModelScorer, calibrate
from pipeline.ml.rewards.verifiable import VERIFIABLE
from pipeline.ml.sampling import Sampling, end_tokens
from pipeline.ml.splits import prompt_key, split_of
from pipeline.ml.trainers.arguments import CHECKPOINTS_KEPT, choose_precision
from pipeline.ml.trainers.callbacks import StageCallback
from pipeline.ml.trainers.critic import Critic
from pipeline.ml.trainers.memory import model_size, ppo_need, require_memory
from pipeline.ml.trainers.ppo_probe import SHOWN_IN_RESULT, Probe, ProbeCallback, ProbeSettings, samples
from pipeline.ml.trainers.ppo_trainer import PPOConfig, PPOTrainer

METRICS = (
    *("reward", "score", "shaped_return", "kl", "kl_per_token", "kl_coef", "length", "eos_share", "unscorable_share"),
    *("policy_loss", "value_loss", "entropy", "clip_fraction", "value_clip_fraction", "approx_kl", "ratio_max"),
    *("explained_variance", "grad_norm", "learning_rate"),
    *("tokens_per_second", "seconds_generate", "seconds_score", "seconds_update"),
)


class RolloutCallback(StageCallback):
    """Also tells which part of a rollout is being worked on: a step can take minutes."""

    def say(self, state: TrainerState, words: str) -> None:
        self._doing = words
        self._report(state)


def run(folder: RunFolder) -> dict[str, Any]:
    """The stage: measure the start, train, measure the end, save the policy."""
    began = time.monotonic()
    config = folder.config(PPOStageConfig)
    prompts, held_out = choose_prompts(folder, config)
    tokenizer = load_tokenizer(folder.input("policy"))
    _require_room(folder, config)
    folder.events.progress(0, config.steps, stage="loading the models")
    policy = load_policy(folder.input("policy"), dtype=choose_precision(config, folder.input("policy")).weights)
    _require_context(config, policy, tokenizer, [*prompts, *held_out])
    scorer = RewardModelScorer(
        folder.input("reward_model"),
        dtype=choose_dtype(config.dtype, folder.input("reward_model")),
        batch_size=config.micro_batch_size,
    )
    probe = _make_probe(folder, config, policy, tokenizer, scorer, held_out)
    folder.events.progress(0, config.steps, stage="asking the start")
    with _computing(config):
        probe.look(0, policy, lambda: nullcontext(policy))
    calibration = calibrate([row["reward"] for row in probe.answers(0)] if config.normalize_reward else [])
    critic, origin = make_critic(folder, config, calibration)
    trainer = make_trainer(folder, config, policy, tokenizer, critic, scorer, calibration, prompts)
    _fit(folder, config, trainer, probe)
    _save(folder, config, trainer, tokenizer)
    compared = probe.compared(config.steps)
    return {
        "steps": config.steps,
        "updates": trainer.state.global_step,
        "critic": origin,
        "reward_scale": {"mean": calibration.mean, "deviation": calibration.deviation},
        "kl_coef": trainer.kl_controller.coef,
        "evaluation": policy_report(compared, sampled=True),
        "samples": samples(compared)[:SHOWN_IN_RESULT],
        "seconds": round(time.monotonic() - began, 1),
    }


# -- data ---------------------------------------------------------------------------------------------------


def choose_prompts(folder: RunFolder, config: PPOStageConfig) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on, and at most `eval_prompts` others to watch, drawn by the run's seed.

    Those to watch come from the input `eval_prompts`, else from the validation and test splits of `prompts`.
    """
    prompts = read_prompts(folder.input("prompts"))
    require_unique_ids([prompt.id for prompt in prompts])
    if folder.has_input("eval_prompts"):
        watched = read_prompts(folder.input("eval_prompts"))
        require_unique_ids([prompt.id for prompt in watched])
    else:
        watched = [prompt for prompt in prompts if split_of(prompt.messages) != "train"]
    keys = {prompt_key(prompt.messages) for prompt in watched}
    training = [prompt for prompt in prompts if prompt_key(prompt.messages) not in keys]
    if not training or not watched:
        folder.events.log("Too few prompts to hold any out: those trained on are watched.", level="warning")
        training, watched = prompts, watched or prompts
    places = random.Random(folder.seed).sample(range(len(watched)), min(len(watched), config.eval_prompts))
    return training, [watched[place] for place in sorted(places)]


def _dataset(folder: RunFolder, prompts: Sequence[Prompt]) -> Dataset:
    """TRL's rows: the conversation, and the `reference` that a checkable reward compares with."""
    ids = {prompt.id for prompt in prompts}
    references = {
        str(row.get("id", number)): row.get("reference") for number, row in read_rows(folder.input("prompts"))
    }
    return Dataset.from_dict(
        {
            "prompt": [prompt.messages for prompt in prompts],
            "reference": [references[name] for name in references if name in ids],
        }
    )


# -- models -------------------------------------------------------------------------------------------------


def _require_room(folder: RunFolder, config: PPOStageConfig) -> None:
    policy, reward = (model_size(folder.input(name)) for name in ("policy", "reward_model"))
    need = ppo_need(
        policy,
        reward,
        reward if config.critic_from == "reward_model" else policy,
        weights=choose_precision(config, folder.input("policy")).weights,
        scoring=choose_dtype(config.dtype, folder.input("reward_model")),
        rank=config.lora_rank if config.lora else None,
    )
    folder.events.log(f"The models need {need} of memory; answers in work come on top.")
    require_memory(need)


def _require_context(
    config: PPOStageConfig, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]
) -> None:
    encoded = [encode_prompt(tokenizer, prompt.messages, config.max_prompt_length) for prompt in prompts]
    require_context(policy, encoded, config.max_new_tokens)


def make_critic(folder: RunFolder, config: PPOStageConfig, calibration: Calibration) -> tuple[Critic, str]:
    """The critic, and whether it comes from the "reward_model" or the "policy".

    The critic reads the policy's tokens, so a reward model with other tokens cannot become one.
    """
    origin, weights = config.critic_from, choose_precision(config).weights
    same_tokens = (
        load_tokenizer(folder.input("policy")).get_vocab() == load_tokenizer(folder.input("reward_model")).get_vocab()
    )
    if origin == "reward_model" and not same_tokens:
        folder.events.log("The reward model has other tokens than the policy: the critic starts from the policy.")
        origin = "policy"
    if origin == "reward_model":
        critic = Critic.from_reward_model(
            folder.input(origin), dtype=weights, mean=calibration.mean, deviation=calibration.deviation
        )
    else:
        critic = Critic.from_policy(folder.input(origin), dtype=weights)
    if config.lora:
        set_seed(folder.seed)  # adapters begin at random
        critic.add_adapters(_lora(config))
    if config.gradient_checkpointing:
        critic.save_memory()
    return critic, origin


def _lora(config: PPOStageConfig, task: str | None = None) -> LoraConfig:
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=task,
    )


# -- training -----------------------------------------------------------------------------------------------


def make_trainer(
    folder: RunFolder,
    config: PPOStageConfig,
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    critic: Critic,
    scorer: RewardModelScorer,
    calibration: Calibration,
    prompts: Sequence[Prompt],
) -> PPOTrainer:
    """PPOTrainer with the stage's settings, rewards and reports."""
    arguments = trainer_arguments(config, folder)
    callback = RolloutCallback(
        folder, {name: name for name in METRICS}, updates_per_step=arguments.updates_per_rollout
    )
    rewards, calibrations = [scorer], [calibration]
    if config.verifiable != "none":
        rewards, calibrations = [*rewards, VERIFIABLE[config.verifiable]], [*calibrations, Calibration()]
        arguments.reward_weights = [1.0, config.verifiable_weight]
    trainer = PPOTrainer(
        model=policy,
        reward_funcs=rewards,
        calibrations=calibrations,
        args=arguments,
        train_dataset=_dataset(folder, prompts),
        processing_class=tokenizer,
        critic=critic,
        callbacks=[callback],
        peft_config=_lora(config, "CAUSAL_LM") if config.lora else None,
        on_phase=lambda words: callback.say(trainer.state, words),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def trainer_arguments(config: PPOStageConfig, folder: RunFolder) -> PPOConfig:
    """The stage's settings in the trainer's terms: a step is a rollout, cut into minibatches and micro-batches."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    minibatch, rest = divmod(config.rollout_size // config.minibatches, processes)
    if rest or not minibatch:
        raise StageError(f"A minibatch cannot be shared out to {processes} processes: change rollout_size.")
    micro_batch = max(size for size in range(1, config.micro_batch_size + 1) if minibatch % size == 0)
    pieces = minibatch // micro_batch
    updates = config.minibatches * config.epochs
    on_cpu = choose_device().type == "cpu"
    return PPOConfig(
        output_dir=str(folder.checkpoints),
        seed=folder.seed,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=pieces,
        steps_per_generation=config.minibatches * pieces,
        num_iterations=config.epochs,
        max_steps=config.steps * updates,
        logging_steps=updates,
        save_strategy="steps",
        save_steps=config.save_every * updates,
        save_total_limit=CHECKPOINTS_KEPT,
        learning_rate=config.learning_rate,
        critic_learning_rate=config.critic_learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=min(config.warmup_ratio, 1 - 1e-9),  # below 1 it is a share; 1 would be a single step
        max_completion_length=config.max_new_tokens,
        max_prompt_length=config.max_prompt_length,
        temperature=config.temperature,
        kl_coef=config.kl_coef,
        kl_target=config.kl_target,
        kl_horizon=config.kl_horizon,
        kl_estimator=config.kl_estimator,
        gamma=config.gamma,
        lam=config.lam,
        epsilon=config.clip_range,
        clip_value=config.clip_range_value,
        vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm,
        critic_max_grad_norm=config.critic_max_grad_norm,
        critic_warmup_updates=config.critic_warmup_updates,
        update_kl_limit=config.update_kl_limit,
        missing_eos_penalty=config.missing_eos_penalty,
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=choose_precision(config).autocast,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )


def _fit(folder: RunFolder, config: PPOStageConfig, trainer: PPOTrainer, probe: Probe) -> None:
    """Train from the newest checkpoint on; Stopped when asked to, with what can be saved saved."""

    def look(step: int) -> None:
        folder.events.progress(step, config.steps, stage="asking the policy")
        with _computing(config):
            probe.look(step, trainer.model, lambda: _start_of(trainer))
        probe.report(step)

    updates = trainer.args.updates_per_rollout
    trainer.add_callback(ProbeCallback(look, every=config.eval_every, updates_per_step=updates))
    checkpoint = folder.latest_checkpoint()
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.state.global_step < trainer.state.max_steps:
            raise Stopped("stopped between rollouts")
        look(config.steps)
    except Stopped as stop:
        trainer.save_where_it_stopped()
        raise Stopped(str(stop), step=trainer.state.global_step // updates) from None


@contextmanager
def _start_of(trainer: PPOTrainer) -> Iterator[PreTrainedModel]:
    """The model that the policy started from: its base without the adapters, or the reference."""
    if isinstance(trainer.model, PeftModel):
        with trainer.model.disable_adapter():
            yield trainer.model
    else:
        yield trainer.ref_model


def _computing(config: PPOStageConfig) -> AbstractContextManager:
    """The precision that training computes in, for looks at the policy outside of it."""
    return torch.autocast(choose_device().type, torch.bfloat16, enabled=choose_precision(config).autocast)


def _make_probe(
    folder: RunFolder,
    config: PPOStageConfig,
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scorer: RewardModelScorer,
    prompts: Sequence[Prompt],
) -> Probe:
    sampling = Sampling(
        temperature=config.temperature,
        top_p=1.0,
        max_new_tokens=config.max_new_tokens,
        ends=end_tokens(policy, tokenizer),
        pad=tokenizer.pad_token_id,
    )
    settings = ProbeSettings(sampling, folder.seed, config.max_prompt_length, batch_size=config.rollout_size)
    return Probe(folder, prompts=prompts, tokenizer=tokenizer, reward=scorer.score, settings=settings)


def _save(folder: RunFolder, config: PPOStageConfig, trainer: PPOTrainer, tokenizer: PreTrainedTokenizerBase) -> None:
    folder.events.progress(config.steps, config.steps, stage="saving the policy")
    save_model(merged(trainer.model), tokenizer, folder.model)
