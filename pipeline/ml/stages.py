"""The one table of stage names: for the command line, for a Run's kind, and for `python -m pipeline.ml`.

A new stage is a row here, a config in configs.py and a module with `run(folder: RunFolder) -> dict`. Modules are
named, not imported: reading this table must not load torch.
"""

from dataclasses import dataclass

from pipeline.ml import configs


@dataclass(frozen=True)
class Stage:
    """A kind of work: its module, its settings and the names of the inputs it reads."""

    name: str
    title: str
    module: str
    config: type[configs.StageConfig]
    inputs: tuple[str, ...]
    optional_inputs: tuple[str, ...] = ()


_ROWS = (
    Stage("generate", "Generate responses", "pipeline.ml.generate", configs.GenerateConfig, ("model", "prompts")),
    Stage("judge", "Judge responses", "pipeline.ml.judge", configs.JudgeConfig, ("model", "requests")),
    Stage(
        "judge_reward",
        "Judge responses by reward models",
        "pipeline.ml.judge_reward",
        configs.JudgeConfig,
        ("model", "requests"),
        tuple(f"model_{number}" for number in range(2, 9)),
    ),
    Stage(
        "train_reward",
        "Train a reward model",
        "pipeline.ml.trainers.reward",
        configs.TrainRewardConfig,
        ("base", "train"),
        ("eval",),
    ),
    Stage(
        "dpo",
        "Train a policy with DPO",
        "pipeline.ml.trainers.dpo",
        configs.DPOStageConfig,
        ("policy", "train"),
        ("eval", "reference"),
    ),
    Stage(
        "ppo",
        "Train a policy with PPO",
        "pipeline.ml.trainers.ppo",
        configs.PPOStageConfig,
        ("policy", "reward_model", "prompts"),
        ("eval_prompts",),
    ),
    Stage(
        "evaluate_reward",
        "Evaluate a reward model",
        "pipeline.ml.evaluation.reward",
        configs.EvaluateRewardConfig,
        ("model", "pairs"),
    ),
    Stage(
        "evaluate_policy",
        "Evaluate a policy",
        "pipeline.ml.evaluation.policy",
        configs.EvaluatePolicyConfig,
        ("policy", "start", "reward_model", "prompts"),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _ROWS}
