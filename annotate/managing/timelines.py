"""Everything that happened to one item, oldest first: this application's part of its time line.

The pipeline adds what it did (see `pipeline.views.item_facts`); the two are one list on the item's page.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from annotate.managing import bulk
from annotate.models import Annotation, Assignment, BulkChange, Change, Comment, Flag, Item
from annotate.templatetags.answers import answer, presented

MOST = 200  # rows of one kind that are looked at, the newest

PERSON, JUDGE, SYSTEM = "human", "judge", ""


@dataclass(frozen=True)
class Event:
    """Something that happened: when, in words, to whom it is owed, and where there is more about it."""

    at: datetime
    words: str
    who: str = ""
    kind: str = SYSTEM
    details: str = ""
    link: str = ""
    managers_only: bool = False  # the link leads where only managers may go


def of_item(item: Item) -> list[Event]:
    """What people and managers did with the item; a fixed number of queries."""
    parts = (
        arrival(item),
        leases(item),
        said(item),
        discussed(item),
        flagged(item),
        settled(item),
        changed_in_bulk(item),
    )
    return in_order(event for part in parts for event in part)


def in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.at)


def arrival(item: Item) -> list[Event]:
    source = item.source
    if source is None:
        return [Event(item.created_at, _("Came in"), details=item.external_id)]
    link = reverse("import", args=[item.project.slug, source.pk])
    words = _("Came in with the file %(name)s") % {"name": source.file_name}
    who = source.created_by.username if source.created_by else ""
    return [Event(item.created_at, words, who=who, details=item.external_id, link=link, managers_only=True)]


ENDS = {
    Assignment.SKIPPED: lambda: _("Skipped"),
    Assignment.EXPIRED: lambda: _("The lease ran out or was given back"),
}


def leases(item: Item) -> list[Event]:
    """When it was opened by whom, and how that ended where it ended without an answer."""
    found = Assignment.objects.filter(item=item).select_related("rater").defer("draft").order_by("-pk")
    events = []
    for lease in found[:MOST]:
        theirs = partial(Event, who=lease.rater.name, kind=PERSON)
        order = _("shown as %(order)s") % {"order": presented(lease.order)}
        events.append(theirs(lease.leased_at, _("Opened to label"), details=order))
        if lease.state in ENDS:
            ended = lease.finished_at or lease.expires_at
            events.append(theirs(ended, ENDS[lease.state](), details=lease.skip_reason))
    return events


def said(item: Item) -> list[Event]:
    """Each annotation, and each revision of one."""
    found = Annotation.objects.filter(item=item).select_related("rater").order_by("-pk")
    return [
        Event(
            each.submitted_at,
            verdict(each),
            who=each.rater.name,
            kind=each.rater.kind,
            details=" · ".join(part for part in (in_words(each.answers), each.reason) if part),
        )
        for each in found[:MOST]
    ]


def verdict(annotation: Annotation) -> str:
    if annotation.revision:
        return _("Changed the answer (revision %(number)s)") % {"number": annotation.revision}
    return _("Answered") if annotation.counted else _("Answered late; it does not count")


def in_words(answers: dict[str, Any]) -> str:
    return ", ".join(
        answer(given) if name == "preference" else f"{name} {answer(given)}" for name, given in answers.items()
    )


def discussed(item: Item) -> list[Event]:
    found = Comment.objects.filter(item=item).select_related("author").order_by("-pk")[:MOST]
    return [
        Event(each.created_at, _("Commented"), who=str(each.author or each.written_by), details=each.body)
        for each in found
    ]


def flagged(item: Item) -> list[Event]:
    found = Flag.objects.filter(item=item).select_related("rater", "resolved_by").order_by("-pk")
    events = []
    for flag in found[:MOST]:
        words = _("Flagged: %(problem)s") % {"problem": flag.get_kind_display()}
        events.append(Event(flag.created_at, words, who=flag.rater.name, kind=PERSON, details=flag.comment))
        if flag.resolved_at:
            who = flag.resolved_by.username if flag.resolved_by else ""
            events.append(Event(flag.resolved_at, _("The flag was answered"), who=who, details=flag.resolution))
    return events


def settled(item: Item) -> list[Event]:
    """When its labels changed otherwise than by an answer: by a prior, or by what raters are worth."""
    found = Change.objects.filter(item=item, kind=Change.RELABELLED).order_by("-pk")
    words = _("The label was worked out anew")
    return [Event(moment, words) for moment in found.values_list("created_at", flat=True)[:MOST]]


def changed_in_bulk(item: Item) -> list[Event]:
    """What managers did to it together with other items, and what was undone."""
    found = BulkChange.objects.filter(item=item).select_related("act__by", "act__undone_by").order_by("-pk")
    events = []
    for change in found[:MOST]:
        act = change.act
        link = reverse("items_bulk", args=[item.project.slug, act.pk])
        words = _("Changed with many others: %(what)s") % {"what": bulk.VERBS[act.verb].words}
        events.append(Event(act.created_at, words, who=str(act.by or ""), link=link, managers_only=True))
        if change.restored and act.undone_at:
            events.append(
                Event(act.undone_at, _("That was undone"), who=str(act.undone_by or ""), link=link, managers_only=True)
            )
    return events
