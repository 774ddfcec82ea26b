"""A snapshot for elsewhere: a folder that `datasets.load_dataset` takes as it is, or the same as a ZIP stream."""

import io
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.datasets.snapshots import SnapshotError, format_folder
from pipeline.ml.records import hash_file, write_json
from pipeline.models import Snapshot

CHUNK = 1024 * 1024  # bytes
EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for all files, so that the same snapshot makes the same ZIP


def check_out(out: Path) -> None:
    """Raise SnapshotError where a folder holds something already, or is none."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SnapshotError(f"{out} is not empty: name a folder that is, or that does not exist yet.")


def export_snapshot(*, snapshot: Snapshot, out: Path) -> list[str]:
    """Copy a snapshot's dataset to `out`, whole or not at all; returns the names of the files.

    Raises SnapshotError where `out` holds something already, or cannot be written.
    """
    check_out(out)
    source = format_folder(snapshot)
    unfinished = out.absolute().parent / f".{out.name}-{secrets.token_hex(6)}"
    try:
        shutil.copytree(source, unfinished)
        names = sorted(path.name for path in unfinished.iterdir())
        facts = {"project": snapshot.project.slug, "snapshot": snapshot.number, "sha256": snapshot.sha256}
        files = {name: {"sha256": hash_file(unfinished / name)} for name in names}
        write_json(unfinished / "manifest.json", {**facts, "files": files})
        unfinished.replace(out.absolute())  # onto an empty folder or nothing; anything else fails
    except OSError as error:
        raise SnapshotError(f"{out} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [*names, "manifest.json"]


class Outlet(io.RawIOBase):
    """What a ZIP is written into, to be taken out bit by bit."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(self.parts[-1])

    def take(self) -> bytes:
        taken, self.parts = b"".join(self.parts), []
        return taken


def zip_stream(snapshot: Snapshot) -> Iterator[bytes]:
    """A snapshot's dataset as a ZIP, piece by piece: memory does not grow with it. Raises SnapshotError at once."""
    folder = format_folder(snapshot)
    return zipped(folder, f"{snapshot.project.slug}-snapshot-{snapshot.number}")


def zipped(folder: Path, name: str) -> Iterator[bytes]:
    outlet = Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{name}/{path.name}", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield outlet.take()
    yield outlet.take()
