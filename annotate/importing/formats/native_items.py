"""Plumbline's own items, one JSON object a line, as the raw export writes them."""

from collections.abc import Mapping
from typing import Any

from annotate.importing.formats.format import Format
from annotate.importing.native import NativeItem
from annotate.importing.reading import JSON


def matches(row: Mapping[str, Any]) -> bool:
    return "prompt" in row and "responses" in row


def item(row: Mapping[str, Any], _mapping: Mapping[str, str]) -> NativeItem:
    return row


NATIVE = Format(
    name="native",
    title="Plumbline items",
    about=(
        "Items as Plumbline writes them: a prompt, any number of responses with the models that wrote them, and "
        "annotations by named people and judges."
    ),
    reads=JSON,
    matches=matches,
    item=item,
)
