"""Models and tokenizers in and out of ordinary folders: padding, precision, adapters."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pipeline.ml.configs import DPOStageConfig
from pipeline.ml.models import (
    add_lora,
    choose_dtype,
    has_bfloat16,
    load_policy,
    load_reward_model,
    load_tokenizer,
    merged,
    new_reward_model,
    pad_right,
    save_model,
)
from pipeline.ml.records import StageError
from pipeline.ml.trainers.arguments import choose_precision
from tests.ml.conftest import tiny_tokenizer


def test_a_padding_token_that_ends_turns_is_replaced(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token, tokenizer.unk_token = "<|end|>", "<|pad|>"
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)

    assert (loaded.pad_token, loaded.eos_token, loaded.padding_side) == ("<|pad|>", "<|end|>", "right")


def test_a_tokenizer_without_a_token_to_spare_is_refused(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "<|end|>"
    tokenizer.chat_template = "<|pad|>" + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path)

    with pytest.raises(StageError, match="no special token left for padding"):
        load_tokenizer(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(StageError, match="holds no model"):
        load_policy(tmp_path, dtype=torch.float32)


def test_the_precision_follows_the_processor(monkeypatch):
    assert choose_dtype("float32") == torch.float32
    assert choose_dtype("bfloat16") == torch.bfloat16
    for name, expected in (("avx512_bf16", True), ("amx_bf16", True), ("bf16", True), ("avx2", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {name: True})
        assert has_bfloat16() is expected
        assert choose_dtype("auto") == (torch.bfloat16 if expected else torch.float32)


@pytest.mark.parametrize(
    ("lora", "dtype", "weights", "autocast"),
    [
        (True, "bfloat16", torch.bfloat16, False),
        (False, "bfloat16", torch.float32, True),
        (True, "float32", torch.float32, False),
        (False, "float32", torch.float32, False),
    ],
)
def test_weights_that_are_trained_stay_in_float32(lora, dtype, weights, autocast):
    """An update of 1e-5 vanishes in a bfloat16 weight of 0.05, whose neighbours are 2e-4 apart."""
    precision = choose_precision(DPOStageConfig(lora=lora, dtype=dtype))
    assert (precision.weights, precision.autocast) == (weights, autocast)


def test_padding_is_on_the_right_and_masked():
    batch = pad_right([[5, 6, 7], [8]], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def adapted(folder, dtype):
    """A policy with adapters that change it visibly."""
    model = add_lora(load_policy(folder, dtype=dtype), rank=4, task="CAUSAL_LM", seed=3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return model


def test_adapters_start_as_no_change_and_the_same_for_a_seed(tiny_model_folder):
    ids = torch.tensor([[5, 6, 7]])
    base = load_policy(tiny_model_folder, dtype=torch.float32)
    before = base(ids).logits
    first, second, third = (
        add_lora(load_policy(tiny_model_folder, dtype=torch.float32), rank=4, task="CAUSAL_LM", seed=seed).state_dict()
        for seed in (3, 3, 4)
    )

    assert torch.equal(add_lora(base, rank=4, task="CAUSAL_LM")(ids).logits, before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_a_merged_model_answers_as_the_adapted_one(tiny_model_folder, tmp_path):
    ids = torch.tensor([[5, 6, 7, 8]])
    model = adapted(tiny_model_folder, torch.float32)
    plain, expected = load_policy(tiny_model_folder, dtype=torch.float32)(ids).logits, model(ids).logits
    save_model(merged(model), load_tokenizer(tiny_model_folder), tmp_path / "out")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)(ids).logits

    assert torch.allclose(saved, expected, atol=1e-5)
    assert not torch.allclose(saved, plain, atol=1e-2)
    assert load_tokenizer(tmp_path / "out").chat_template == load_tokenizer(tiny_model_folder).chat_template


def test_merging_into_a_bfloat16_model_rounds_nothing_away(tiny_model_folder):
    model = adapted(tiny_model_folder, torch.bfloat16)
    layers = {
        name.removeprefix("base_model.model."): layer
        for name, layer in model.named_modules()
        if name.endswith("_proj")
    }
    assert {layer.lora_A["default"].weight.dtype for layer in layers.values()} == {torch.float32}
    expected = {
        f"{name}.weight": layer.base_layer.weight.float()
        + 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        for name, layer in layers.items()
    }
    saved = merged(model).state_dict()

    assert len(expected) == 14
    for name, weight in expected.items():
        assert saved[name].dtype == torch.float32
        assert torch.allclose(saved[name], weight, atol=1e-7)


def test_a_model_that_training_left_in_float32_is_loaded_so(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    tokenizer = load_tokenizer(tiny_model_folder)
    base, trained = tmp_path / "base", tmp_path / "trained"
    save_model(load_policy(tiny_model_folder, dtype=torch.bfloat16), tokenizer, base)
    save_model(merged(adapted(base, torch.bfloat16)), tokenizer, trained)

    assert choose_dtype("auto", base) == torch.bfloat16
    assert choose_dtype("auto", trained) == torch.float32
    assert choose_dtype("auto", base, trained) == torch.float32, "what is compared is read in one precision"
    assert choose_dtype("bfloat16", trained) == torch.bfloat16


def test_a_reward_head_is_saved_unrounded(tiny_model_folder, tmp_path):
    tokenizer = load_tokenizer(tiny_model_folder)
    model = new_reward_model(tiny_model_folder, tokenizer, dtype=torch.bfloat16, seed=1)
    head = model.score.weight.detach().clone()
    save_model(merged(add_lora(model, rank=2, task="SEQ_CLS")), tokenizer, tmp_path)

    assert not torch.equal(head, head.bfloat16().float())
    assert torch.equal(load_reward_model(tmp_path, dtype=torch.bfloat16).score.weight, head)
