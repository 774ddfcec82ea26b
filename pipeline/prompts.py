"""Prompts to let a model answer: pasted text, a file, or those a project has already.

Each becomes {"id", "prompt": messages, "tags"?}. The id says what the prompt is, so that the same prompt twice in one
request is answered once.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.native import prompt_of
from annotate.models import Item, Project
from pipeline.ml.splits import prompt_key

Row = dict[str, Any]
MOST = 20_000


class PromptError(Exception):
    """A prompt cannot be used; the message says which and why."""


def pasted(text: str, *, blocks: bool) -> list[Row]:
    """Prompts of a text: one a line, or with empty lines between them."""
    parts = re.split(r"\n\s*\n", text.replace("\r\n", "\n")) if blocks else text.splitlines()
    return unique(row_of({"prompt": part.strip()}, number) for number, part in enumerate(parts, 1) if part.strip())


def of_file(path: Path) -> list[Row]:
    """Prompts of a file: JSON lines with `prompt` (text or messages) and perhaps `id` and `tags`, or plain lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path} cannot be read: {error}.") from None
    if path.suffix != ".jsonl":
        return pasted("\n".join(lines), blocks=False)
    return unique(row_of(parsed(line, number), number) for number, line in enumerate(lines, 1) if line.strip())


def parsed(line: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise PromptError(f"Row {number}: this is not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise PromptError(f"Row {number}: this is not a JSON object: write one {{…}} a line.")
    return row


def row_of(row: Row, number: int) -> Row:
    try:
        prompt = prompt_of(row.get("prompt"))
    except ItemError as error:
        raise PromptError(f"Row {number}: {error}") from None
    tags = row.get("tags") if isinstance(row.get("tags"), list) else []
    return {"id": str(row.get("id") or f"prompt-{prompt_key(prompt)[:12]}"), "prompt": prompt, "tags": tags}


def of_project(project: Project) -> list[Row]:
    """Each different prompt that the project's items have, once, oldest first."""
    found = Item.objects.filter(project=project).exclude(state=Item.ARCHIVED).order_by("id")
    rows = ({"prompt": prompt, "tags": tags} for prompt, tags in found.values_list("prompt", "tags").iterator())
    return unique(row_of(row, number) for number, row in enumerate(rows, 1))


def unique(rows: Iterable[Row]) -> list[Row]:
    return list(until_most({row["id"]: row for row in rows}.values()))


def until_most(rows: Iterable[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number == MOST:
            raise PromptError(f"There are more than {MOST:,} prompts: generate in parts.")
        yield row
