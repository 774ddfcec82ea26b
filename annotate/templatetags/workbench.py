"""Keys in the markup: those in force for the user who looks. And words that the scripts fill in."""

import json
from types import SimpleNamespace
from typing import Any

from django import template
from django.template import Context
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, ngettext

from annotate import keys, preferences, reasons, stencils
from annotate.models import Project, User

register = template.Library()
# A number of each of Unicode's plural categories, the same for the languages that have them (Arabic has all six).
PLURALS = {"zero": 0, "one": 1, "two": 2, "few": 3, "many": 11, "other": 100}


def in_force(context: Context) -> dict[str, str]:
    """Action → key for the user of this page, looked up once a rendering; the keys at first where there is none."""
    if "keys_in_force" not in context.render_context:
        user = context.get("user")
        own = preferences.own_keys(user) if isinstance(user, User) else {}
        context.render_context["keys_in_force"] = keys.in_force(own)
    return context.render_context["keys_in_force"]


@register.simple_tag(takes_context=True)
def key(context: Context, name: Any) -> str:
    """The user's key for an action, or for what has this key at first: `{% key "skip" %}`, `{% key point.level %}`.

    What is neither stays as it is.
    """
    return in_force(context).get(keys.NAME_OF.get(str(name), str(name)), str(name))


@register.simple_tag(takes_context=True)
def hint(context: Context, name: Any) -> str:
    """The same as a person reads it: ↵ for enter."""
    return keys.shown(key(context, name))


@register.simple_tag(takes_context=True)
def key_range(context: Context, ends: str) -> str:
    """The user's keys for a range such as “q–t”."""
    return "–".join(str(hint(context, end)) for end in ends.split("–"))


@register.simple_tag(takes_context=True)
def stencil(context: Context, name: str, *vary: Any) -> SafeString:
    """Include a fragment that is the same for every item but for the assignment's id, the token and the page's key.

    `vary` is what it depends on besides the project's versions, the language and the user's keys.
    """
    project, assignment = context["project"], context["assignment"]
    own = tuple(in_force(context).values())
    numbers = (project.pk, project.created_at, project.rubric_version, project.guideline_version)
    versions = (*numbers, project.skip_reasons, project.flag_reasons)

    def draw() -> str:
        stand_in = SimpleNamespace(pk=stencils.PK, state=assignment.state, active_seconds=0.0)
        with context.push(assignment=stand_in, csrf_token=stencils.CSRF_TOKEN, key=stencils.KEY):
            return context.template.engine.get_template(name).render(context)  # type: ignore[union-attr]

    values = {
        str(stencils.PK): str(assignment.pk),
        stencils.CSRF_TOKEN: escape(context["csrf_token"]),
        stencils.KEY: escape(context["key"]),
    }
    text = stencils.filled((name, get_language(), own, versions, *vary), draw, values)
    return mark_safe(text)  # noqa: S308 - rendered by a template, with what is filled in escaped


@register.simple_tag(takes_context=True)
def reading_classes(context: Context) -> str:
    """The classes of the workbench for the reading aids that the user left on."""
    user = context.get("user")
    aids = preferences.reading(user) if isinstance(user, User) else {}
    return " ".join(f"reads-{name}" for name, is_on in aids.items() if is_on)


@register.simple_tag(takes_context=True)
def reads(context: Context, aid: str) -> bool:
    """Did the user leave this reading aid on?"""
    user = context.get("user")
    return isinstance(user, User) and preferences.reading(user)[aid]


@register.simple_tag
def flag_reasons(project: Project) -> list[tuple[str, str]]:
    """What can be wrong with an item, to choose from."""
    return reasons.offered(project.flag_reasons, reasons.FLAG)


@register.simple_tag
def skip_reasons(project: Project) -> list[tuple[str, str]]:
    """Reasons at hand for putting an item aside: what is kept, and the words on the screen."""
    return reasons.offered(project.skip_reasons, reasons.SKIP)


@register.simple_tag
def waiting_words() -> str:
    """How many answers are not sent yet, as JSON: plural category → words, {n} to be filled in by the script."""
    forms = {
        category: ngettext(
            "kept in this browser, not sent yet ({n} answer waiting)",
            "kept in this browser, not sent yet ({n} answers waiting)",
            number,
        )
        for category, number in PLURALS.items()
    }
    return json.dumps(forms, ensure_ascii=False)
