"""The native item row: what it must hold, checked and brought to one form.

A row is one JSON object with `prompt`, `responses`, and optionally `id`, `tags`, `metadata`, `annotations`
(docs/reference/files.md). Every other format is first mapped onto it, so this is the only place that
decides what an item is. Nothing here reads or writes the database.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.importing.annotations import NO_EARLIER, CheckedAnnotation, Earlier, check_annotations
from annotate.importing.content import FIELDS as FIELDS_OF_ROLE
from annotate.importing.content import plain_text, said_in
from annotate.importing.errors import ItemError
from annotate.importing.known import CheckedGold, gold_of
from annotate.importing.storable import check_storable
from annotate.questions import Asked, Subject
from annotate.questions import text_of as answer_text

NativeItem = Mapping[str, Any]
Message = dict[str, str]
Messages = list[Message]

FIELDS = frozenset({"id", "tags", "metadata", "prompt", "responses", "annotations", "for", "gold"})
RESPONSE_FIELDS = frozenset({"model", "messages", "metadata", "author"})
ROLES = ("system", "user", "assistant", "tool")
MOST_RESPONSES = 26  # a to z
IMAGE = re.compile(r"!\[([^\[\]]*)\]\(attachment:[0-9a-f]{64}\)")
TITLE, NAME, USER_NAME = 140, 200, 150  # characters, as the tables have them


def in_title(image: re.Match[str]) -> str:
    """A picture in a line of words: what it shows."""
    return image[1] or "(picture)"


@dataclass(frozen=True, slots=True)
class CheckedResponse:
    """One answer; `words` counts those of its assistant turns."""

    model: str
    messages: Messages
    metadata: dict[str, Any]
    author: str = ""  # the user name of the member who wrote it

    @property
    def words(self) -> int:
        return sum(len(turn["content"].split()) for turn in self.messages if turn["role"] == "assistant")


@dataclass(frozen=True, slots=True)
class For:
    """Who may label an item: a pool of the project by its name, or people and skills, each sorted."""

    pool: str = ""
    people: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """An item as it will be stored. `own_id` is the file's id, or empty: then a hash of the content serves."""

    own_id: str
    prompt: Messages
    responses: tuple[CheckedResponse, ...]
    tags: list[str]
    metadata: dict[str, Any]
    annotations: tuple[CheckedAnnotation, ...]
    prompt_hash: str
    content_hash: str
    meant_for: For | None = None  # None is everybody
    gold: CheckedGold | None = None  # None is an ordinary item

    @property
    def external_id(self) -> str:
        return self.own_id or self.content_hash[:32]

    @property
    def title(self) -> str:
        """The start of the last user turn on one line, for lists."""
        asked = [turn["content"] for turn in self.prompt if turn["role"] == "user"] or [self.prompt[-1]["content"]]
        line = " ".join(IMAGE.sub(in_title, asked[-1][: TITLE * 8]).split())
        return line if len(line) <= TITLE else f"{line[: TITLE - 1].rstrip()}…"

    @property
    def size(self) -> int:
        """Characters of text, to keep batches small in memory."""
        turns = [*self.prompt, *(turn for response in self.responses for turn in response.messages)]
        return sum(len(turn["content"]) for turn in turns)


def check(row: NativeItem, asked: Mapping[str, Asked], earlier: Earlier = NO_EARLIER) -> CheckedItem:
    """The item of a row, whole and in one form; `asked` is the project's questions by name. Raises ItemError."""
    if not isinstance(row, Mapping):
        raise ItemError("the row is not a JSON object: write one {…} a line.")
    check_known(row, FIELDS, "items do not have: correct its name, or put it under “metadata”.")
    check_storable(row)
    prompt = prompt_of(row.get("prompt"))
    responses = responses_of(row.get("responses"))
    subject = Subject(len(responses), tuple(answer_text(response.messages) for response in responses))
    return CheckedItem(
        own_id=identity(row.get("id")),
        prompt=prompt,
        responses=responses,
        tags=tags_of(row.get("tags")),
        metadata=object_of(row.get("metadata"), "metadata"),
        annotations=check_annotations(row.get("annotations"), asked, subject, earlier),
        prompt_hash=prompt_hash(prompt),
        content_hash=content_hash(prompt, responses),
        meant_for=for_of(row.get("for")),
        gold=gold_of(row.get("gold"), asked, subject),
    )


def check_known(row: Mapping[str, Any], known: Iterable[str], otherwise: str) -> None:
    for name in row:
        if name not in known:
            raise ItemError(f"there is a field “{str(name)[:60]}”, which {otherwise}")


def identity(value: Any) -> str:
    """An own id as text; empty where there is none."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ItemError("“id” is neither text nor a number: write it as text.")
    text = str(value).strip()
    if len(text) > NAME:
        raise ItemError(f"“id” has {len(text)} characters: shorten it to {NAME} at most.")
    return text


def tags_of(value: Any) -> list[str]:
    """Tags without blanks and doubles, in the order given."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(tag, str | int | float) for tag in value):
        raise ItemError('“tags” is not a list of texts: write it as ["first", "second"].')
    return list(dict.fromkeys(tag for tag in (str(tag).strip() for tag in value) if tag))


def object_of(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ItemError(f'“{name}” is not a JSON object: write it as {{"name": value}}.')
    return value


def for_of(value: Any) -> For | None:
    """{"people": […], "skills": […]} or {"pool": name}; None where the item is for everybody."""
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise ItemError('“for” is not a JSON object: write it as {"people": ["name"], "skills": ["de"]}.')
    check_known(value, ("people", "skills", "pool"), "“for” does not know: use people, skills or pool.")
    pool = plain_text(value.get("pool") or "") or ""
    people, skills = names_of(value, "people"), names_of(value, "skills")
    if bool(pool.strip()) == bool(people or skills):
        raise ItemError("“for” names nobody, or a pool and people too: give people and skills, or one pool's name.")
    return For(pool.strip(), people, tuple(sorted({skill.lower() for skill in skills})))


def names_of(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = value.get(name)
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, str) and len(one) <= USER_NAME for one in given):
        raise ItemError(f'“{name}” under “for” is not a list of names: write it as ["first", "second"].')
    return tuple(sorted({one.strip() for one in given if one.strip()}))


def author_of(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > USER_NAME:
        raise ItemError("“author” is not a name: write the user name of the member who wrote the response.")
    return value.strip()


def prompt_of(value: Any) -> Messages:
    """The messages that wait for an answer; a bare text is what a user said."""
    text = plain_text(value)
    prompt = messages_of(value, "prompt") if text is None else [{"role": "user", "content": text}]
    if not any(turn["content"].strip() for turn in prompt):
        raise ItemError("the prompt is empty: say under “prompt” what was asked.")
    return prompt


def responses_of(value: Any) -> tuple[CheckedResponse, ...]:
    if not isinstance(value, list) or not value:
        raise ItemError("there is no response: give at least one under “responses”.")
    if len(value) > MOST_RESPONSES:
        raise ItemError(f"there are {len(value)} responses: an item takes {MOST_RESPONSES} at most.")
    return tuple(response_of(response, f"response {number}") for number, response in enumerate(value, start=1))


def response_of(value: Any, name: str) -> CheckedResponse:
    """One response: {"model", "messages"}, a list of messages, or a bare text. An empty text is an answer too."""
    text = plain_text(value)
    if text is not None:
        return CheckedResponse("", [{"role": "assistant", "content": text}], {})
    if isinstance(value, list):
        return CheckedResponse("", messages_of(value, name), {})
    if not isinstance(value, dict):
        raise ItemError(f'{name} is missing: write it as {{"model": …, "messages": […]}}.')
    check_known(value, RESPONSE_FIELDS, "responses do not have: put it under the response's “metadata”.")
    inner = plain_text(value.get("messages"))
    messages = messages_of(value.get("messages"), name) if inner is None else [{"role": "assistant", "content": inner}]
    metadata = object_of(value.get("metadata"), "metadata")
    return CheckedResponse(model_of(value.get("model")), messages, metadata, author_of(value.get("author")))


def model_of(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NAME:
        raise ItemError(f"“model” is not a name: write the model's name as text of {NAME} characters at most.")
    return value


def messages_of(value: Any, name: str) -> Messages:
    """A list of chat messages with a known role, each brought to one text as content."""
    if not isinstance(value, list) or not value:
        raise ItemError(f'“{name}” is missing or not a list of messages: write [{{"role": …, "content": …}}].')
    return [message_of(message, name) for message in value]


def message_of(message: Any, name: str) -> Message:
    if not isinstance(message, dict):
        raise ItemError(f'a message of “{name}” is not an object: write {{"role": …, "content": …}}.')
    check_known(
        {key: value for key, value in message.items() if value not in (None, [])},
        ("role", "content", *FIELDS_OF_ROLE.get(str(message.get("role")), ())),
        f"messages (in “{name}”) do not keep: remove it.",
    )
    role = message.get("role")
    if role not in ROLES:
        raise ItemError(f"a message of “{name}” has the role {str(role)[:40]!r}: use one of {', '.join(ROLES)}.")
    return {"role": role, "content": said_in(message, name)}


def turns(messages: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[message["role"], message["content"]] for message in messages]


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def prompt_hash(prompt: Sequence[Mapping[str, Any]]) -> str:
    """Hash of a prompt's roles and contents: what decides its split, so pipeline.ml.splits has the same one."""
    return digest(turns(prompt))


def content_hash(prompt: Sequence[Mapping[str, Any]], responses: Sequence[CheckedResponse]) -> str:
    """Hash of prompt, responses in stored order and model names: what makes two items the same item."""
    return digest([turns(prompt), [[response.model, turns(response.messages)] for response in responses]])
