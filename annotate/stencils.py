"""Parts of the workbench that are the same for every item: rendered once, then filled in.

A stencil is a fragment rendered with stand-ins where an item's own values go; to show it for an item costs a few
replacements of text. Each process remembers stencils by everything else that they depend on: the version of the
rubric, the language, the user's keys. Stand-ins are texts that nothing else on a page contains.
"""

from collections.abc import Callable, Hashable, Mapping

PK = 7_310_951_468_213_905_711  # stands in addresses, where only a number can
CSRF_TOKEN, KEY = "stand-in-csrf-c4b1e0", "stand-in-key-c4b1e0"
MOST = 500

remembered: dict[Hashable, str] = {}


def filled(key: Hashable, draw: Callable[[], str], values: Mapping[str, str]) -> str:
    """The fragment of this key, drawn by `draw` at the first need, with `values` (stand-in → HTML) filled in."""
    text = remembered.get(key)
    if text is None:
        if len(remembered) >= MOST:
            remembered.clear()
        text = remembered[key] = draw()
    for stand_in, value in values.items():
        text = text.replace(stand_in, value)
    return text
