"""Prompts that somebody pasted: as plain text, or as JSON lines."""

import re
from collections.abc import Iterator
from typing import Any

from annotate.importing.errors import ItemError, RowError
from annotate.importing.native import check_known, identity, prompt_hash, prompt_of, tags_of
from annotate.importing.reading import json_object
from annotate.importing.storable import check_storable

FIELDS = frozenset({"id", "prompt", "tags"})
BLANK = re.compile(r"\n\s*\n")


def prompts_from_text(text: str) -> list[dict[str, Any]]:
    """The prompts in a text, each {"id", "prompt": messages, "tags"}; the same prompt twice is one. Raises RowError.

    Where blank lines stand between them, a prompt may have several lines; else each line is one. A text that
    begins with { is JSON lines of {"prompt": text or messages} with optional "id" and "tags". Without an id of its
    own, a prompt is called by the hash of its words.
    """
    found: dict[str, dict[str, Any]] = {}
    rows = json_lines(text) if text.lstrip().startswith("{") else plain(text)
    for number, row in rows:
        try:
            prompt = checked(row)
        except ItemError as error:
            raise RowError(number, str(error)) from None
        earlier = found.setdefault(prompt["id"], prompt)
        if earlier["prompt"] != prompt["prompt"]:
            raise RowError(number, f"the id “{prompt['id'][:60]}” is used above for another prompt: give it another.")
    return list(found.values())


def plain(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    text = text.replace("\r\n", "\n").strip()
    parts = BLANK.split(text) if BLANK.search(text) else text.split("\n")
    for number, part in enumerate(parts, start=1):
        if part.strip():
            yield number, {"prompt": part.strip()}


def json_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, json_object(number, line)


def checked(row: dict[str, Any]) -> dict[str, Any]:
    check_known(row, FIELDS, "prompts do not have: use id, prompt and tags.")
    check_storable(row)
    prompt = prompt_of(row.get("prompt"))
    own = identity(row.get("id"))
    return {"id": own or f"prompt-{prompt_hash(prompt)[:16]}", "prompt": prompt, "tags": tags_of(row.get("tags"))}
