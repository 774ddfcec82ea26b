"""The settings of every stage: one frozen dataclass a stage, each field documented and checked when made.

Standard library only: the web side builds its forms from `settings_of`, the stages read theirs with `from_dict`.
Defaults are small-machine defaults: the demo model on two CPU cores.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar


class ConfigError(ValueError):
    """A setting that cannot be: one sentence that names the field and the remedy."""


@dataclass(frozen=True)
class Setting:
    """One field of a config, as a form needs it. `kind` is int, float, bool or str."""

    name: str
    kind: type
    optional: bool
    default: Any
    label: str
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]


def setting(
    default: Any,
    label: str,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its words for people and its limits (both inclusive)."""
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata={"label": label, "help": help, **limits})


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What all configs share: every field is checked against its type and limits when the config is made."""

    def __post_init__(self) -> None:
        for item in settings_of(type(self)):
            object.__setattr__(self, item.name, _checked(item, self.__dict__[item.name]))


Config = TypeVar("Config", bound=StageConfig)


def settings_of(cls: type[StageConfig]) -> list[Setting]:
    """The fields of a config class, in the order of a form."""
    return [
        Setting(item.name, *_kind_of(item.type), item.default, **item.metadata) for item in dataclasses.fields(cls)
    ]


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A config from JSON's values; ConfigError for a key that the stage does not know or a value it cannot take."""
    known = {item.name for item in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            raise ConfigError(f"Unknown setting “{name}”: {cls.__name__} knows {', '.join(sorted(known))}.")
    return cls(**values)


def to_dict(config: StageConfig) -> dict[str, Any]:
    """All settings of a config, defaults included, in JSON's types."""
    return dataclasses.asdict(config)


def _kind_of(annotation: Any) -> tuple[type, bool]:
    """(type, may it be None) of a field annotated `int` or `float | None`."""
    if isinstance(annotation, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return kinds[0], True
    return annotation, False


def _checked(item: Setting, value: Any) -> Any:
    if value is None and item.optional:
        return None
    if item.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not item.kind:
        raise ConfigError(f"{item.name} must be {_WORDS[item.kind]}, not {value!r}.")
    if item.kind is float and not math.isfinite(value):
        raise ConfigError(f"{item.name} must be a finite number, not {value!r}.")
    if item.minimum is not None and value < item.minimum:
        raise ConfigError(f"{item.name} must be at least {item.minimum}, not {value!r}.")
    if item.maximum is not None and value > item.maximum:
        raise ConfigError(f"{item.name} must be at most {item.maximum}, not {value!r}.")
    if item.choices and value not in item.choices:
        raise ConfigError(f"{item.name} must be one of {', '.join(item.choices)}, not {value!r}.")
    return value


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

DTYPES = ("auto", "float32", "bfloat16")
TINY = 1e-12  # the least positive value of rates and temperatures that must not be zero


def _dtype() -> Any:
    return setting(
        "auto",
        "Precision",
        "auto takes bfloat16 where the processor has it, float32 elsewhere.",
        choices=DTYPES,
    )


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(StageConfig):
    """Sample responses from a policy."""

    responses_per_prompt: int = setting(
        2, "Responses per prompt", "How many answers to sample for each prompt.", minimum=1, maximum=64
    )
    max_new_tokens: int = setting(256, "Longest response", "In tokens; a longer answer is cut.", minimum=1)
    temperature: float = setting(
        0.8,
        "Temperature",
        "0 takes the likeliest token each time; 1 samples as trained.",
        minimum=0.0,
        maximum=5.0,
    )
    top_p: float = setting(
        0.95, "Top-p", "Sample among the likeliest tokens that hold this share.", minimum=TINY, maximum=1.0
    )
    max_prompt_length: int = setting(
        1024, "Longest prompt", "In tokens; longer prompts lose their beginning.", minimum=1
    )
    batch_size: int = setting(16, "Batch size", "Responses sampled together.", minimum=1)
    dtype: str = _dtype()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature == 0.0 and self.responses_per_prompt > 1:
            raise ConfigError(
                "responses_per_prompt must be 1 when temperature is 0, since all answers would be the same:"
                " raise the temperature or ask for one response."
            )


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(StageConfig):
    """Let a local model judge by the log-probability of its verdict."""

    max_length: int = setting(2048, "Longest request", "In tokens; longer ones lose their beginning.", minimum=16)
    batch_size: int = setting(8, "Batch size", "Requests scored together.", minimum=1)
    dtype: str = _dtype()


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(StageConfig):
    """Settings that the trainers share."""

    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "Peak step size of AdamW, falling linearly to 0: about 1e-4 with LoRA, 1e-5 without.",
        minimum=TINY,
        maximum=1.0,
    )
    epochs: int = setting(1, "Epochs", "Passes over the training data.", minimum=1, maximum=1000)
    max_steps: int = setting(0, "Most steps", "Stop after so many updates; 0 = all epochs.", minimum=0)
    batch_size: int = setting(
        2, "Batch size", "Pairs in one forward pass: memory grows with it, the result hardly depends on it.", minimum=1
    )
    gradient_accumulation: int = setting(
        8, "Accumulation", "Forward passes added up before one update; multiplies the batch size.", minimum=1
    )
    max_length: int = setting(
        1024, "Longest text", "In tokens, prompt and answer; longer prompts lose their beginning.", minimum=16
    )
    lora: bool = setting(True, "LoRA", "Train small adapters (merged at the end) instead of all weights.")
    lora_rank: int = setting(16, "LoRA rank", "Width of the adapters.", minimum=1, maximum=1024)
    warmup_ratio: float = setting(
        0.1, "Warm-up", "Share of the steps in which the learning rate rises.", minimum=0.0, maximum=1.0
    )
    weight_decay: float = setting(0.0, "Weight decay", "Pull of AdamW towards zero.", minimum=0.0, maximum=1.0)
    max_grad_norm: float = setting(1.0, "Gradient clip", "Largest norm of one update's gradient.", minimum=TINY)
    gradient_checkpointing: bool = setting(
        False, "Save memory", "Compute activations twice instead of keeping them: slower, for large models."
    )
    save_every: int = setting(50, "Checkpoint every", "Steps between checkpoints to resume from.", minimum=1)
    eval_every: int = setting(25, "Evaluate every", "Steps between evaluations; 0 = only at the end.", minimum=0)
    dtype: str = _dtype()


@dataclass(frozen=True, kw_only=True)
class TrainRewardConfig(TrainingConfig):
    """Train a reward model (Bradley–Terry) on preference pairs."""

    method: str = setting(
        "finetune",
        "Method",
        "finetune trains the model; head_only fits a linear head on its frozen features: minutes instead of hours.",
        choices=("finetune", "head_only"),
    )
    warm_start: bool = setting(
        True, "Warm start", "Begin with the head that fits the frozen features best, not with a random one."
    )
    lora_layers: int = setting(
        0, "LoRA layers", "Adapt only so many topmost blocks: faster, less memory; 0 = all of them.", minimum=0
    )
    head_ridge: float | None = setting(
        None,
        "Ridge of the head",
        "Penalty of the fitted head; empty = chosen by cross-validation.",
        minimum=TINY,
    )
    eval_pairs: int = setting(
        200, "Pairs watched", "Held-out pairs scored while training; all of them are at the end.", minimum=1
    )
    center_coefficient: float = setting(
        0.01, "Centring", "Weight of the penalty that keeps rewards around zero; 0 = off.", minimum=0.0
    )


@dataclass(frozen=True, kw_only=True)
class DPOStageConfig(TrainingConfig):
    """Train a policy on preference pairs, without a reward model (DPO)."""

    learning_rate: float = setting(
        3e-4,
        "Learning rate",
        "Peak step size of AdamW; it falls linearly to 0. For adapters on a small model: take a tenth of it above a "
        "billion weights, and a hundredth without adapters.",
        minimum=TINY,
        maximum=1.0,
    )
    beta: float = setting(0.1, "Beta", "How strongly the policy is held to its start; higher = closer.", minimum=TINY)
    loss: str = setting(
        "sigmoid",
        "Loss",
        "sigmoid is DPO; ipo bounds the margin and suits labels without noise.",
        choices=("sigmoid", "ipo"),
    )
    label_smoothing: float = setting(
        0.0, "Label smoothing", "Share of labels assumed to be wrong.", minimum=0.0, maximum=0.49
    )
    sft_weight: float = setting(
        0.0,
        "Imitation weight",
        "Weight of also imitating the better answers; 0.1 to 0.2 keeps them likely.",
        minimum=0.0,
    )
    eval_pairs: int = setting(
        100, "Pairs watched", "Held-out pairs read while training; all of them are at the end.", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "ipo" and self.label_smoothing > 0:
            raise ConfigError("label_smoothing has no meaning for the loss ipo: set it to 0 or take sigmoid.")


@dataclass(frozen=True, kw_only=True)
class PPOStageConfig(StageConfig):
    """Train a policy against a reward model (PPO)."""

    steps: int = setting(20, "Steps", "Rollouts, each followed by its updates.", minimum=1)
    rollout_size: int = setting(16, "Rollout size", "Answers sampled per step.", minimum=2)
    minibatches: int = setting(2, "Minibatches", "Updates per pass over one rollout.", minimum=1)
    epochs: int = setting(1, "Epochs", "Passes over one rollout.", minimum=1, maximum=100)
    micro_batch_size: int = setting(
        4, "Micro-batch", "Answers in one forward pass, at most: memory, not the result, depends on it.", minimum=1
    )
    max_prompt_length: int = setting(
        512, "Longest prompt", "In tokens; longer prompts lose their beginning.", minimum=1
    )
    max_new_tokens: int = setting(48, "Longest response", "In tokens; a longer answer is cut.", minimum=1)
    temperature: float = setting(
        1.0,
        "Temperature",
        "Of sampling, and of the probabilities that are trained.",
        minimum=TINY,
        maximum=5.0,
    )
    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "Peak step size of the policy; it falls linearly to 0. Without LoRA take about 1e-6.",
        minimum=TINY,
        maximum=1.0,
    )
    critic_learning_rate: float = setting(
        1e-4,
        "Critic's learning rate",
        "Step size of the value model; without LoRA take about 1e-5.",
        minimum=TINY,
        maximum=1.0,
    )
    warmup_ratio: float = setting(
        0.0, "Warm-up", "Share of the steps in which the learning rate rises.", minimum=0.0, maximum=1.0
    )
    kl_coef: float = setting(0.05, "KL coefficient", "Price of drifting from the start, per nat.", minimum=0.0)
    kl_target: float | None = setting(
        None, "KL target", "Nats per answer that the coefficient adapts to; empty = fixed.", minimum=TINY
    )
    kl_horizon: int = setting(10_000, "KL horizon", "Answers over which the coefficient adapts.", minimum=1)
    kl_estimator: str = setting(
        "k1", "KL estimator", "k1 is unbiased as a reward; k3 is never negative.", choices=("k1", "k3")
    )
    gamma: float = setting(1.0, "Gamma", "Discount per token.", minimum=0.0, maximum=1.0)
    lam: float = setting(
        0.95, "Lambda", "Of the advantage estimate: 1 = no bias, 0 = least noise.", minimum=0.0, maximum=1.0
    )
    clip_range: float = setting(
        0.2,
        "Clip range",
        "How far one update may move a token's probability ratio.",
        minimum=TINY,
        maximum=1.0,
    )
    clip_range_value: float | None = setting(
        None, "Value clip range", "Limit of the critic's move; empty = none.", minimum=TINY
    )
    vf_coef: float = setting(0.1, "Value weight", "Weight of the critic's loss.", minimum=0.0)
    max_grad_norm: float = setting(1.0, "Gradient clip", "Largest norm of the policy's gradient.", minimum=TINY)
    critic_max_grad_norm: float = setting(
        0.5, "Critic's gradient clip", "Largest norm of the critic's gradient.", minimum=TINY
    )
    critic_warmup_updates: int = setting(0, "Critic warm-up", "First updates that train the critic alone.", minimum=0)
    update_kl_limit: float | None = setting(
        None,
        "KL limit of an update",
        "Nats per token between the policy and the one that sampled; half as much again ends the step. Empty = none.",
        minimum=TINY,
    )
    normalize_reward: bool = setting(
        True,
        "Normalise the reward",
        "Measure rewards from the start's own answers: their mean is 0, their deviation 1.",
    )
    critic_from: str = setting(
        "reward_model",
        "Critic starts from",
        "reward_model copies body and head (from the policy, with a head of zeros, where their tokens differ).",
        choices=("reward_model", "policy"),
    )
    verifiable: str = setting(
        "none",
        "Checkable reward",
        "Added to the reward model's; two of them compare with each row's “reference”.",
        choices=("none", "valid_json", "contains_reference", "same_number"),
    )
    verifiable_weight: float = setting(
        1.0, "Weight of the checkable reward", "A right answer gains so much, in the unit of the reward.", minimum=0.0
    )
    missing_eos_penalty: float = setting(
        1.0, "Penalty for no ending", "Taken from the reward of an answer that was cut.", minimum=0.0
    )
    lora: bool = setting(True, "LoRA", "Train small adapters (merged at the end) instead of all weights.")
    lora_rank: int = setting(16, "LoRA rank", "Width of the adapters.", minimum=1, maximum=1024)
    gradient_checkpointing: bool = setting(
        False, "Save memory", "Compute activations twice instead of keeping them: slower, for large models."
    )
    save_every: int = setting(5, "Checkpoint every", "Steps between checkpoints to resume from.", minimum=1)
    eval_every: int = setting(
        5, "Evaluate every", "Steps between looks at held-out prompts; 0 = only at start and end.", minimum=0
    )
    eval_prompts: int = setting(
        16, "Held-out prompts", "Answered at each look, by the start and by the policy.", minimum=2
    )
    dtype: str = _dtype()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rollout_size % self.minibatches:
            raise ConfigError(
                f"rollout_size ({self.rollout_size}) must be a multiple of minibatches ({self.minibatches}):"
                " change one of them."
            )
        if self.rollout_size % 2:
            raise ConfigError(f"rollout_size must be even, not {self.rollout_size}: each prompt is answered twice.")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(StageConfig):
    """Settings that both evaluations share."""

    batch_size: int = setting(8, "Batch size", "Texts in one forward pass.", minimum=1)
    max_length: int = setting(
        1024, "Longest text", "In tokens, prompt and answer; longer prompts lose their beginning.", minimum=16
    )
    bootstrap_samples: int = setting(
        2000, "Bootstrap samples", "Redraws behind an interval over prompts.", minimum=100, maximum=1_000_000
    )
    dtype: str = _dtype()


@dataclass(frozen=True, kw_only=True)
class EvaluateRewardConfig(EvaluationConfig):
    """Score held-out pairs with a reward model."""

    like_length: float = setting(
        0.1,
        "Like length",
        "Pairs count as of like length up to this log ratio (0.1 is about 10%).",
        minimum=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluatePolicyConfig(EvaluationConfig):
    """Compare a policy with its start on held-out prompts, under a reward model."""

    max_prompts: int = setting(0, "Most prompts", "Evaluate on so many prompts; 0 = all.", minimum=0)
    responses_per_prompt: int = setting(
        1, "Answers per prompt", "From each of the two; more narrow the interval a little.", minimum=1, maximum=64
    )
    max_prompt_length: int = setting(
        512, "Longest prompt", "In tokens; longer prompts lose their beginning.", minimum=1
    )
    max_new_tokens: int = setting(128, "Longest response", "In tokens; a longer answer is cut.", minimum=1)
    temperature: float = setting(
        1.0,
        "Temperature",
        "0 takes the likeliest token each time; 1 samples as trained.",
        minimum=0.0,
        maximum=5.0,
    )
