"""An export is what it claims to be: `datasets` loads the folder as it is, and TRL trains on it as it is."""

import pytest
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from annotate.models import Item, Project
from pipeline.datasets.card import write_card
from pipeline.datasets.formats import FORMATS
from pipeline.datasets.settled import Settled
from pipeline.datasets.writing import SnapshotSettings, Writer
from pipeline.ml.data import read_pairs
from tests.ml.conftest import tiny_policy, tiny_tokenizer


def settled(number, **item):
    """A label as the database would give it: the better answer says yes."""
    yes, no = [[{"role": "assistant", "content": text}] for text in (f"yes {number}", "no")]
    fields = {"external_id": f"item-{number}", "tags": ["a", "b"][: number % 3], "metadata": {}, **item}
    return Settled(
        item=Item(pk=number, prompt=[{"role": "user", "content": f"Question {number}?"}], **fields),
        answers=[no, yes] if number % 2 else [yes, no],
        value="b" if number % 2 else "a",
        distribution={"a": 0.25, "b": 0.5, "tie": 0.25} if number % 2 else {"a": 0.5, "b": 0.25, "tie": 0.25},
        strength=2.0 if number % 4 else None,
        decided_by="human" if number % 5 else "judge",
    )


def write(folder, labels):
    with Writer(folder, FORMATS["trl-preference"], SnapshotSettings()) as writer:
        writer.write(labels)
    made = folder / "trl-preference"
    project = Project(name='Everyday: "help"', description="Small questions.")
    (made / "README.md").write_text(write_card(writer, project, 1), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("export") / "snapshot", [settled(number) for number in range(60)])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What `datasets` prepares goes into the test's folder and is not found again by the next test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def load_jsonl(folder):
    """The JSON lines by name, as the card says; splits without rows are no use to anybody."""
    files = {path.stem: str(path) for path in folder.glob("*.jsonl") if path.stat().st_size}
    return load_dataset("json", data_files=files)


def load_folder(folder):
    return load_dataset(str(folder))


both_forms = pytest.mark.parametrize("load", [load_folder, load_jsonl])


@both_forms
def test_the_folder_loads_as_it_is(folder, load):
    loaded = load(folder)
    assert set(loaded) == {"train", "validation", "test"}
    assert sum(len(split) for split in loaded.values()) == 60
    row = next(row for split in loaded.values() for row in split if row["item"] == "item-7")
    assert row == {
        "prompt": [{"role": "user", "content": "Question 7?"}],
        "chosen": [{"role": "assistant", "content": "yes 7"}],
        "rejected": [{"role": "assistant", "content": "no"}],
        "probability": pytest.approx(2 / 3),
        "source": "human",
        "item": "item-7",
        "tags": ["a"],
        "chosen_first": False,
        "strength": 2.0,
    }


def test_both_forms_have_the_same_types(folder):
    parquet, jsonl = load_folder(folder), load_jsonl(folder)
    assert parquet["train"].features == jsonl["train"].features
    assert parquet["train"].to_list() == jsonl["train"].to_list()


def test_splits_without_rows_and_columns_without_values_load_too(tmp_path):
    labels = [settled(number, metadata={"order_drawn": True}) for number in (0, 4)]
    loaded = load_folder(write(tmp_path / "small", labels))
    assert sum(len(split) for split in loaded.values()) == 2
    assert {value for split in loaded.values() for value in split["chosen_first"]} == {None}
    assert {split.features["chosen_first"].dtype for split in loaded.values()} == {"bool"}


def test_our_own_stages_read_it(folder):
    pairs = read_pairs(folder / "train.jsonl")
    assert {pair.chosen[0]["content"][:3] for pair in pairs} == {"yes"}
    assert [pair.probability for pair in pairs] == pytest.approx([2 / 3] * len(pairs))


def common(tmp_path):
    return {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "max_length": 64,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "bf16": False,
    }


@both_forms
def test_trl_trains_a_reward_model_on_it(folder, tmp_path, load):
    from transformers import LlamaForSequenceClassification

    base = tiny_policy().config
    base.num_labels = 1
    trainer = RewardTrainer(
        model=LlamaForSequenceClassification(base),
        args=RewardConfig(**common(tmp_path)),
        train_dataset=load(folder)["train"],
        processing_class=tiny_tokenizer(),
    )
    assert 0.3 < trainer.train().training_loss < 1.5  # about ln 2 where nothing is learned yet


def test_trl_trains_a_policy_on_it(folder, tmp_path, tiny_model_folder):
    trainer = DPOTrainer(
        model=str(tiny_model_folder),
        args=DPOConfig(**common(tmp_path)),
        train_dataset=load_folder(folder)["train"],
        processing_class=tiny_tokenizer(),
    )
    assert trainer.train().training_loss == pytest.approx(0.6931, abs=1e-3)  # ln 2: policy and reference are the same
