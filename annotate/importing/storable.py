"""What every database can hold: no NUL characters, no half characters, no endless nesting.

PostgreSQL refuses NUL in text and lone surrogates in JSON; SQLite refuses JSON that nests deeper than 1,000.
Both would fail in the middle of writing, so such values are refused when they are read.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from annotate.importing.errors import ItemError

DEPTH = 32  # far below what either database or Python's own JSON reader can nest


def check_storable(fields: Mapping[str, Any]) -> None:
    """Raise ItemError for the first field that a database cannot hold, by its name."""
    for name, value in fields.items():
        for problem in problems(value, DEPTH):
            raise ItemError(f"“{name[:60]}” {problem}")
        for problem in problems(name, DEPTH):
            raise ItemError(f"the name of a field {problem}")


def problems(value: Any, depth: int) -> Iterator[str]:
    """What is wrong with a JSON value, each as the rest of a sentence whose subject is the field."""
    if isinstance(value, str):
        yield from text_problems(value)
    elif isinstance(value, float) and not math.isfinite(value):
        yield "holds a number that is not finite: write it as text, or leave it out."
    elif isinstance(value, dict | list):
        if depth == 0:
            yield f"nests deeper than {DEPTH} levels: flatten it."
            return
        if isinstance(value, dict):
            for key in value:
                yield from text_problems(key)
        for inner in value.values() if isinstance(value, dict) else value:
            yield from problems(inner, depth - 1)


def text_problems(text: str) -> Iterator[str]:
    if "\0" in text:
        yield "holds a NUL character, which databases cannot store: remove it."
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            yield "holds half of a character (a lone surrogate such as \\ud800): remove it or write it whole."
