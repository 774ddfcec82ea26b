"""Which split a prompt belongs to: decided by its text alone, so it never changes as data grows.

Every pair of one prompt lands on the same side, so no prompt leaks from training into a test.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

SHARES = (("train", 0.70), ("validation", 0.15), ("test", 0.15))


def prompt_key(messages: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 (hex) of a prompt's roles and contents; other keys of the messages do not count."""
    turns = [[message["role"], message["content"]] for message in messages]
    text = json.dumps(turns, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def split_of(messages: Sequence[Mapping[str, Any]], seed: str = "") -> str:
    """ "train", "validation" or "test" (70/15/15) for a prompt; another seed draws another split."""
    digest = hashlib.sha256(f"{seed}:{prompt_key(messages)}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name, share in SHARES[:-1]:
        edge += share
        if place < edge:
            return name
    return SHARES[-1][0]
