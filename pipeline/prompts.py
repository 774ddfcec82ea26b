"""Prompts to let a model answer, from where they lie: a file, or the items that a project has already."""

from pathlib import Path
from typing import Any

from annotate.importing import RowError, prompts_from_text
from annotate.models import Item, Project


class PromptError(Exception):
    """Prompts cannot be used; the message says which and why."""


def of_text(text: str) -> list[dict[str, Any]]:
    """Prompts of a pasted text, as {"id", "prompt", "tags"}. Raises PromptError."""
    try:
        return prompts_from_text(text)
    except RowError as error:
        raise PromptError(str(error)) from None


def of_file(path: Path) -> list[dict[str, Any]]:
    """Prompts of a file: one a line, with blank lines between them, or JSON lines. Raises PromptError."""
    try:
        return of_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path} cannot be read: {error}.") from None


def of_project(project: Project) -> list[dict[str, Any]]:
    """Each different prompt that the project's items have, once, oldest first."""
    found = Item.objects.filter(project=project).exclude(state=Item.ARCHIVED).order_by("id")
    rows: dict[str, dict[str, Any]] = {}
    for key, prompt, tags in found.values_list("prompt_hash", "prompt", "tags").iterator(chunk_size=500):
        rows.setdefault(key, {"id": f"prompt-{key[:16]}", "prompt": prompt, "tags": tags})
    return list(rows.values())
