"""The list of a project's items: what narrows it, how it is ordered, one page of it, and how long it is about.

A page starts at a key in an index and reads one page from there, so the last costs as little as the first; large
texts are left where they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Prefetch, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast
from django.utils.translation import gettext_lazy as _

from annotate import tallies
from annotate.aggregation import main_first
from annotate.managing import searching
from annotate.models import Annotation, Comment, Flag, Item, Label, Project, Question, Rater, Response

PAGE = 50  # items on a page
COUNTED = 10_000  # items that are counted one by one; beyond, the database's own guess is shown
MANY_VOTES = 2  # raters from which on they can differ


@dataclass(frozen=True)
class Order:
    """A way to sort: the key, and whether it and the id that settles draws fall."""

    words: Any
    key: str
    falls: bool
    id_falls: bool
    by_label: bool = False


NEWEST, PRIORITY, UNSURE, SURE, DISAGREEMENT = "newest", "priority", "unsure", "sure", "disagreement"
ORDERS = {
    NEWEST: Order(_("newest first"), "pk", falls=True, id_falls=True),
    PRIORITY: Order(_("most urgent first"), "priority", falls=True, id_falls=False),
    UNSURE: Order(_("least sure first"), "main__probability", falls=False, id_falls=False, by_label=True),
    SURE: Order(_("surest first"), "main__probability", falls=True, id_falls=True, by_label=True),
    DISAGREEMENT: Order(_("raters differ, least sure first"), "main__probability", falls=False, id_falls=False,
                        by_label=True),
}  # fmt: skip

COLUMNS = {
    "label": _("label"),
    "votes": _("votes"),
    "state": _("state"),
    "route": _("routed to"),
    "pool": _("pool"),
    "priority": _("priority"),
    "models": _("models"),
    "created": _("came in"),
    "id": _("id"),
}
USUAL = ("label", "state", "route", "id")


@dataclass(frozen=True)
class Page:
    """One page of the list; `older` and `newer` are where the neighbouring pages begin."""

    items: list[Item]
    older: str | None
    newer: str | None


# --- What narrows it ------------------------------------------------------------------------------------------
def main_question(project: Project) -> Question | None:
    """The question whose label the list is about: the first preference, else the first question."""
    return next(iter(main_first(project.questions.all())), None)


def narrowed(project: Project, chosen: Mapping[str, Any], main: Question | None) -> QuerySet[Item]:
    """The project's items that fit what ItemsFilter has cleaned; None and "" are "any"."""
    items = Item.objects.filter(project=project, **plain_lookups(chosen))
    items = searching.with_words(items, project, chosen.get("q") or "")
    if chosen.get("tag"):
        items = with_tag(items, chosen["tag"])
    if chosen.get("model"):
        items = items.filter(Exists(Response.objects.filter(item=OuterRef("pk"), model=chosen["model"])))
    if chosen.get("flagged"):
        items = items.filter(Exists(Flag.objects.filter(item=OuterRef("pk"), resolved_at=None)))
    if chosen.get("discussed"):
        items = items.filter(Exists(Comment.objects.filter(item=OuterRef("pk"))))
    said = Annotation.objects.filter(item=OuterRef("pk"))
    if chosen.get("rater"):
        items = items.filter(Exists(said.filter(rater=chosen["rater"])))
    if chosen.get("reason"):
        items = items.filter(Exists(said.exclude(reason="")))
    return by_label(items, chosen, main)


def plain_lookups(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the item's own columns answer."""
    lookups = {name: chosen[name] for name in ("state", "source", "pool") if chosen.get(name)}
    if chosen.get("route") is not None:
        lookups["route"] = chosen["route"]
    return lookups | {f"created_at__{bound}": moment for bound, moment in (chosen.get("created") or {}).items()}


def with_tag(items: QuerySet[Item], tag: str) -> QuerySet[Item]:
    if connection.vendor == "postgresql":
        return items.filter(tags__contains=[tag])
    # Tags are stored as a JSON list: the tag in its quotes is a whole one.
    return items.annotate(tags_text=Cast("tags", TextField())).filter(tags_text__contains=json.dumps(tag))


def by_label(items: QuerySet[Item], chosen: Mapping[str, Any], main: Question | None) -> QuerySet[Item]:
    """Those whose label of the main question fits: value, probability, disagreement."""
    order = ORDERS[chosen.get("sort") or NEWEST]
    asked = {"value": chosen.get("label") or None, "probability__gte": chosen.get("low"),
             "probability__lte": chosen.get("high")}  # fmt: skip
    lookups = {f"main__{name}": value for name, value in asked.items() if value is not None}
    differing = chosen.get("differ") or chosen.get("sort") == DISAGREEMENT
    if not (lookups or differing or order.by_label):
        return items
    if main is None:
        return items.none()
    items = items.annotate(main=FilteredRelation("labels", condition=Q(labels__question=main)))
    if order.by_label:
        lookups["main__probability__isnull"] = False
    if differing:
        lookups["main__votes__gte"] = MANY_VOTES
        items = items.annotate(voices=voices(main))
        return items.filter(**lookups, voices__gt=1)
    return items.filter(**lookups)


def voices(main: Question) -> Subquery:
    """How many different answers people gave to the question, as they stand now."""
    answer = f"answers__{main.name}__choice" if main.kind == Question.PREFERENCE else f"answers__{main.name}"
    people = Annotation.objects.filter(
        item=OuterRef("pk"), rater__kind=Rater.HUMAN, counted=True, replaced_by=None, answers__has_key=main.name
    )
    # Compared as text: JSON has no order on every database.
    said = people.order_by().annotate(said=Cast(answer, TextField())).values("item")
    return Subquery(said.annotate(n=Count("said", distinct=True)).values("n"))


# --- A page of it ---------------------------------------------------------------------------------------------
def page(
    project: Project,
    chosen: Mapping[str, Any],
    *,
    before: str | None = None,
    after: str | None = None,
    columns: tuple[str, ...] = USUAL,
) -> Page:
    """The page that follows the item at `before`, or that ends at the one at `after`, or the first."""
    order = ORDERS[chosen.get("sort") or NEWEST]
    found = narrowed(project, chosen, main_question(project)).defer("prompt", "metadata")
    labels = Label.objects.select_related("question").order_by("question__position")
    found = found.select_related("pool").prefetch_related(Prefetch("labels", labels))
    if "models" in columns:
        written = Response.objects.only("item", "position", "model")
        found = found.prefetch_related(Prefetch("responses", written, to_attr="written"))
    if order.by_label:
        found = found.annotate(order_key=F(order.key))
    back = key_in(order, after)
    if back is not None:
        rows = list(beyond(found, order, back, backwards=True)[: PAGE + 1])
        items = rows[:PAGE][::-1]
        return Page(items, key_of(order, items[-1:]), key_of(order, items[:1]) if len(rows) > PAGE else None)
    start = key_in(order, before)
    rows = list(beyond(found, order, start, backwards=False)[: PAGE + 1])
    items = rows[:PAGE]
    older = key_of(order, items[-1:]) if len(rows) > PAGE else None
    return Page(items, older, key_of(order, items[:1]) if start is not None else None)


Key = tuple[Any, int]


def key_of(order: Order, items: list[Item]) -> str | None:
    """Where an item stands in the order, as an address says it: "17", or "0.6_17"."""
    if not items:
        return None
    item = items[0]
    if order.key == "pk":
        return str(item.pk)
    value = item.priority if order.key == "priority" else item.__dict__["order_key"]
    return f"{value!r}_{item.pk}"


def key_in(order: Order, text: str | None) -> Key | None:
    """What `key_of` wrote, read again; None where it is no such key."""
    try:
        if order.key == "pk":
            return (None, int(text or ""))
        value, pk = (text or "").split("_")
        return (float(value), int(pk))
    except ValueError:
        return None


def beyond(found: QuerySet[Item], order: Order, start: Key | None, *, backwards: bool) -> QuerySet[Item]:
    """The items behind a key, in order; backwards those before it, the nearest first."""
    falls, id_falls = order.falls != backwards, order.id_falls != backwards
    id_name = "-pk" if id_falls else "pk"
    in_order = found.order_by(id_name) if order.key == "pk" else found.order_by(signed(order.key, falls), id_name)
    if start is None:
        return in_order
    value, pk = start
    further = Q(**{f"pk__{'lt' if id_falls else 'gt'}": pk})
    if order.key == "pk":
        return in_order.filter(further)
    # The first of the two is what the index can start at; the second cuts off those with the same value.
    ahead = "lt" if falls else "gt"
    bound = Q(**{f"{order.key}__{ahead}e": value})
    return in_order.filter(bound, Q(**{f"{order.key}__{ahead}": value}) | further)


def signed(key: str, falls: bool) -> str:
    return f"-{key}" if falls else key


# --- How long it is -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Size:
    """How many items fit; `exact` is False where the number is the database's own guess or a lower bound."""

    number: int
    exact: bool
    at_least: bool = False


def size(project: Project, chosen: Mapping[str, Any]) -> Size:
    """How many items fit: a kept count, or counted up to a bound, or about."""
    by_label = ORDERS[chosen.get("sort") or NEWEST].by_label
    asked = any(value for name, value in chosen.items() if name != "sort") or chosen.get("route") is not None
    if not (asked or by_label):
        counts = tallies.read(project.pk)
        if not counts.get(tallies.ARCHIVED):
            return Size(counts.get(tallies.ITEMS, 0) + counts.get(tallies.GOLD, 0), exact=True)
    found = narrowed(project, chosen, main_question(project))
    guess = planned_rows(found) if connection.vendor == "postgresql" else 0
    if guess > COUNTED:
        return Size(guess, exact=False)
    counted = found.order_by()[: COUNTED + 1].count()
    if counted <= COUNTED:
        return Size(counted, exact=True)
    return Size(COUNTED, exact=False, at_least=True)


def planned_rows(found: QuerySet[Item]) -> int:
    """What PostgreSQL's planner expects, from its statistics."""
    plan = json.loads(found.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])
