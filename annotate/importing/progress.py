"""How far an import is, and whether it is to stop, in small files beside the uploads.

Not in the database: on SQLite nobody else can write while an import's one transaction is open, and on PostgreSQL
what that transaction writes is not seen before its end. The same files show that somebody is at work: a worker
that was killed leaves a progress file that grows old.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from annotate.importing.errors import ImportStopped

EVERY = 0.5  # seconds between two writes
LITTLE = 1.0  # seconds of work that say nothing about the rest
CHECKING, WRITING = "checking", "writing"


@dataclass(frozen=True)
class Progress:
    """One look at an import: `done` of `total` bytes when checking, rows when writing; `seconds` in this stage."""

    stage: str
    done: int
    total: int
    rows: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Until the end of this stage, at the pace so far; None as long as that says little."""
        if not self.done or self.seconds < LITTLE:
            return None
        return self.seconds * (self.total - self.done) / self.done


def folder() -> Path:
    """Where uploads and what belongs to them lie."""
    path = Path(settings.MEDIA_ROOT) / "imports"
    path.mkdir(parents=True, exist_ok=True)
    return path


def progress_file(import_id: int) -> Path:
    return folder() / f"{import_id}.progress"


def stop_file(import_id: int) -> Path:
    return folder() / f"{import_id}.stop"


def read(import_id: int) -> Progress | None:
    """The last progress that a worker reported; None before the first."""
    try:
        return Progress(**json.loads(progress_file(import_id).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def last_sign(import_id: int) -> datetime | None:
    """When a worker last reported; None where none does."""
    try:
        return datetime.fromtimestamp(progress_file(import_id).stat().st_mtime, tz=UTC)
    except FileNotFoundError:
        return None


def ask_to_stop(import_id: int) -> None:
    stop_file(import_id).touch()


def clear(import_id: int) -> None:
    """Forget what earlier attempts left."""
    progress_file(import_id).unlink(missing_ok=True)
    stop_file(import_id).unlink(missing_ok=True)


@dataclass
class Reporter:
    """Writes one import's progress, at most twice a second, and raises ImportStopped when asked to."""

    import_id: int
    tell: Callable[[Progress], None] = lambda progress: None
    rows: int = 0
    stage: str = ""
    began: float = 0.0
    last: float = field(default=0.0)
    done: int = 0
    total: int = 0

    def checking(self, done: int, total: int, rows: int) -> None:
        """The first pass: bytes read, bytes in all, rows read."""
        self.rows = rows
        self.report(CHECKING, done, total)

    def writing(self, done: int) -> None:
        """The second pass: rows written, of those that the first pass counted."""
        self.report(WRITING, done, self.rows)

    def alive(self) -> None:
        """Still at the same place: fetching a picture may take a while."""
        self.report(self.stage or CHECKING, self.done, self.total)

    def report(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        self.done, self.total = done, total
        if stage != self.stage:
            self.stage, self.began, self.last = stage, now, 0.0
        if now - self.last < EVERY:
            return
        self.last = now
        if stop_file(self.import_id).exists():
            raise ImportStopped
        progress = Progress(stage, done, total, self.rows, now - self.began)
        path = progress_file(self.import_id)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        fresh.replace(path)  # a page never reads half of it
        self.tell(progress)
