"""Keys in the markup: those in force for the user who looks. And words that the scripts fill in."""

import json
from typing import Any

from django import template
from django.template import Context
from django.utils.translation import gettext_lazy, ngettext

from annotate import keys, preferences
from annotate.models import Flag, User

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
def flag_kinds() -> list[tuple[str, Any]]:
    """What can be wrong with an item, to choose from."""
    return list(Flag.KINDS)


@register.simple_tag
def skip_reasons() -> list[tuple[str, Any]]:
    """Reasons at hand for putting an item aside: what is kept, and the words on the screen."""
    return [
        ("unclear", gettext_lazy("unclear")),
        ("not my field", gettext_lazy("not my field")),
        ("harmful", gettext_lazy("harmful")),
        ("broken", gettext_lazy("broken")),
    ]


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
