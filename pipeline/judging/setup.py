"""Making and changing judges. A judge is a rater of its project, under the same name."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction

from annotate import audit
from annotate.models import Project, Rater, User
from pipeline.judging import settling
from pipeline.judging.protocol import PROMPT_VERSION
from pipeline.judging.secrets import encrypt
from pipeline.models import Judge, JudgeCall, ModelVersion

CHANGEABLE = {
    "base_url", "model", "enabled", "concurrency", "timeout_seconds", "max_tokens", "price_input", "price_output",
    "spend_cap",
}  # fmt: skip


class SetupError(Exception):
    """A judge cannot be made or changed as asked; the message says why and what to do."""


def checked_url(url: str) -> str:
    """The address of an endpoint, without what the client adds to it. Raises SetupError."""
    address = url.strip().rstrip("/").removesuffix("/chat/completions")
    parts = urlsplit(address)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", address) or parts.query or parts.fragment:
        raise SetupError(f"{url!r} is not the address of an endpoint: write one like https://api.example.com/v1")
    return address


def checked_key(key: str) -> str:
    """A key as it can stand in a request's header. Raises SetupError."""
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise SetupError("The key holds characters that keys never hold: copy it again.")
    return key


def new_rater(project: Project, name: str) -> Rater:
    """The rater that a new judge is. Raises SetupError where the name is taken."""
    rater, is_new = Rater.objects.get_or_create(project=project, kind=Rater.JUDGE, name=name)
    if not is_new:
        raise SetupError(
            f"There is a judge {name!r} in this project already, perhaps from a file: choose another name."
        )
    return rater


@transaction.atomic
def create_endpoint_judge(
    *,
    project: Project,
    name: str,
    base_url: str,
    model: str,
    key: str = "",
    by: User | None = None,
    **settings: Any,
) -> Judge:
    """A judge behind an OpenAI-compatible endpoint; `settings` are further fields of Judge. Raises SetupError."""
    made = Judge.objects.create(
        project=project,
        rater=new_rater(project, name),
        name=name,
        kind=Judge.ENDPOINT,
        base_url=checked_url(base_url),
        model=model,
        encrypted_key=encrypt(checked_key(key)),
        prompt_version=PROMPT_VERSION,
        **settings,
    )
    record(made, audit.CREATED, by, after={"model": model, "base_url": made.base_url, **settings})
    return made


def record(judge: Judge, verb: str, by: User | None, **values: dict[str, Any]) -> None:
    """An act on a judge; its key is never part of it."""
    audit.record(project=judge.project, by=by, verb=verb, kind="judge", object_id=judge.pk, words=judge.name, **values)


@transaction.atomic
def create_local_judge(
    *, project: Project, name: str, model_version: ModelVersion, enabled: bool = True, by: User | None = None
) -> Judge:
    """A judge that is a model of the registry. Raises SetupError."""
    made = Judge.objects.create(
        project=project,
        rater=new_rater(project, name),
        name=name,
        kind=Judge.LOCAL,
        model_version=model_version,
        prompt_version=PROMPT_VERSION,
        enabled=enabled,
    )
    record(made, audit.CREATED, by, after={"model": model_version.name, "enabled": enabled})
    return made


@transaction.atomic
def change_judge(*, judge: Judge, key: str | None = None, by: User | None = None, **values: Any) -> Judge:
    """Change a judge's settings and let it be asked again. `key` None keeps the key, "" forgets it.

    The model stays once it has judged: another model is another judge, with statistics of its own. Raises SetupError.
    """
    locked = Judge.objects.select_for_update().get(pk=judge.pk)
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise SetupError(f"{', '.join(sorted(unknown))} cannot be changed.")
    if values.get("model", locked.model) != locked.model and has_judged(locked):
        raise SetupError("This judge has judged already. Another model is another judge: set up a new one.")
    if "base_url" in values:
        values["base_url"] = checked_url(values["base_url"])
    before, after = audit.difference({name: getattr(locked, name) for name in values}, values)
    if key is not None:
        values["encrypted_key"] = encrypt(checked_key(key))
        after["credentials"] = "replaced" if key.strip() else "forgotten"
    for name, value in values.items():
        setattr(locked, name, value)
    # What was learned about the endpoint as it was set up before no longer counts.
    locked.answered_at, locked.dialect = None, {}
    locked.save(update_fields=[*values, "answered_at", "dialect"])
    settling.resume(judge=locked)
    record(locked, audit.CHANGED, by, before=before, after=after)
    return Judge.objects.get(pk=judge.pk)


@transaction.atomic
def ask_now(*, judge: Judge, by: User, failed: bool) -> int:
    """Let a judge that rests or has stopped be asked at once; with `failed` also what it failed at: how many."""
    count = settling.ask_again(judge=judge) if failed else 0
    settling.resume(judge=judge)
    record(judge, audit.STARTED, by, after={"failed_again": count} if failed else {})
    return count


def has_judged(judge: Judge) -> bool:
    return JudgeCall.objects.filter(judge=judge).exclude(state=JudgeCall.PENDING).exists()
