"""Tiny models as ordinary folders, made in a process of their own: only tests/ml may load torch itself."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLICY = (
    "import sys\n"
    "from tests.ml.conftest import tiny_policy, tiny_tokenizer\n"
    "tiny_policy().save_pretrained(sys.argv[1])\n"
    "tiny_tokenizer().save_pretrained(sys.argv[1])\n"
)


def make_policy(folder: Path) -> Path:
    """A 2-layer Llama of random weights with a byte tokenizer and a chat template."""
    subprocess.run(
        [sys.executable, "-c", POLICY, str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder
