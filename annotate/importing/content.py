"""What a chat message says, as one text: content parts, calls of tools and their results as OpenAI's API writes them.

Everything downstream (hashes, judges, training) knows a message by its role and one text, so this is where the richer
shapes become that text: Markdown that a person can read and that says everything the message said, in one fixed form.
Images are text by then: `annotate/importing/pictures.py` has put `![alt](attachment:<sha256>)` in their place.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from annotate.importing.errors import ItemError

FIELDS = {"assistant": ("tool_calls", "function_call"), "tool": ("name", "tool_call_id")}  # by role, beside the usual
TEXT_PARTS = ("text", "input_text", "output_text")
IMAGE_PARTS = ("image", "image_url", "input_image")


def plain_text(value: Any) -> str | None:
    """Text as it is; a number or a boolean as it stands in the JSON file; None for anything else."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def said_in(message: Mapping[str, Any], name: str) -> str:
    """The text of a message of the list `name`. Raises ItemError where it has none, or more than text."""
    calls = list(calls_of(message, name))
    content = message.get("content")
    said = "" if content is None and calls else spoken(content, name)
    heading = [result_of(message)] if message.get("role") == "tool" else []
    parts = [*heading, said, *calls]
    return "\n\n".join(part for part in parts if part) if len(parts) > 1 else said


def spoken(content: Any, name: str) -> str:
    """The content: a text, or a list of parts that are texts."""
    text = plain_text(content)
    if text is not None:
        return text
    if not isinstance(content, list):
        raise ItemError(f"the “content” of a message of “{name}” is not text: write it as text.")
    return "\n\n".join(part_of(part, name) for part in content)


def part_of(part: Any, name: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in IMAGE_PARTS:
        raise ItemError(f"a message of “{name}” has an image: import it with its file, leave it out, or describe it.")
    if kind not in TEXT_PARTS or not isinstance(part.get("text"), str):
        raise ItemError(f'a part of the “content” in “{name}” is not text: write {{"type": "text", "text": …}}.')
    return part["text"]


def calls_of(message: Mapping[str, Any], name: str) -> Iterator[str]:
    """Each call of a tool as Markdown; also the one call of the older `function_call`."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ItemError(f"“tool_calls” in “{name}” is not a list of calls: write it as a list.")
    for call in [*calls, *([message["function_call"]] if message.get("function_call") else [])]:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ItemError(f'a call in “{name}” names no tool: write {{"function": {{"name": …, "arguments": …}}}}.')
        yield f"Calls `{function['name']}`{named(call.get('id'))}:\n\n```json\n{arguments(function)}\n```"


def arguments(function: Mapping[str, Any]) -> str:
    """The arguments of a call, indented; as they stand where they are no JSON."""
    given = function.get("arguments")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return given
    return json.dumps({} if given is None else given, ensure_ascii=False, indent=2)


def result_of(message: Mapping[str, Any]) -> str:
    """What stands above a tool's result: whose it is; empty where the message does not say."""
    tool, call = message.get("name"), message.get("tool_call_id")
    if not tool and not call:
        return ""
    return f"Result of `{tool}`{named(call)}:" if tool else f"Result of {call}:"


def named(identity: Any) -> str:
    return f" ({identity})" if identity else ""
