"""What a stage reads and leaves behind: its run folder, and the events file that others follow.

Standard library only, because the web side reads these files too. A run's folder holds `run.json` (what to do),
`events.jsonl` (what happened, one JSON object a line), `checkpoints/`, `result.json`, `model/` and, written last,
`manifest.json`: a folder with a manifest is complete and never changes again.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline.ml.configs import StageConfig, from_dict

Config = TypeVar("Config", bound=StageConfig)

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "numpy")
LOCK_PATIENCE = 1.0  # seconds; `is_held` takes the lock for an instant to look, and must not make a start fail
NOT_IN_MANIFEST = {
    "manifest.json", "events.jsonl", "run.lock",
    "launch.json", "stdout.log", "stderr.log",  # whoever starts the stage writes these beside it
}  # fmt: skip


class StageError(Exception):
    """A failure that was foreseen, with one sentence for the user that says what to do."""


class AlreadyRunning(StageError):
    """Another live process works in this run's folder."""


class Stopped(Exception):
    """The stage was asked to stop; what could be saved is saved."""

    def __init__(self, message: str = "stopped", step: int = 0) -> None:
        super().__init__(message)
        self.step = step


def is_main_process() -> bool:
    """True for the one process that writes files (accelerate and torchrun number their processes in RANK)."""
    return os.environ.get("RANK", "0") == "0"


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_folder(path: Path | str) -> str:
    """SHA-256 over the names and contents of all files below a folder, in the order of their names."""
    root = Path(path)
    digest = hashlib.sha256()
    for file in sorted(item for item in root.rglob("*") if item.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()}\0{hash_file(file)}\n".encode())
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all: to a temporary name, flushed to the disk, then renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(plain(value), stream, ensure_ascii=False, indent=2, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def plain(value: Any) -> Any:
    """The same value in JSON's types: NaN and infinities become null, NumPy and torch scalars become floats."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return plain(float(value))


def package_versions() -> dict[str, str]:
    """Installed versions of Python and of what training depends on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


class Events:
    """The append-only events file; every method writes one line and flushes it.

    A last line torn by a killed process is dropped when the file is opened again. Without a path nothing is
    written: so do the processes of a multi-process launch that are not the main one.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: IO[str] | None = None

    def metric(self, step: int, **values: Any) -> None:
        self._write("metric", step=step, values=values)

    def progress(self, step: int, total: int, **more: Any) -> None:
        self._write("progress", step=step, total=total, **more)

    def log(self, message: str, level: str = "info") -> None:
        self._write("log", message=message, level=level)

    def sample(self, step: int, **fields: Any) -> None:
        self._write("sample", step=step, **fields)

    def checkpoint(self, step: int, path: Path) -> None:
        self._write("checkpoint", step=step, path=path)

    def done(self, result: Mapping[str, Any]) -> None:
        self._write("done", result=result)

    def failed(self, message: str, expected: bool, traceback: str = "") -> None:
        self._write("failed", message=message, expected=expected, traceback=traceback)

    def stopped(self, step: int) -> None:
        self._write("stopped", step=step)

    def _write(self, event: str, **fields: Any) -> None:
        if self._path is None:
            return
        if self._stream is None:
            _drop_torn_line(self._path)
            self._stream = self._path.open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - kept open
        line = {"t": round(time.time(), 3), "event": event, **plain(fields)}
        self._stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as stream:
        stream.truncate(stream.read().rfind(b"\n") + 1)


def read_events(path: Path | str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events from a byte offset on, and the offset to go on from; a line still being written is left for later."""
    try:
        with Path(path).open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.strip()], offset + len(whole)


class RunFolder:
    """A folder with a `run.json`: what a stage is told to do, and where it puts what it makes."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).resolve()
        self.spec: dict[str, Any] = _read_spec(self.path / "run.json")
        self.stage: str = self.spec["stage"]
        self.seed: int = int(self.spec.get("seed", 0))
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.events = Events(self.path / "events.jsonl" if is_main_process() else None)
        self._lock: IO[str] | None = None
        self._checked: set[str] = set()

    def config(self, cls: type[Config]) -> Config:
        """The stage's settings; those not named in run.json take their defaults."""
        return from_dict(cls, self.spec.get("config", {}))

    def has_input(self, name: str) -> bool:
        """Was this (optional) input given?"""
        return name in self.spec.get("inputs", {})

    def input(self, name: str) -> Path:
        """The path of an input whose content is the one the run was made for; StageError otherwise."""
        if not self.has_input(name):
            raise StageError(f"The run names no input “{name}”, which {self.stage} needs: add it to run.json.")
        entry = self.spec["inputs"][name]
        path = (self.path / entry["path"]).resolve()
        if not path.exists():
            raise StageError(f"The input “{name}” is missing: {path} does not exist.")
        if entry.get("sha256") and name not in self._checked:
            found = hash_folder(path) if path.is_dir() else hash_file(path)
            if found != entry["sha256"]:
                raise StageError(f"The input “{name}” ({path}) has changed since the run was made: start a new run.")
            self._checked.add(name)
        return path

    def acquire(self) -> None:
        """Hold this folder while this object lives, at most until the process ends; AlreadyRunning where it is held.

        Also clears what a killed process may have left: checkpoints without their mark of completeness.
        """
        if not is_main_process():
            return
        lock = (self.path / "run.lock").open("a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                lock.close()
                raise AlreadyRunning(f"Another process is working in {self.path}: wait for it or stop it first.")
            time.sleep(0.02)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        for folder in _checkpoint_folders(self.checkpoints):
            if not (folder / "complete.json").exists():
                shutil.rmtree(folder)

    def release(self) -> None:
        """Let go of the folder (a process that ends does so by itself)."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @staticmethod
    def is_held(path: Path | str) -> bool:
        """Does a live process work in this folder?"""
        try:
            with (Path(path) / "run.lock").open(encoding="utf-8") as lock:
                return not _try_lock(lock, fcntl.LOCK_SH)  # shared: two that look at once must not see each other
        except FileNotFoundError:
            return False

    def latest_checkpoint(self) -> Path | None:
        """The newest complete `checkpoints/checkpoint-N`; one whose writing was cut short does not count."""
        complete = [item for item in _checkpoint_folders(self.checkpoints) if (item / "complete.json").exists()]
        return max(complete, key=_checkpoint_step, default=None)

    def has_checkpoint(self, number: int) -> bool:
        """Is `checkpoints/checkpoint-{number}` there and complete?"""
        return (self.checkpoints / f"checkpoint-{number}" / "complete.json").exists()

    def mark_checkpoint(self, number: int, *, step: int | None = None) -> None:
        """Declare `checkpoints/checkpoint-{number}` complete and say so; call it when all its files are there.

        `step` is the step that people see, where it is another than the trainer's count of updates.
        """
        folder = self.checkpoints / f"checkpoint-{number}"
        step = number if step is None else step
        write_json(folder / "complete.json", {"step": step, "t": round(time.time(), 3)})
        self.events.checkpoint(step, folder)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Record the result, then the manifest; checkpoints, which only serve to resume, are deleted."""
        if not is_main_process():
            return
        write_json(self.path / "result.json", result)
        self.events.done(result)
        files = {name: {"bytes": size, "sha256": digest} for name, size, digest in self._files()}
        write_json(self.path / "manifest.json", {"files": files, "versions": package_versions()})
        shutil.rmtree(self.checkpoints, ignore_errors=True)  # not before: a kill in between would cost the whole run

    def is_complete(self) -> bool:
        """Is the manifest, which is written last, there?"""
        return (self.path / "manifest.json").exists()

    def _files(self) -> Iterator[tuple[str, int, str]]:
        for file in sorted(item for item in self.path.rglob("*") if item.is_file()):
            name = file.relative_to(self.path).as_posix()
            if name not in NOT_IN_MANIFEST and not name.startswith("checkpoints/") and not name.endswith(".tmp"):
                yield name, file.stat().st_size, hash_file(file)


def _read_spec(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"There is no run.json in {path.parent}.") from None
    except ValueError as error:
        raise StageError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(spec, dict) or not isinstance(spec.get("stage"), str):
        raise StageError(f"{path} must be an object that names its “stage”.")
    return spec


def _try_lock(stream: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checkpoint_folders(folder: Path) -> list[Path]:
    return [item for item in folder.glob("checkpoint-*") if item.name.removeprefix("checkpoint-").isdigit()]


def _checkpoint_step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
