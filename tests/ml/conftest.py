"""Tiny models made from a config, run folders, and rows that a tiny model can learn; nothing is fetched."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the libraries are imported, hence up here
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.ml import stopping
from pipeline.ml.records import RunFolder

ROOT = Path(__file__).resolve().parents[2]
PAD, START, END = "<|pad|>", "<|start|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def tiny_tokenizer():
    """A byte-level tokenizer: 256 bytes and three special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([PAD, START, END, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, START, END])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, bos_token=START)
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_policy(seed=0, hidden=32):
    """A 2-layer Llama with random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    """An ordinary model folder: 2-layer Llama, byte tokenizer, chat template. Do not write into it."""
    folder = tmp_path_factory.mktemp("tiny-model")
    tiny_policy().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def preference_rows(count, start=0):
    """Conversational pairs that a tiny model can learn: the good answer says yes, the bad one says no."""
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {number}?"}],
            "chosen": [{"role": "assistant", "content": "yes" + "." * (number % 3)}],
            "rejected": [{"role": "assistant", "content": "no" + "." * (number % 4)}],
            "item": str(number),
            "tags": ["even" if number % 2 == 0 else "odd"],
            "source": "human",
            "chosen_first": number % 3 == 0,
        }
        for number in range(start, start + count)
    ]


def write_rows(path, rows):
    """A JSONL file; returns its path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_run(path, stage, inputs, config=None, seed=17):
    """A run folder with its run.json; returns the path of run.json."""
    path.mkdir(parents=True, exist_ok=True)
    entries = {name: {"path": str(value)} for name, value in inputs.items()}
    spec = {"stage": stage, "run": 1, "seed": seed, "config": config or {}, "inputs": entries}
    (path / "run.json").write_text(json.dumps(spec), encoding="utf-8")
    return path / "run.json"


def stage_process(*arguments):
    """`python -m pipeline.ml …` as a child process, with its output captured when waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.ml", *[str(item) for item in arguments]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def run_folder(tmp_path):
    """Make a RunFolder: `run_folder("train_reward", inputs, config)`; call it again with `name=` for another."""

    def make(stage, inputs, config=None, seed=17, name="run"):
        write_run(tmp_path / name, stage, inputs, config, seed)
        return RunFolder(tmp_path / name)

    return make


@pytest.fixture(autouse=True)
def nobody_asked_to_stop():
    """A stop asked for in one test must not reach the next, nor must a stage's signal handlers stay."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stopping.clear()
    yield
    stopping.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


TRAINING = {"dpo", "exported_datasets", "generate", "ppo", "ppo_learning", "ppo_stage", "train_reward"}


def pytest_collection_modifyitems(items):
    """What trains takes longer than the everyday part may."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.stem.removeprefix("test_") in TRAINING:
            item.add_marker(pytest.mark.stage)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Several test processes share few cores, and tiny tensors gain nothing from threads."""
    torch.set_num_threads(1)
