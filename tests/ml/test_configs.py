"""Settings are refused with one sentence that names the field, before anything is started."""

import dataclasses

import pytest

from pipeline.ml import configs
from pipeline.ml.stages import STAGES


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"beta": "0.1"}, "beta must be a number, not '0.1'."),
        ({"beta": True}, "beta must be a number, not True."),
        ({"beta": float("nan")}, "beta must be a finite number, not nan."),
        ({"epochs": 0}, "epochs must be at least 1, not 0."),
        ({"epochs": 1.0}, "epochs must be a whole number, not 1.0."),
        ({"epochs": None}, "epochs must be a whole number, not None."),
        ({"warmup_ratio": 1.5}, "warmup_ratio must be at most 1.0, not 1.5."),
        ({"lora": 1}, "lora must be true or false, not 1."),
        ({"dtype": "float16"}, "dtype must be one of auto, float32, bfloat16, not 'float16'."),
    ],
)
def test_a_value_that_cannot_be_is_refused(values, sentence):
    with pytest.raises(configs.ConfigError) as refusal:
        configs.from_dict(configs.DPOStageConfig, values)
    assert str(refusal.value) == sentence


def test_an_unknown_key_is_refused():
    with pytest.raises(configs.ConfigError, match="Unknown setting “learningrate”: JudgeConfig knows batch_size"):
        configs.from_dict(configs.JudgeConfig, {"learningrate": 1})


@pytest.mark.parametrize(
    ("config", "values", "field"),
    [
        (configs.GenerateConfig, {"temperature": 0.0}, "responses_per_prompt must be 1"),
        (configs.DPOStageConfig, {"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing has no meaning"),
        (configs.PPOStageConfig, {"rollout_size": 7}, "rollout_size"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(config, values, field):
    with pytest.raises(configs.ConfigError, match=field):
        configs.from_dict(config, values)


def test_a_whole_number_serves_where_a_number_is_asked_for():
    assert configs.from_dict(configs.PPOStageConfig, {"kl_coef": 1}).kl_coef == 1.0
    assert isinstance(configs.from_dict(configs.PPOStageConfig, {"kl_coef": 1}).kl_coef, float)


def test_an_optional_number_may_be_left_empty():
    assert configs.from_dict(configs.PPOStageConfig, {"kl_target": None}).kl_target is None
    assert configs.from_dict(configs.PPOStageConfig, {"kl_target": 6}).kl_target == 6.0


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_every_stages_settings_are_documented_and_go_through_json(stage):
    config = stage.config()
    settings = configs.settings_of(stage.config)

    assert [item.name for item in settings] == [item.name for item in dataclasses.fields(stage.config)]
    assert all(item.label and item.help for item in settings)
    assert configs.from_dict(stage.config, configs.to_dict(config)) == config


def test_a_form_learns_a_settings_kind_and_limits():
    settings = {item.name: item for item in configs.settings_of(configs.TrainRewardConfig)}

    ridge = settings["head_ridge"]
    assert (ridge.kind, ridge.optional, ridge.default) == (float, True, None)
    assert settings["method"].choices == ("finetune", "head_only")
    assert (settings["epochs"].kind, settings["epochs"].minimum, settings["epochs"].default) == (int, 1, 1)
