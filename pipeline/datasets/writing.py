"""Writes a snapshot's files into a folder, streaming: rows by split as JSONL and Parquet, prompts, and the trace."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.models import Item
from pipeline.datasets.formats.trl_preference import LeftOut
from pipeline.datasets.settled import Settled
from pipeline.ml.splits import SHARES, prompt_key, split_of

SPLITS = tuple(name for name, _ in SHARES)
GROUP = 2000  # rows of a Parquet row group
SOURCES = {"all": ("human", "judge", "prior"), "human": ("human",), "judge": ("judge",)}


class SettingsError(ValueError):
    """A snapshot cannot be cut as asked; the message names the setting and the remedy."""


@dataclass(frozen=True)
class SnapshotSettings:
    """What a snapshot takes in."""

    format: str = "trl-preference"
    source: str = "all"  # "human": only labels that people decided; "judge": only those that judges did
    min_probability: float = 0.5  # of the better answer, ½ to 1
    seed: str = ""  # of the split; another one draws another split

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise SettingsError(f"source is {self.source!r}: use one of {', '.join(SOURCES)}.")
        if not 0.5 <= self.min_probability <= 1:
            raise SettingsError(f"The least probability is {self.min_probability}: choose one from 0.5 to 1.")


class Writer:
    """The files of one snapshot while they are written. What went into them stands in its attributes at the end."""

    def __init__(self, folder: Path, form: Any, settings: SnapshotSettings) -> None:
        self.folder = folder
        self.form = form
        self.settings = settings
        self.digest = hashlib.sha256()
        self.counts: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
        self.excluded: Counter[str] = Counter()
        self.votes: Counter[int] = Counter()  # rater → annotations
        self.prompts: set[bytes] = set()
        self.waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.open = ExitStack()

    def __enter__(self) -> Self:
        rows, prompts = self.folder / self.form.NAME, self.folder / "prompts"
        rows.mkdir(parents=True)
        prompts.mkdir()
        text = self.open_text
        self.rows = {split: text(rows / f"{split}.jsonl") for split in SPLITS}
        self.prompt_files = {split: text(prompts / f"{split}.jsonl") for split in SPLITS}
        self.trace = text(self.folder / "trace.jsonl")
        self.tables = {
            split: self.open.enter_context(pq.ParquetWriter(rows / f"{split}.parquet", self.form.SCHEMA))
            for split in SPLITS
        }
        return self

    def open_text(self, path: Path) -> IO[str]:
        return self.open.enter_context(path.open("w", encoding="utf-8"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.open:
            for split in SPLITS:
                self.flush(split)

    def write(self, page: Iterable[Settled]) -> None:
        for settled in page:
            reason = self.unwanted(settled)
            if reason:
                self.excluded[reason] += 1
                continue
            try:
                self.write_row(settled, self.form.row_of(settled))
            except LeftOut as left_out:
                self.excluded[str(left_out)] += 1

    def unwanted(self, settled: Settled) -> str:
        """Why the settings leave a label out; nothing if they do not."""
        if settled.decided_by not in SOURCES[self.settings.source]:
            return "other_source"
        if settled.value in ("a", "b") and settled.probability < self.settings.min_probability:
            return "low_probability"
        return ""

    def write_row(self, settled: Settled, row: dict[str, Any]) -> None:
        item = settled.item
        split = split_of(item.prompt, self.settings.seed)
        line = json.dumps(row, ensure_ascii=False)
        self.digest.update(f"{split}\t{line}\n".encode())
        self.rows[split].write(line + "\n")
        self.waiting[split].append(row)
        if len(self.waiting[split]) >= GROUP:
            self.flush(split)
        annotations = [annotation for annotation, _ in settled.votes]
        self.trace.write(json.dumps({"id": item.pk, "item": item.external_id, "split": split,
                                     "annotations": annotations}, ensure_ascii=False) + "\n")  # fmt: skip
        self.votes.update(rater for _, rater in settled.votes)
        self.counts.update((split, "rows", settled.decided_by, *(["sample"] if item.is_sample else [])))
        self.write_prompt(item, split)

    def write_prompt(self, item: Item, split: str) -> None:
        """Each prompt once."""
        key = prompt_key(item.prompt)
        if (short := bytes.fromhex(key)[:16]) not in self.prompts:
            self.prompts.add(short)
            row = {"id": key[:16], "prompt": item.prompt, "tags": item.tags}
            self.prompt_files[split].write(json.dumps(row, ensure_ascii=False) + "\n")

    def flush(self, split: str) -> None:
        rows, self.waiting[split] = self.waiting[split], []
        if rows:
            self.tables[split].write_table(pa.Table.from_pylist(rows, schema=self.form.SCHEMA))

    @property
    def sha256(self) -> str:
        """Of all rows with their splits, in order."""
        return self.digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """What Snapshot.counts keeps."""
        return {**self.counts, "prompts": len(self.prompts), "excluded": dict(sorted(self.excluded.items()))}
