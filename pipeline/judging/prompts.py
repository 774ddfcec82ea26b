"""Versions of what judges are told: the sole writer of JudgePrompt."""

import re
from collections.abc import Mapping

from django.db import transaction
from django.db.models import Max

from annotate import audit
from annotate.models import Project, User
from pipeline.judging import built_in
from pipeline.models import JudgePrompt

PLACES = ("project", "title", "description", "options", "guidelines", "criteria", "principles")
PLACE = re.compile(r"\{([^{}\n]*)\}")
LONGEST = 20_000  # characters of one template or of the principles
EMPTY_PLACE = re.compile(PLACE.pattern + r"\n*")


class PromptError(Exception):
    """Words that cannot be kept as a prompt; the message says which and what to write."""


def render(template: str, words: Mapping[str, str]) -> str:
    """The template with its places filled. Braces in the words themselves are only text."""
    kept = EMPTY_PLACE.sub(lambda found: found[0] if words.get(found[1], found[0]) else "", template)
    return PLACE.sub(lambda found: words.get(found[1], found[0]), kept).strip()


def check_template(kind: str, template: str) -> str:
    """A template that can be kept. Raises PromptError."""
    text = template.replace("\r\n", "\n").strip()
    if kind not in built_in.TEMPLATES:
        raise PromptError(f"{kind!r} is not a kind of question: use one of {', '.join(built_in.TEMPLATES)}.")
    if not text or len(text) > LONGEST:
        raise PromptError(f"The words for {kind} are empty or too long: write 1 to {LONGEST:,} characters.")
    unknown = sorted({place for place in PLACE.findall(text) if place not in PLACES})
    if unknown:
        raise PromptError(
            f"The words for {kind} have the place {{{unknown[0]}}}, which nothing fills: use "
            f"{', '.join(f'{{{place}}}' for place in PLACES)}."
        )
    return text


def first_prompt(project: Project) -> JudgePrompt:
    """The built-in words, as the project's first version."""
    found, _ = JudgePrompt.objects.get_or_create(
        project=project,
        number=1,
        defaults={"name": built_in.NAME, "templates": built_in.TEMPLATES, "note": "built in"},
    )
    return found


@transaction.atomic
def save_prompt(
    *,
    project: Project,
    templates: Mapping[str, str],
    principles: str = "",
    note: str = "",
    by: User | None = None,
) -> JudgePrompt:
    """A new version with these words; kinds that are left out keep the newest version's. Raises PromptError.

    Words that are those of the newest version give that version: nothing new is made.
    """
    first_prompt(project)
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # one number at a time
    newest = JudgePrompt.objects.filter(project=project).order_by("-number")[0]
    checked = {kind: check_template(kind, text) for kind, text in templates.items()}
    said = principles.replace("\r\n", "\n").strip()
    if len(said) > LONGEST:
        raise PromptError(f"The principles are too long: write at most {LONGEST:,} characters.")
    whole = {**newest.templates, **checked}
    if (whole, said) == (newest.templates, newest.principles):
        return newest
    number = (JudgePrompt.objects.filter(project=project).aggregate(most=Max("number"))["most"] or 0) + 1
    made = JudgePrompt.objects.create(
        project=project,
        number=number,
        name=f"prompt-{number}",
        templates=whole,
        principles=said,
        note=note[:300],
        created_by=by,
    )
    after = {"note": note, "kinds": sorted(kind for kind in checked if checked[kind] != newest.templates.get(kind))}
    audit.record(
        project=project,
        by=by,
        verb=audit.CREATED,
        kind="judge_prompt",
        object_id=made.pk,
        words=made.name,
        after=after,
    )
    return made
