"""Labels in words: what they say for each kind of question, and how many votes stand behind them."""

from collections.abc import Callable
from typing import Any

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.models import Label
from annotate.templatetags.answers import LETTERS, answer

register = template.Library()
FEW = 3  # votes below which a probability is told together with their number


def ranking(ranks: list[int]) -> str:
    """Dense ranks as an order of letters: [2, 1, 2] → b > a = c."""
    groups = [[LETTERS[place] for place, rank in enumerate(ranks) if rank == step] for step in sorted(set(ranks))]
    return " > ".join(" = ".join(group) for group in groups)


def choice(values: list[str]) -> str:
    return ", ".join(values) or "–"


def first_errors(responses: list[list[str | None]]) -> str:
    """Per response the number of its first bad step: “a no error · b step 3”."""
    return " · ".join(f"{LETTERS[place]} {first_error(marks)}" for place, marks in enumerate(responses))


def first_error(marks: list[str | None]) -> str:
    return _("step %(number)d") % {"number": marks.index("bad") + 1} if "bad" in marks else _("no error")


def span_count(spans: list[dict[str, object]]) -> str:
    return ngettext("%(count)d span", "%(count)d spans", len(spans)) % {"count": len(spans)}


WORDS: dict[str, Callable[[Any], str]] = {
    "ranking": ranking,
    "choice": choice,
    "step": first_errors,
    "span": span_count,
}


@register.filter
def outcome(label: Label) -> str:
    """What the label says: “a”, “a 4.5 · b 2”, “b > a = c”, “first error: b 3”, “2 spans”, “polite, short”."""
    return WORDS.get(label.question.kind, answer)(label.value)


@register.filter
def votes(label: Label) -> str:
    """How many votes, and whose: “1 judge vote”, “3 people's votes”."""
    words = {
        "human": ngettext("%(count)d person's vote", "%(count)d people's votes", label.votes),
        "judge": ngettext("%(count)d judge vote", "%(count)d judge votes", label.votes),
        "prior": _("no vote, a model's guess"),
    }[label.decided_by]
    return words % {"count": label.votes} if label.votes else words


@register.filter
def few_votes(label: Label) -> str:
    """The number of votes where it is small enough to explain a modest probability; nothing otherwise."""
    return votes(label) if label.votes < FEW else ""


@register.filter
def meaning(label: Label) -> str:
    """What the probability is: a smoothed share of so many votes, or a posterior, in words."""
    if label.method.startswith("majority"):
        return _("A smoothed share of %(votes)s: each option starts with one vote, so few votes stay modest.") % {
            "votes": votes(label)
        }
    return _("%(method)s, of %(votes)s") % {"method": label.method, "votes": votes(label)}


@register.filter
def doubt(label: Label) -> str:
    """How sure a mean or a set of spans is: “± 0.35 · ± 0.5 (standard error)”, “agreement 0.62”; else nothing."""
    errors = [error for error in label.details.get("standard_errors", []) if error is not None]
    if errors:
        return _("%(errors)s (standard error)") % {"errors": " · ".join(f"± {error:.2f}" for error in errors)}
    agreement = label.details.get("agreement")
    return _("agreement %(share).2f") % {"share": agreement} if agreement is not None else ""
