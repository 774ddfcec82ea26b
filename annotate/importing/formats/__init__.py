"""The file formats that can be imported, one file each. A new one is written beside them and named here."""

from collections.abc import Iterable, Mapping
from typing import Any

from annotate.importing.formats.alpaca_eval import ALPACA_EVAL
from annotate.importing.formats.format import PREFERENCE, Field, Format
from annotate.importing.formats.hh import HH
from annotate.importing.formats.native_items import NATIVE
from annotate.importing.formats.pandalm import PANDALM
from annotate.importing.formats.table import JSON_TABLE, TABLE, check_mapping, guess_mapping
from annotate.importing.formats.trl_preference import TRL_PREFERENCE

__all__ = ["FORMATS", "PREFERENCE", "Field", "Format", "check_mapping", "guess_mapping", "recognised"]

# In the order in which a first row is tried on them: the narrow ones first.
FORMATS = {format_.name: format_ for format_ in (NATIVE, PANDALM, ALPACA_EVAL, HH, TRL_PREFERENCE, TABLE, JSON_TABLE)}


def recognised(rows: Iterable[Mapping[str, Any]], reads: str) -> Format:
    """The format that the first rows of a file look like; named columns where they look like no other."""
    candidates = [format_ for format_ in FORMATS.values() if format_.reads == reads]
    narrow = (format_ for row in rows for format_ in candidates if not format_.fields and format_.matches(row))
    return next(narrow, candidates[-1])
