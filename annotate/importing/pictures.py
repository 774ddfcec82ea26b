"""The pictures that the rows of one file name: found, made harmless, and put into the texts by their hashes.

Wherever a row has an image, its text then says `![alt](attachment:<sha256>)`, so that everything downstream goes on
knowing messages by role and text. The first pass over a file makes the pictures, outside the database; the second
finds them made, and keeps them in the transaction that writes the items.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotate import attachments, imaging
from annotate.attachments import Incoming
from annotate.imaging import Picture, harmless
from annotate.importing import archives, fetching
from annotate.importing.archives import Archive
from annotate.importing.content import IMAGE_PARTS
from annotate.importing.errors import ItemError
from annotate.models import Attachment, Project

DATA = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)
REMOTE = re.compile(r"https?://", re.IGNORECASE)
MARKDOWN = re.compile(r"!\[([^\[\]]*)\]\(\s*<?([^()\s<>]+)>?(?:\s+[\"'][^\"'\n]*[\"'])?\s*\)")
UNTOUCHED = ("metadata", "annotations", "gold", "tags", "id", "for")
LONGEST_ALT = 500


class Pictures:
    """The pictures of one file on their way into one project."""

    def __init__(
        self,
        project: Project,
        archive: Archive | None,
        folder: Path,
        alive: Callable[[], None] = lambda: None,
        only: int | None = None,
    ) -> None:
        """`folder` holds them in between; `alive` is called before each.

        With `only` it is for a look at the first rows, which is to be quick: so many pictures are made, the others
        stay their words, and addresses stay links.
        """
        self.project, self.archive, self.folder, self.alive, self.only = project, archive, folder, alive, only
        self.hosts = fetching.hosts_in(project.image_hosts)
        self.known: dict[str, str] = {}  # where it is named → hash
        self.made: dict[str, tuple[str, str, int, int]] = {}  # hash → original, source, width, height
        self.by_original: dict[str, str] = {}

    def placed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A row whose images are Markdown in its texts. Raises ItemError for one that cannot be taken."""
        return {name: value if name in UNTOUCHED else self.placed_in(value) for name, value in fields.items()}

    def placed_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.in_markdown(value) if "![" in value and self.archive else value
        if isinstance(value, list):
            return [self.placed_in(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            name: inner if name in UNTOUCHED else self.in_parts(inner) if name == "content" else self.placed_in(inner)
            for name, inner in value.items()
        }

    def in_parts(self, content: Any) -> Any:
        """The content of a message: its parts that are images become parts of text."""
        if not isinstance(content, list):
            return self.placed_in(content)
        return [
            {"type": "text", "text": self.of_part(part)} if is_image(part) else self.placed_in(part)
            for part in content
        ]

    def of_part(self, part: Mapping[str, Any]) -> str:
        place, alt = place_of(part), alt_of(part)
        if REMOTE.match(place) and self.only is not None:
            self.allowed(place)
            return f"[{alt or place[:200]}]({place})"
        return f"![{alt}]({attachments.SCHEME}{self.bring(place)})"

    def in_markdown(self, text: str) -> str:
        """Images that a text names by a path in the archive; what names nothing there stays as it was written."""

        def resolved(found: re.Match[str]) -> str:
            name = self.archive.entry(found[2]) if self.archive else None
            if name is None:
                return found[0]
            return f"![{found[1]}]({attachments.SCHEME}{self.bring(found[2])})"

        return MARKDOWN.sub(resolved, text)

    def allowed(self, place: str) -> None:
        try:
            fetching.check_allowed(place, self.hosts)
        except ValueError as error:
            raise ItemError(f"the picture {called(place)} {error}.") from None

    def bring(self, place: str) -> str:
        """The hash of the picture at a place. Raises ItemError."""
        key = imaging.sha256(place.encode("utf-8", "replace")) if len(place) > 200 else place
        if key not in self.known:
            if self.only is not None and len(self.known) >= self.only:
                return imaging.sha256(key.encode("utf-8", "replace"))
            self.alive()
            try:
                self.known[key] = self.taken(self.bytes_at(place), source_of(place))
            except ItemError:
                raise
            except ValueError as error:
                raise ItemError(f"the picture {called(place)} {str(error).rstrip('.')}.") from None
        return self.known[key]

    def bytes_at(self, place: str) -> bytes:
        """What lies there, as it came. Raises ValueError with the rest of a sentence about it."""
        if place[:5].lower() == "data:":
            return bytes_of(place)
        if REMOTE.match(place):
            return fetching.fetch(place, self.hosts)
        if self.archive is None:
            raise ValueError(
                "is named by a path, and the file comes without pictures: put both into one ZIP, or write it as a "
                "data: address"
            )
        name = self.archive.entry(place)
        if name is None:
            raise ValueError("is not in the ZIP: put it there under this path, as PNG, JPEG, WebP or GIF")
        return self.archive.read(name)

    def taken(self, data: bytes, source: str) -> str:
        """The hash under which the picture is or will be kept; the same file is not made twice."""
        original = imaging.sha256(data)
        if original in self.by_original:
            return self.by_original[original]
        before = Attachment.objects.filter(project=self.project, original=original).values_list("sha256", flat=True)
        sha256 = before.first() or self.stage(harmless(data), original, source)
        self.by_original[original] = sha256
        return sha256

    def stage(self, picture: Picture, original: str, source: str) -> str:
        if picture.sha256 not in self.made:
            (self.folder / picture.sha256).write_bytes(picture.data)
            self.made[picture.sha256] = (original, source, picture.width, picture.height)
        return picture.sha256

    def incoming(self) -> Iterator[Incoming]:
        """What was made and is to be kept."""
        for sha256, (original, source, width, height) in self.made.items():
            self.alive()
            picture = Picture((self.folder / sha256).read_bytes(), sha256, width, height)
            yield Incoming(picture, original, source)


@contextmanager
def pictures_of(
    path: Path, project: Project, alive: Callable[[], None] = lambda: None, *, only: int | None = None
) -> Iterator[Pictures]:
    """The pictures of a file, and of the archive that it may be. Raises RowError for an archive that is refused."""
    with tempfile.TemporaryDirectory(prefix="plumbline-pictures-") as folder:
        if archives.is_archive(path):
            with archives.opened_archive(path) as archive:
                yield Pictures(project, archive, Path(folder), alive, only)
        else:
            yield Pictures(project, None, Path(folder), alive, only)


def is_image(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in IMAGE_PARTS


def place_of(part: Mapping[str, Any]) -> str:
    """Where a part says that its image is: OpenAI's `image_url`, Anthropic's `source`, or `path`, `url` or `image`.

    Raises ItemError where it does not say.
    """
    url, source = part.get("image_url"), part.get("source")
    if isinstance(url, Mapping):
        url = url.get("url")
    if isinstance(source, Mapping):
        url = url or source.get("url") or (source.get("data") and f"data:;base64,{source['data']}")
    place = next((one for one in (url, part.get("path"), part.get("url"), part.get("image")) if one), None)
    if not isinstance(place, str) or not place.strip():
        raise ItemError(
            'an image says not where it is: write {"type": "image_url", "image_url": {"url": …}} or '
            '{"type": "image", "path": …}.'
        )
    return place.strip()


def alt_of(part: Mapping[str, Any]) -> str:
    """What is said in place of the picture, fit to stand between the brackets of Markdown."""
    alt = next((part[name] for name in ("alt", "caption") if isinstance(part.get(name), str)), "")
    return re.sub(r"[\[\]\\`<>*_!]", "", " ".join(alt.split()))[:LONGEST_ALT]


def bytes_of(address: str) -> bytes:
    """The bytes in a data: address. Raises ValueError."""
    head = DATA.match(address)
    if head is None:
        raise ValueError("is a data: address without base64: write it as data:image/png;base64,…")
    try:
        return base64.b64decode(re.sub(r"\s", "", address[head.end() :]), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no valid base64: encode it anew") from None


def called(place: str) -> str:
    """A place in a sentence; of a data: address the start is enough."""
    return f"“{place[:30]}…”" if place[:5].lower() == "data:" else f"“{place[:160]}”"


def source_of(place: str) -> str:
    """Where a picture came from, to be kept; without what addresses carry as passwords."""
    if place[:5].lower() == "data:":
        return ""
    return re.split(r"[?#]", place)[0] if REMOTE.match(place) else place
