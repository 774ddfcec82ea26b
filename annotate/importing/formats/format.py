"""What a file format is: how to know it, what it says, and how a row of it becomes a native item."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from annotate.importing.native import NativeItem

# The key under which formats put a choice; the reader renames it to the project's own preference question.
PREFERENCE = "preference"


@dataclass(frozen=True)
class Field:
    """One thing that a column may hold, for formats whose columns are mapped."""

    name: str
    title: str
    guesses: tuple[str, ...] = ()
    many: bool = False  # whether several columns may hold it


@dataclass(frozen=True)
class Format:
    """One file format. `item` turns a row (and the mapping, column → field) into a native item, or ItemError."""

    name: str
    title: str
    about: str
    reads: str
    matches: Callable[[Mapping[str, Any]], bool]
    item: Callable[[Mapping[str, Any], Mapping[str, str]], NativeItem]
    fields: tuple[Field, ...] = ()
