"""Gather every text that is to be translated into `locale/`, and compile what is translated there.

    make messages               # after a text was added or changed, and after a translation
    make messages ADD=fr        # begin a language; then name it in LANGUAGES (config/settings.py)

GNU gettext is not needed: Babel reads the sources and writes `django.po` and `django.mo`. Translations are kept as
long as their text stands in the sources as it was; a changed text is a new one, so nothing is ever guessed.
"""

import io
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.translation.template import templatize

ROOT = Path(settings.BASE_DIR)
LOCALE = ROOT / "locale"
SINGLE, PLURAL = ("_", "gettext", "gettext_lazy"), ("ngettext", "ngettext_lazy")
KEYWORDS = dict.fromkeys((*SINGLE, *PLURAL))
HEADER = "# Translations of Plumbline. `make messages` gathers the texts and compiles; see docs/how-to/translating.md."


class Command(BaseCommand):
    help = "Gather the texts to be translated into locale/, and compile the translations."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--add", metavar="CODE", help="begin a language, for example fr or pt_BR")

    def handle(self, *args: object, add: str | None = None, **options: object) -> None:
        gathered = gather()
        for code in sorted({path.name for path in LOCALE.iterdir() if path.is_dir()} | ({add} if add else set())):
            catalog = updated(code, gathered)
            write(code, catalog)
            lacking = sum(1 for message in catalog if message.id and not is_translated(message))
            self.stdout.write(f"{code}: {len(catalog)} texts, {lacking} not translated")


def sources() -> Iterator[Path]:
    """Every file that may hold a text to be translated."""
    for folder in ("annotate", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not {"migrations", "ml"} & set(path.relative_to(ROOT).parts):
                yield path
    for kind in ("*.html", "*.txt"):
        yield from sorted((ROOT / "templates").rglob(kind))


def gather() -> Catalog:
    """Every text to be translated, with the files that it stands in."""
    catalog = Catalog(charset="utf-8")
    for path in sources():
        for text in texts_of(path):
            catalog.add(text, locations=[(path.relative_to(ROOT).as_posix(), 0)])
    return catalog


def texts_of(path: Path) -> Iterator[str | tuple[str, str]]:
    """The texts of one file: a text, or one and many as a pair."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        # Django turns a template into calls of gettext between fillers; Python's tokenizer wants no indentation.
        text = "\n".join(line.strip() for line in templatize(text).splitlines())
    for _line, function, found, _comments in extract_python(io.BytesIO(text.encode()), KEYWORDS, [], {}):
        given: tuple[Any, ...] = found if isinstance(found, tuple) else (found,)
        if given[0]:  # what is put together as the program runs cannot be gathered
            yield (str(given[0]), str(given[1])) if function in PLURAL else str(given[0])


def po_path(code: str) -> Path:
    return LOCALE / code / "LC_MESSAGES" / "django.po"


def read(code: str) -> Catalog:
    """The translations of a language as they stand in its file; empty ones where it has none yet."""
    path = po_path(code)
    if not path.exists():
        return Catalog(locale=code, charset="utf-8", header_comment=HEADER, project="Plumbline")
    with path.open("rb") as file:
        return read_po(file, locale=code)


def updated(code: str, gathered: Catalog) -> Catalog:
    """The language's translations of the gathered texts; those of texts that are gone are left out."""
    catalog = read(code)
    catalog.update(gathered, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    catalog.fuzzy = False
    return catalog


def compiled(catalog: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def write(code: str, catalog: Catalog) -> None:
    path = po_path(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Without line numbers and in alphabetical order, so that two people's changes seldom meet.
        write_po(file, catalog, width=119, sort_output=True, include_lineno=False, omit_header=False)
    path.with_suffix(".mo").write_bytes(compiled(read(code)))


def is_translated(message: object) -> bool:
    """Is every form of it there, and no guess?"""
    words = message.string if isinstance(message.string, tuple) else (message.string,)  # type: ignore[attr-defined]
    return bool(words) and all(words) and not message.fuzzy  # type: ignore[attr-defined]
