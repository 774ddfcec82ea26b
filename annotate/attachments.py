"""The pictures of projects: the sole writer of Attachment and of the files that lie under their hashes."""

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.urls import reverse

from annotate import imaging
from annotate.imaging import Picture
from annotate.models import Attachment, Project

SCHEME = "attachment:"
FOLDER = "attachments"
ASIDE = ".swept"  # what a file on its way out is called
KEPT_FOR = timedelta(days=7)  # far longer than any import takes
BATCH = 500  # hashes in one statement


@dataclass(frozen=True, slots=True)
class Incoming:
    """A picture on its way in: what is to be kept, the hash of the file as it came, and where it came from."""

    picture: Picture
    original: str
    source: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a page shows it: its address, and its size in pixels, so that nothing jumps while it loads."""

    address: str
    width: int
    height: int


def file_name(sha256: str) -> str:
    """Where a picture lies in the storage."""
    return f"{FOLDER}/{sha256[:2]}/{sha256}.webp"


def with_files(*, project: Project, incoming: Iterable[Incoming]) -> list[Attachment]:
    """Write the files of pictures, and return the rows that `keep` saves.

    Files come first and outside any transaction: nobody waits for a lock meanwhile, and no row ever lacks its file.
    Should the rows never be saved, a file is seen by nobody and taken up by the next import of the same picture.
    """
    rows = []
    for one in incoming:
        store(one.picture)
        rows.append(
            Attachment(
                project=project,
                sha256=one.picture.sha256,
                original=one.original,
                content_type=imaging.CONTENT_TYPE,
                width=one.picture.width,
                height=one.picture.height,
                size=len(one.picture.data),
                source=one.source[:500],
            )
        )
    return rows


def keep(*, rows: Iterable[Attachment]) -> None:
    """Let members see pictures whose files are written. What the project has already is left as it is."""
    Attachment.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def store(picture: Picture) -> None:
    name = file_name(picture.sha256)
    if not taken_up(Path(default_storage.path(name)), len(picture.data)):
        default_storage.save(name, ContentFile(picture.data))


def taken_up(path: Path, size: int) -> bool:
    """Is the file there whole? Then it is young again, so that the sweep leaves it; what a crash left of it goes."""
    try:
        if path.stat().st_size == size:
            os.utime(path)
            return True
        path.unlink()
    except FileNotFoundError:
        pass  # it was never there, or was swept this very moment
    return False


def opened(sha256: str) -> File:
    """The file of a kept picture, to read. Raises FileNotFoundError."""
    return default_storage.open(file_name(sha256))


# --- Files that nobody has ------------------------------------------------------------------------------------
def sweep() -> int:
    """Delete old files that no project has any more, or ever had; returns how many.

    An import writes its files first and its rows at its end. No import takes KEPT_FOR, and one that needs a file
    which is there makes it young; so an old file without a row is nobody's.
    """
    before = time.time() - KEPT_FOR.total_seconds()
    folders = default_storage.listdir(FOLDER)[0] if default_storage.exists(FOLDER) else []
    return sum(remove(path, before) for folder in sorted(folders) for path in nobodys(folder, before))


def nobodys(folder: str, before: float) -> list[Path]:
    """The files of one folder that are older than this moment (seconds since 1970) and that no project has."""
    place = Path(default_storage.path(f"{FOLDER}/{folder}"))
    old = {path.name: path for path in place.iterdir() if written(path) < before}
    names = sorted(old)
    for start in range(0, len(names), BATCH):
        hashes = [Path(name).stem for name in names[start : start + BATCH]]
        for sha256 in Attachment.objects.filter(sha256__in=hashes).values_list("sha256", flat=True):
            old.pop(Path(file_name(sha256)).name, None)
    return sorted(old.values())


def written(path: Path) -> float:
    """Seconds since 1970; never, for a file that another sweep has just deleted."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def remove(path: Path, before: float) -> bool:
    """Delete the file, unless an import has taken it up meanwhile; it is looked at once nobody else can find it."""
    aside = path.with_suffix(ASIDE)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False  # another worker sweeps too
    if before <= written(aside) < math.inf:
        aside.rename(path)
        return False
    aside.unlink(missing_ok=True)
    return True


def shown(project: Project, hashes: Iterable[str]) -> Mapping[str, Shown]:
    """Hash → picture for those that the project has."""
    found = Attachment.objects.filter(project=project, sha256__in=list(hashes))
    return {
        sha256: Shown(reverse("attachment", args=[project.slug, sha256]), width, height)
        for sha256, width, height in found.values_list("sha256", "width", "height")
    }
