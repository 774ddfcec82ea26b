"""ZIP archives: one file of rows, and the pictures that the rows name by their paths in it.

An archive is never unpacked onto the disk, so a path in it leads nowhere; names that try to are refused all the same,
since whoever wrote them meant harm or made a mistake. What may be read is bounded by the sizes that the archive
declares, and Python's reader gives no byte more than an entry declares.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from annotate.imaging import EXTENSIONS, MOST_BYTES
from annotate.importing.errors import RowError

ZIP = b"PK\x03\x04"
ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".jsonl.gz", ".ndjson.gz", ".json.gz", ".csv.gz", ".tsv.gz")
MOST_ENTRIES = 50_000
MOST_UNPACKED = 20 * 1024**3  # bytes in all
MOST_SWELLING = 2000  # times: no picture, and no file of rows that anybody wrote, packs so well
SMALL = 10 * 1024 * 1024  # bytes that may swell as they like
NO_ROWS = (
    "this is a ZIP or Excel file without rows: save the sheet as CSV, or put one .jsonl or .csv file into the ZIP."
)
UNREADABLE = "the ZIP file is damaged and cannot be read: pack it again."


class Archive:
    """An archive whose entries are all harmless, with exactly one file of rows."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        """Raises RowError, naming the entry that is in the way."""
        self.packed = packed
        entries = [entry for entry in packed.infolist() if not entry.is_dir()]
        check_entries(entries)
        self.entries = {entry.filename: entry for entry in entries}
        self.rows = rows_in(self.entries)
        self.folder = PurePosixPath(self.rows).parent

    def open_rows(self) -> BinaryIO:
        return self.packed.open(self.rows)  # type: ignore[return-value]

    def entry(self, path: str) -> str | None:
        """The picture that a row means by a path: seen from the file of rows, else from the top; None without one."""
        if not path.lower().endswith(EXTENSIONS):
            return None
        names = (str(self.folder / path), str(PurePosixPath(path)))
        return next((name for name in names if name in self.entries), None)

    def read(self, name: str) -> bytes:
        """The bytes of a picture. Raises ValueError where it cannot be read."""
        if self.entries[name].file_size > MOST_BYTES:
            raise ValueError(f"has {self.entries[name].file_size / 1e6:.0f} MB: shrink it.")
        try:
            return self.packed.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
            raise ValueError("cannot be unpacked: pack the archive again.") from None


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Raises RowError where the file is no archive, or holds what must not come in."""
    try:
        packed = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise RowError(
            1, "this is a ZIP or Excel file that is damaged: pack it again, or save the sheet as CSV."
        ) from None
    with packed:
        yield Archive(packed)


def is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


def check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Raise RowError for the first entry that must not come in."""
    if len(entries) > MOST_ENTRIES:
        raise RowError(1, f"the ZIP holds {len(entries):,} files: split it, {MOST_ENTRIES:,} at most.")
    names: set[str] = set()
    for entry in entries:
        problem = problem_of(entry) or ("is in it twice: leave one of them" if entry.filename in names else "")
        if problem:
            raise RowError(1, f"“{entry.filename[:120]}” in the ZIP {problem}.")
        names.add(entry.filename)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_UNPACKED:
        raise RowError(
            1, f"the ZIP unpacks to {unpacked / 1e9:.0f} GB: split it, {MOST_UNPACKED / 1e9:.0f} GB at most."
        )


def problem_of(entry: zipfile.ZipInfo) -> str:
    """What is wrong with an entry, as the rest of a sentence about it; empty where nothing is."""
    name, mode = entry.filename, entry.external_attr >> 16
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "has an absolute path: pack the folder with relative paths"
    if ".." in name.split("/"):
        return "leads out of the archive (..): pack the folder itself"
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or no plain file: put the file itself into the archive"
    if entry.flag_bits & 1:
        return "is encrypted: pack it without a password"
    if entry.file_size > SMALL and entry.file_size > MOST_SWELLING * max(entry.compress_size, 1):
        return f"swells to {entry.file_size / 1e6:,.0f} MB when unpacked: it is refused as a ZIP bomb"
    if name.lower().endswith(EXTENSIONS) and entry.file_size > MOST_BYTES:
        return f"has {entry.file_size / 1e6:.0f} MB: shrink it to {MOST_BYTES // 2**20} MB at most"
    return ""


def rows_in(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The name of the one file of rows. What systems and people leave beside it does not matter."""
    found = sorted(name for name in entries if name.lower().endswith(ROWS) and not is_left_over(name))
    if not found:
        raise RowError(1, NO_ROWS)
    if len(found) > 1:
        raise RowError(1, f"the ZIP holds “{found[0][:80]}” and “{found[1][:80]}”: leave one file of rows in it.")
    return found[0]


def is_left_over(name: str) -> bool:
    return any(part == "__MACOSX" or part.startswith(".") for part in name.split("/"))
