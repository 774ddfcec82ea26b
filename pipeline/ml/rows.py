"""Row files that survive a kill: JSON objects, one a line, appended and flushed batch by batch.

Opening such a file again drops a line that was cut short and tells which rows are there, so that a stage goes on
where it was interrupted and no row is written twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.ml.records import is_main_process


class RowFile:
    """An append-only JSON-lines file; `rows` holds what was in it when it was opened and what was added since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _drop_torn_line(path)
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(encoding="utf-8") as stream:
                self.rows = [json.loads(line) for line in stream]

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows to the disk before anything else happens; of several processes only the main one writes."""
        new = [dict(row) for row in rows]
        self.rows.extend(new)
        if not is_main_process():
            return
        # backslashreplace: a lone surrogate, which JSON may carry but UTF-8 cannot, must not end a run.
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in new)
            stream.flush()
            os.fsync(stream.fileno())


def _drop_torn_line(path: Path) -> None:
    """Cut the file after its last line end: what follows was being written when the process died."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        data = stream.read()
        stream.truncate(data.rfind(b"\n") + 1)
