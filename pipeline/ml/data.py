"""Read the files that stages take, bring them to one form, and turn conversations into token ids.

The one form is TRL's conversational preference row. Plain text is taken too: `prompt`/`chosen`/`rejected` as
strings, the same without `prompt` (what both texts share at the start is the prompt), and HH transcripts
("\\n\\nHuman: … \\n\\nAssistant: …"). Nothing here loads torch; `.gz` files are read as they are.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from pipeline.ml.records import StageError
from pipeline.ml.splits import prompt_key

Message = dict[str, Any]
Messages = list[Message]

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")
_ROLES = {"Human": "user", "Assistant": "assistant"}


class RowError(ValueError):
    """Why one row cannot be used; the reader adds the file and the row's number."""


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for an answer."""

    id: str
    messages: Messages


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the preferred one first; `probability` is that of the preference, ½ to 1."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    probability: float = 1.0
    item: str = ""
    tags: tuple[str, ...] = ()
    source: str = ""
    chosen_first: bool | None = None

    @property
    def key(self) -> str:
        """The prompt's hash: pairs with the same key belong together."""
        return prompt_key(self.prompt)


@dataclass(frozen=True)
class Tokens:
    """A conversation's token ids; `shortened` when its beginning was cut to fit."""

    ids: list[int]
    shortened: bool


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 1, object) for each line of a JSONL file, plain or gzipped; empty lines are passed over."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _object(line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StageError(f"{path.name}, after row {number}: the gzip file is damaged ({error}).") from None
    except UnicodeDecodeError:
        raise StageError(f"{path.name}, after row {number}: the text is not UTF-8.") from None
    except RowError as error:
        raise StageError(f"{path.name}, row {number}: {error}.") from None


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RowError(f"not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise RowError("a row must be a JSON object")
    return value


def read_pairs(path: Path) -> list[Pair]:
    """All preference pairs of a file; StageError with the row's number for the first that cannot be used."""
    pairs = []
    for number, row in read_rows(path):
        try:
            pairs.append(pair_of(row))
        except RowError as error:
            raise StageError(f"{path.name}, row {number}: {error}.") from None
    if not pairs:
        raise StageError(f"{path.name} holds no preference pairs.")
    return pairs


def read_prompts(path: Path) -> list[Prompt]:
    """All prompts of a file of {"id", "prompt"} rows; the id defaults to the row's number."""
    prompts = []
    for number, row in read_rows(path):
        try:
            prompts.append(Prompt(str(row.get("id", number)), _messages(_prompt(row), "prompt")))
        except RowError as error:
            raise StageError(f"{path.name}, row {number}: {error}.") from None
    if not prompts:
        raise StageError(f"{path.name} holds no prompts.")
    return prompts


def pair_of(row: dict[str, Any]) -> Pair:
    """The pair in one row of any of the forms named at the top of this file; RowError when there is none."""
    for name in ("chosen", "rejected"):
        if row.get(name) in (None, "", []):
            raise RowError(f"“{name}” is missing or empty")
    prompt, chosen, rejected = _sides(row)
    return Pair(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        probability=_probability(row.get("probability")),
        item=str(row.get("item") or ""),
        tags=tuple(str(tag) for tag in row.get("tags") or ()),
        source=str(row.get("source") or ""),
        chosen_first=_flag(row.get("chosen_first")),
    )


def _sides(row: dict[str, Any]) -> tuple[Messages, Messages, Messages]:
    chosen, rejected = row["chosen"], row["rejected"]
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RowError("“chosen” and “rejected” must both be texts or both be lists of messages")
    if "prompt" in row:
        return _prompt(row), _answer(chosen, "chosen"), _answer(rejected, "rejected")
    if not isinstance(chosen, str):
        return _shared_messages(_messages(chosen, "chosen"), _messages(rejected, "rejected"))
    if _TURN.match(chosen) and _TURN.match(rejected):
        return _shared_messages(transcript_messages(chosen), transcript_messages(rejected))
    return _shared_text(chosen, rejected)


def _prompt(row: dict[str, Any]) -> Messages:
    """The prompt of a row; empty where answers stand alone, as TRL allows."""
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        return _transcript_prompt(prompt) if _TURN.match(prompt) else _user_message(prompt)
    return [] if prompt == [] else _messages(prompt, "prompt")


def _transcript_prompt(text: str) -> Messages:
    """A transcript that waits for an answer often ends with an empty "Assistant:", which is none yet."""
    messages = transcript_messages(text)
    return messages[:-1] if messages[-1] == {"role": "assistant", "content": ""} else messages


def _user_message(text: str) -> Messages:
    return [{"role": "user", "content": text}] if text.strip() else []


def _answer(value: Any, name: str) -> Messages:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return _messages(value, name)


def _messages(value: Any, name: str) -> Messages:
    if not isinstance(value, list) or not value:
        raise RowError(f"“{name}” must be text or a list of messages")
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RowError(f"each message of “{name}” must be an object with “role” and “content”")
        if not isinstance(message.get("content"), str):
            raise RowError(f"the “content” of each message of “{name}” must be text")
    return value


def transcript_messages(text: str) -> Messages:
    """The messages of an HH transcript, one for each "Human:" and "Assistant:", empty ones too."""
    parts = _TURN.split(text)
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": _ROLES[speaker], "content": content.strip()} for speaker, content in turns]


def _shared_messages(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """Split two conversations after their common start, leaving each side at least its last message."""
    limit = min(len(chosen), len(rejected)) - 1
    shared = 0
    while shared < limit and chosen[shared] == rejected[shared]:
        shared += 1
    if limit < 0:
        raise RowError("a side has no message")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _shared_text(chosen: str, rejected: str) -> tuple[Messages, Messages, Messages]:
    """Split two texts after their common start, at a word's edge."""
    shared = os.path.commonprefix([chosen, rejected])
    edge = max(shared.rfind(" "), shared.rfind("\n")) + 1
    return _user_message(chosen[:edge].strip()), _answer(chosen[edge:], "chosen"), _answer(rejected[edge:], "rejected")


def _probability(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.5 <= value <= 1.0:
        raise RowError(f"“probability” must be a number from 0.5 to 1, not {value!r}")
    return float(value)


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise RowError(f"“chosen_first” must be true, false or null, not {value!r}")


def answer_length(messages: Messages) -> int:
    """The length of an answer in characters, the unit of the length baselines."""
    return sum(len(message["content"]) for message in messages)


def encode_conversation(tokenizer: PreTrainedTokenizerBase, messages: Messages, max_length: int) -> Tokens:
    """Token ids of a finished conversation; what is too long loses its beginning, so the answer stays."""
    return _shortened(_template_ids(tokenizer, messages, add_generation_prompt=False), max_length)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages, max_length: int) -> Tokens:
    """Token ids of a prompt up to where the assistant begins; what is too long loses its beginning."""
    return _shortened(_template_ids(tokenizer, messages, add_generation_prompt=True), max_length)


def _template_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, add_generation_prompt: bool) -> list[int]:
    try:
        encoded = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, add_generation_prompt=add_generation_prompt
        )
    except TemplateError as error:
        raise StageError(f"The model's chat template does not take this conversation: {error}.") from None
    return list(encoded["input_ids"])


def _shortened(ids: list[int], max_length: int) -> Tokens:
    return Tokens(ids[-max_length:], len(ids) > max_length)


def length_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of like length, longest first: little padding, and memory runs out at once or never."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
