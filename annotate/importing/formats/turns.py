"""Conversations as files write them: transcripts, bare texts, lists of messages, and what two of them share."""

import re
from os.path import commonprefix
from typing import Any

from annotate.importing.errors import ItemError
from annotate.importing.native import Message, Messages, messages_of, plain_text

TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")
ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(value: Any) -> bool:
    """Whether a text begins as HH transcripts do, with “Human:” (blank lines before it do not matter)."""
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def transcript(text: str, name: str) -> Messages:
    """The messages of an HH transcript; an empty “Assistant:” at the end, where a prompt waits, is left off."""
    if not is_transcript(text):
        raise ItemError(f"“{name}” is not a transcript: begin it with “Human:”.")
    parts = TURN.split(text.lstrip())
    spoken = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": ROLES[speaker], "content": words.strip()} for speaker, words in spoken]


def conversation(value: Any, name: str, role: str) -> Messages:
    """Messages from a list of them, a transcript, or a bare text that `role` said."""
    text = plain_text(value)
    if text is None:
        return messages_of(value, name)
    return transcript(text, name) if is_transcript(text) else [{"role": role, "content": text}]


def waiting(messages: Messages) -> Messages:
    """A prompt without the empty assistant turn that some files end it with."""
    return messages[:-1] if messages[-1] == {"role": "assistant", "content": ""} else messages


def split_messages(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """(prompt, rest of chosen, rest of rejected): what both share at the start, up to its last user turn."""
    most = min(len(chosen), len(rejected)) - 1
    shared = 0
    while shared < most and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and chosen[shared - 1]["role"] != "user":
        shared -= 1
    if not shared:
        raise ItemError("“chosen” and “rejected” do not start with the same user turn: add a “prompt”.")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def split_texts(chosen: str, rejected: str) -> tuple[Messages, Messages, Messages]:
    """(prompt, chosen, rejected) of two texts: what both share at the start, cut at a word's edge."""
    shared = commonprefix([chosen, rejected])
    edge = max(shared.rfind(" "), shared.rfind("\n")) + 1
    if not shared[:edge].strip():
        raise ItemError("“chosen” and “rejected” do not start with the same words: add a “prompt”.")
    return (
        [said("user", shared[:edge].strip())],
        [said("assistant", chosen[edge:])],
        [said("assistant", rejected[edge:])],
    )


def said(role: str, text: str) -> Message:
    return {"role": role, "content": text}
