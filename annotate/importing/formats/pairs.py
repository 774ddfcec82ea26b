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
    sides = [(models[0], chosen), (models[1], rejected)]
    sides.sort(key=lambda side: digest([turns(prompt), side[0], turns(side[1])]))
    choice = "tie" if turns(chosen) == turns(rejected) else "ab"[sides.index((models[0], chosen))]
    return {
        **rest,
        "prompt": prompt,
        "responses": [{"model": model, "messages": messages} for model, messages in sides],
        "metadata": {**(rest.get("metadata") or {}), "order_drawn": True},
        "annotations": [{"rater": rater, "kind": "human", "answers": preference(choice), **(annotation or {})}],
    }


def preference(choice: str) -> dict[str, Any]:
    return {PREFERENCE: {"choice": choice}}


def others(row: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """What a row says besides: kept as the item's metadata, so that nothing is lost."""
    return {name: value for name, value in row.items() if name not in used and value is not None}
