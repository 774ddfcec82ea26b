"""Files row by row, plain or gzipped, with one sentence for every row that cannot be read.

Only one line is in memory at a time, and never more of it than LINE_LIMIT: a longer one is passed over, counted
and reported. Row numbers are lines of a JSON-lines file, and records of a CSV file with its header as row 1.
"""

import csv
import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from annotate.importing.archives import UNREADABLE, is_archive, opened_archive
from annotate.importing.errors import RowError

LINE_LIMIT = 10 * 1024 * 1024  # bytes
JSON, CSV = "json", "csv"
DELIMITERS = ",\t;|"
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
# What people try that is not text, by its first bytes.
SIGNATURES = {
    b"PAR1": "this is a Parquet file: write it as JSON lines first.",
    b"\xff\xfe": "the text is UTF-16: save it as UTF-8.",
    b"\xfe\xff": "the text is UTF-16: save it as UTF-8.",
    b"BZh": "this is a bzip2 file: unpack it, or use gzip.",
    b"\xfd7zXZ": "this is an xz file: unpack it, or use gzip.",
    b"\x28\xb5\x2f\xfd": "this is a Zstandard file: unpack it, or use gzip.",
}
csv.field_size_limit(LINE_LIMIT)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file."""

    number: int
    fields: dict[str, Any]


class Text(Protocol):
    """What reading needs of an open file."""

    def readline(self, size: int = -1, /) -> bytes: ...

    def seek(self, target: int, /) -> int: ...


@dataclass(frozen=True)
class OpenFile:
    """A file being read: `text` is unpacked, `raw` is what lies on the disk or in an archive."""

    raw: BinaryIO
    text: Text
    size: int

    def position(self) -> int:
        """Bytes of `raw` that were read so far."""
        return self.raw.tell()


class Capped:
    """The first so many bytes of a text, in whole lines."""

    def __init__(self, text: Text, most: int) -> None:
        self.text = text
        self.most = self.left = most

    def readline(self, size: int = -1, /) -> bytes:
        line = self.text.readline(size)
        self.left -= len(line)
        return line if self.left >= 0 else b""

    def seek(self, target: int, /) -> int:
        self.left = self.most
        return self.text.seek(target)


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[OpenFile]:
    """Open a file by what it holds, not by its name; of an archive, its rows. Raises RowError where it is no text.

    `most` ends the reading after so many bytes of unpacked text.
    """
    if is_archive(path):
        with opened_archive(path) as archive, archive.open_rows() as raw:
            yield open_file(raw, archive.entries[archive.rows].file_size, most)
    else:
        with path.open("rb") as raw:
            yield open_file(raw, path.stat().st_size, most)


def open_file(raw: BinaryIO, size: int, most: int | None) -> OpenFile:
    start = raw.read(8)
    raw.seek(0)
    for signature, sentence in SIGNATURES.items():
        if start.startswith(signature):
            raise RowError(1, sentence)
    text: Text = gzip.GzipFile(fileobj=raw) if start.startswith(GZIP) else raw
    return OpenFile(raw, text if most is None else Capped(text, most), size)


def lines(file: OpenFile, limit: int = LINE_LIMIT) -> Iterator[tuple[int, bytes | RowError]]:
    """(number from 1, line) to the end of the file, or to where it is damaged; a line too long is a RowError."""
    number = 0
    try:
        while line := file.text.readline(limit + 1):
            number += 1
            if len(line) > limit and not line.endswith(b"\n"):
                skip_line(file.text)
                yield number, RowError(number, f"the line is longer than {limit // 2**20} MB: shorten or split it.")
            else:
                yield number, line.removeprefix(BOM) if number == 1 else line
    except EOFError:
        yield number + 1, RowError(number + 1, "the gzip file ends in the middle: copy or pack it again.")
    except (zlib.error, gzip.BadGzipFile) as error:
        yield number + 1, RowError(number + 1, f"the gzip file is damaged here ({error}): copy or pack it again.")
    except zipfile.BadZipFile:
        yield number + 1, RowError(number + 1, UNREADABLE)


def skip_line(text: Text) -> None:
    while (chunk := text.readline(2**20)) and not chunk.endswith(b"\n"):
        pass


def decoded(number: int, line: bytes) -> str:
    """The line as text. Raises RowError for what is not UTF-8 and for NUL bytes."""
    if b"\0" in line:
        raise RowError(number, "the line holds a NUL byte, which databases cannot store: remove it.")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(number, f"the text is not UTF-8 at byte {error.start + 1}: save the file as UTF-8.") from None


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def json_object(number: int, text: str) -> dict[str, Any]:
    """The JSON object on a line. Raises RowError."""
    try:
        value = json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        message = f"this is not valid JSON ({error.msg} at character {error.pos + 1}): write one object a line."
        raise RowError(number, message) from None
    except ValueError as error:
        raise RowError(number, f"this is not valid JSON ({error}): write one object a line.") from None
    except RecursionError:
        raise RowError(number, "the JSON nests too deep to be read: flatten it.") from None
    if isinstance(value, list):
        raise RowError(number, "this is a JSON list: write one object a line, without the outer [ ] and commas.")
    if not isinstance(value, dict):
        raise RowError(number, "this is not a JSON object: write one {…} a line.")
    return value


def json_rows(file: OpenFile) -> Iterator[Row | RowError]:
    """The objects of a JSON-lines file; blank lines are passed over. A bad line does not end the reading."""
    for number, line in lines(file):
        if isinstance(line, RowError):
            yield line
        elif line.strip():
            try:
                yield Row(number, json_object(number, decoded(number, line.rstrip(b"\r\n"))))
            except RowError as error:
                yield error


class CsvLines:
    """Feeds a csv.reader, and knows which record it is in and how long that record is."""

    def __init__(self, file: OpenFile) -> None:
        self.source = lines(file)
        self.record = 1
        self.length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        _, line = next(self.source)
        if isinstance(line, RowError):
            raise RowError(self.record, line.message)
        self.length += len(line)
        if self.length > LINE_LIMIT:
            message = f"the row is longer than {LINE_LIMIT // 2**20} MB: close its quotation marks, or shorten it."
            raise RowError(self.record, message)
        return decoded(self.record, line)

    def next_record(self) -> None:
        self.record, self.length = self.record + 1, 0


def records(feed: CsvLines, delimiter: str) -> Iterator[tuple[int, list[str] | RowError]]:
    """(row number, cells) for each record. After an error inside a record nothing behind it can be trusted."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except RowError as error:
            yield feed.record, error
            return
        except csv.Error as error:
            yield feed.record, RowError(feed.record, csv_sentence(error))
            return
        yield feed.record, cells
        feed.next_record()


def csv_sentence(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quotation mark is opened and never closed: close it, or double it inside text."
    return f"the cells cannot be told apart ({error}): double each quotation mark inside quoted text."


def delimiter_of(line: str) -> str:
    """The delimiter that gives a header line the most columns; a comma where none gives more than one."""
    return max(DELIMITERS, key=lambda mark: sum(1 for _ in next(csv.reader([line], delimiter=mark))))


def header_of(cells: list[str]) -> list[str]:
    """The column names. Raises RowError for two of one name; a column without one is called by its place."""
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    for name in names:
        if names.count(name) > 1:
            raise RowError(1, f"two columns are called “{name[:60]}”: rename one.")
    return names


def csv_rows(file: OpenFile) -> Iterator[Row | RowError]:
    """The records of a CSV file as column → cell. The delimiter is found in the header."""
    header: list[str] | None = None
    for number, cells in records(CsvLines(file), delimiter_in(file)):
        if isinstance(cells, RowError):
            yield cells
        elif not cells:  # a blank line
            continue
        elif header is None:
            try:
                header = header_of(cells)
            except RowError as error:
                yield error
                return
        elif len(cells) == len(header):
            yield Row(number, dict(zip(header, cells, strict=True)))
        else:
            count, columns = plural(len(cells), "cell"), plural(len(header), "column")
            yield RowError(number, f"there are {count}, but the header has {columns}: quote texts with delimiters.")


def plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def delimiter_in(file: OpenFile) -> str:
    """Look at the first line for its delimiter, and go back to the start."""
    _, first = next(lines(file), (1, b""))
    file.text.seek(0)
    if isinstance(first, RowError):  # said when the rows are read
        return DELIMITERS[0]
    return delimiter_of(first.removeprefix(BOM).decode("utf-8", "replace").replace("\0", ""))


def rows(file: OpenFile, reads: str) -> Iterator[Row | RowError]:
    """The rows of a file that is JSON lines or CSV; a file without any is itself an error."""
    found = False
    for row in json_rows(file) if reads == JSON else csv_rows(file):
        found = True
        yield row
    if not found:
        yield RowError(1, "the file holds no rows: choose a file with at least one.")
