"""What the tests of importing share: writing small files, and the questions of a project without a database."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def asked():
    """A preference on seven points and an optional rating from 1 to 5, by name, as a project would ask them."""
    preference = SimpleNamespace(
        name="preference", kind="preference", title="Which?", required=True, config={"points": 7}
    )
    helpful = SimpleNamespace(
        name="helpful", kind="rating", title="Helpful", required=True, config={"min": 1, "max": 5}
    )
    return {"preference": preference, "helpful": helpful}


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path: text or bytes as they are, a list as JSON lines; `.gz` is packed."""

    def to_file(content, name: str = "items.jsonl") -> Path:
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        data = content if isinstance(content, bytes) else content.encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return to_file
