"""The pictures of projects: the sole writer of Attachment and of the files that lie under their hashes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.urls import reverse

from annotate import imaging
from annotate.imaging import Picture
from annotate.models import Attachment, Project

SCHEME = "attachment:"
FOLDER = "attachments"


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
    if default_storage.exists(name):
        if default_storage.size(name) == len(picture.data):
            return
        default_storage.delete(name)  # what a crash left of it
    default_storage.save(name, ContentFile(picture.data))


def opened(sha256: str) -> File:
    """The file of a kept picture, to read. Raises FileNotFoundError."""
    return default_storage.open(file_name(sha256))


def shown(project: Project, hashes: Iterable[str]) -> Mapping[str, Shown]:
    """Hash → picture for those that the project has."""
    found = Attachment.objects.filter(project=project, sha256__in=list(hashes))
    return {
        sha256: Shown(reverse("attachment", args=[project.slug, sha256]), width, height)
        for sha256, width, height in found.values_list("sha256", "width", "height")
    }
