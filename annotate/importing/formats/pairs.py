"""A chosen and a rejected answer as an item: stored in an order that says nothing, with the choice as a label."""

from collections.abc import Mapping
from typing import Any

from annotate.importing.formats.format import PREFERENCE
from annotate.importing.native import Messages, digest, turns


def pair_item(
    *,
    prompt: Messages,
    chosen: Messages,
    rejected: Messages,
    rater: str,
    models: tuple[str, str] = ("", ""),
    annotation: Mapping[str, Any] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """A native item of two answers whose better one is known.

    In the file the better one always stands first. Here the order is drawn from the content, so that position
    means nothing; `metadata` says so with `order_drawn`. Two answers of the same words are a tie. `models` wrote
    (chosen, rejected); `annotation` may add to what the rater said; `rest` are further fields of the item.
    """
    sides = [
        {"model": models[0], "messages": chosen, "better": True},
        {"model": models[1], "messages": rejected, "better": False},
    ]
    sides.sort(key=lambda side: digest([turns(prompt), side["model"], turns(side["messages"])]))
    choice = "tie" if turns(chosen) == turns(rejected) else ("a" if sides[0]["better"] else "b")
    return {
        **rest,
        "prompt": prompt,
        "responses": [{"model": side["model"], "messages": side["messages"]} for side in sides],
        "metadata": {**(rest.get("metadata") or {}), "order_drawn": True},
        "annotations": [{"rater": rater, "kind": "human", "answers": preference(choice), **(annotation or {})}],
    }


def preference(choice: str) -> dict[str, Any]:
    return {PREFERENCE: {"choice": choice}}


def others(row: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """What a row says besides: kept as the item's metadata, so that nothing is lost."""
    return {name: value for name, value in row.items() if name not in used and value is not None}
