"""Making and changing judges. A judge is a rater of its project, under the same name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Exists, OuterRef

from annotate import audit
from annotate.models import Project, Rater, User
from pipeline.judging import settling
from pipeline.judging.config import kept, protocol_of
from pipeline.judging.evidence import EvidenceError, tools_of
from pipeline.judging.prompts import first_prompt
from pipeline.judging.secrets import encrypt
from pipeline.ml.configs import ConfigError
from pipeline.models import Judge, JudgeCall, JudgeMember, JudgePrompt, ModelVersion

CHANGEABLE = {
    "base_url", "model", "enabled", "concurrency", "timeout_seconds", "max_tokens", "price_input", "price_output",
    "price_cached", "spend_cap", "per_minute", "prompt", "protocol",
}  # fmt: skip

MOST_MODELS = 8  # of an ensemble


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


def origin(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


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
    made = create(
        project=project,
        name=name,
        kind=Judge.ENDPOINT,
        base_url=checked_url(base_url),
        model=model,
        encrypted_key=encrypt(checked_key(key)),
        **settings,
    )
    record(made, audit.CREATED, by, after={"model": model, "base_url": made.base_url, **in_words(settings)})
    return made


def create(
    *,
    project: Project,
    name: str,
    prompt: JudgePrompt | None = None,
    protocol: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Judge:
    """A judge with its rater; the project's first prompt and the plain protocol where none is given."""
    words = prompt or first_prompt(project)
    return Judge.objects.create(
        project=project,
        rater=new_rater(project, name),
        name=name,
        prompt=words,
        prompt_version=words.name,
        protocol=checked_protocol(protocol or {}),
        **fields,
    )


def checked_protocol(values: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol as judges keep it; {} stays the plain one. Raises SetupError for what cannot be, on this site."""
    try:
        how = protocol_of(dict(values))
        tools_of(how)
    except (ConfigError, EvidenceError) as error:
        raise SetupError(str(error)) from None
    return kept(how) if values else {}


def in_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the log takes them."""
    return {name: value.name if isinstance(value, JudgePrompt) else value for name, value in settings.items()}


@transaction.atomic
def create_group_judge(
    *, project: Project, name: str, kind: str, members: Sequence[Judge], by: User | None = None, **settings: Any
) -> Judge:
    """A panel, or a cascade whose members come from cheap to dear. Raises SetupError."""
    if kind not in Judge.OF_MEMBERS or len(set(members)) < 2 or len(set(members)) < len(members):
        raise SetupError("A panel or a cascade needs two judges or more, each once.")
    strange = [member.name for member in members if member.project_id != project.pk or member.kind != Judge.ENDPOINT]
    if strange:
        raise SetupError(f"{strange[0]!r} cannot be a member: choose judges of this project that have an endpoint.")
    made = create(
        project=project, name=name, kind=kind, model=" + ".join(member.model for member in members)[:200], **settings
    )
    JudgeMember.objects.bulk_create(
        JudgeMember(judge=made, member=member, position=place) for place, member in enumerate(members)
    )
    record(made, audit.CREATED, by, after={"members": [member.name for member in members], **in_words(settings)})
    return made


@transaction.atomic
def create_reward_judge(
    *, project: Project, name: str, models: Sequence[ModelVersion], enabled: bool = True, by: User | None = None
) -> Judge:
    """A judge that is one reward model of ours, or several as an ensemble. Raises SetupError."""
    if not models or len(models) > MOST_MODELS or any(model.kind != ModelVersion.REWARD for model in models):
        raise SetupError(f"A reward judge needs 1 to {MOST_MODELS} reward models of the registry.")
    called = " + ".join(model.name for model in models)[:200]
    made = create(project=project, name=name, kind=Judge.REWARD, model=called, enabled=enabled)
    made.reward_models.set(models)
    record(made, audit.CREATED, by, after={"models": [model.name for model in models], "enabled": enabled})
    return made


def record(judge: Judge, verb: str, by: User | None, **values: dict[str, Any]) -> None:
    """An act on a judge; its key is never part of it."""
    audit.record(project=judge.project, by=by, verb=verb, kind="judge", object_id=judge.pk, words=judge.name, **values)


@transaction.atomic
def create_local_judge(
    *, project: Project, name: str, model_version: ModelVersion, enabled: bool = True, by: User | None = None
) -> Judge:
    """A judge that is a model of the registry. Raises SetupError."""
    made = create(project=project, name=name, kind=Judge.LOCAL, model_version=model_version, enabled=enabled)
    record(made, audit.CREATED, by, after={"model": model_version.name, "enabled": enabled})
    return made


@transaction.atomic
def change_judge(*, judge: Judge, key: str | None = None, by: User | None = None, **values: Any) -> Judge:
    """Change a judge's settings and let it be asked again. `key` None keeps the key, "" forgets it.

    Model and protocol stay once it has judged: another one is another judge, with statistics of its own. Another
    prompt counts from what is asked next; annotations keep the name of theirs. Raises SetupError.
    """
    locked = Judge.objects.select_for_update().get(pk=judge.pk)
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise SetupError(f"{', '.join(sorted(unknown))} cannot be changed.")
    if values.get("model", locked.model) != locked.model and has_judged(locked):
        raise SetupError("This judge has judged already. Another model is another judge: set up a new one.")
    if "protocol" in values:
        values["protocol"] = checked_protocol(values["protocol"])
        if has_judged(locked) and protocol_of(values["protocol"]) != protocol_of(locked.protocol):
            raise SetupError("This judge has judged already. Another protocol is another judge: set up a new one.")
    if values.get("prompt"):
        values["prompt_version"] = values["prompt"].name
        asked_anew(locked, values["prompt_version"])
    if "base_url" in values:
        values["base_url"] = checked_url(values["base_url"])
        if key is None and locked.encrypted_key and origin(values["base_url"]) != origin(locked.base_url):
            raise SetupError(
                f"The key that is kept was given for {origin(locked.base_url)} and goes to no other address: enter "
                "the key for the new one, or forget the old."
            )
    before, after = audit.difference(in_words({name: getattr(locked, name) for name in values}), in_words(values))
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


def asked_anew(judge: Judge, prompt_version: str) -> None:
    """What is due and has not been asked yet is asked with another prompt, unless that was asked already."""
    done = JudgeCall.objects.filter(
        judge=judge, item=OuterRef("item"), order_key=OuterRef("order_key"), prompt_version=prompt_version
    )
    waiting = JudgeCall.objects.filter(judge=judge, state=JudgeCall.PENDING, claim="", attempts=0)
    waiting.filter(~Exists(done)).update(prompt_version=prompt_version)


@transaction.atomic
def ask_now(*, judge: Judge, by: User, failed: bool) -> int:
    """Let a judge that rests or has stopped be asked at once; with `failed` also what it failed at: how many."""
    count = settling.ask_again(judge=judge) if failed else 0
    settling.resume(judge=judge)
    record(judge, audit.STARTED, by, after={"failed_again": count} if failed else {})
    return count


def has_judged(judge: Judge) -> bool:
    return JudgeCall.objects.filter(judge=judge).exclude(state=JudgeCall.PENDING).exists()
