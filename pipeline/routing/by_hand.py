"""Who is asked about items, by a manager's word instead of a policy's draw: the verb “reroute” of bulk acts.

A decision by hand is certain, so its propensity is 1; whoever learns from propensities must leave it out or say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.managing import bulk, curating
from annotate.models import Item, Project, User
from annotate.queue import PEOPLE, open_to_people
from pipeline.routing import deciding
from pipeline.routing.choosing.opening import Choice

NAME, VERSION = "by hand", "1"
WORDS = dict(Item.ROUTES)


def read(ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Item → its route and how many people are wanted."""
    rows = Item.objects.filter(pk__in=ids).values_list("pk", "route", "overlap")
    return {pk: {"route": route, "overlap": overlap} for pk, route, overlap in rows}


def wanted(now: Mapping[str, Any], route: str) -> dict[str, Any]:
    """Sent to people, an item gets the project's overlap unless it has one already; to a judge alone, nobody."""
    if route == now["route"]:
        return dict(now)
    return {"route": route, "overlap": (now["overlap"] or None) if route in PEOPLE else 0}


def write(project: Project, routes: Mapping[int, Mapping[str, Any]], by: User | None) -> set[int]:
    """Keep the decisions and do them. The former route of an item that had none is to wait for the router again."""
    groups: dict[str, list[int]] = {}
    for pk, facet in routes.items():
        groups.setdefault(facet["route"], []).append(pk)
    for route, ids in groups.items():
        if route:
            keep(ids, route, by)
        open_to_people(item_ids=ids, decision=route)
    exact = {pk: facet["overlap"] for pk, facet in routes.items() if facet["overlap"] is not None}
    curating.set_overlap(project, exact)
    return set()


def keep(ids: Sequence[int], decision: str, by: User | None) -> None:
    reason = _("Decided by %(name)s for many items at once.") % {"name": by or NAME}
    choice = Choice(decision, NAME, reason, {decision: 1.0})
    deciding.keep([deciding.Decided(pk, choice) for pk in ids], VERSION)


def in_words(facet: Mapping[str, Any]) -> str:
    words = WORDS[facet["route"]]
    return f"{words} ({facet['overlap']})" if facet["overlap"] else words


def verb(name: str, words: Any, route: str) -> bulk.Verb:
    return bulk.Verb(name, words, read, lambda now, _value: wanted(now, route), write, say=in_words)


VERBS = (
    verb("to_people", gettext_lazy("Send to people"), Item.HUMAN),
    verb("to_judge", gettext_lazy("Send to the judge"), Item.JUDGE),
    verb("to_both", gettext_lazy("Send to people and the judge"), Item.BOTH),
)


def offer() -> None:
    """Offer the verbs to bulk acts."""
    for each in VERBS:
        bulk.register(each)
