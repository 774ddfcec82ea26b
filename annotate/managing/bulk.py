"""Acts on many items at once: preview, doing it in batches, and undoing it. The sole writer of BulkAct.

A verb reads one facet of items, says what it shall be, and writes it. Because the facet before and after is kept for
each item, undoing needs no code of its own: where an item's facet is still what the act made of it, the former one
is written back; where it is not, somebody has changed it since, and it is left alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Max, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import audit, slots
from annotate.managing import curating, item_lists
from annotate.managing.filters import ItemsFilter
from annotate.models import BulkAct, BulkChange, Item, Project, User

BATCH = 500  # items in one transaction
AT_ONCE = 1000  # items that are changed while somebody waits for the page; a worker does more
SHOWN = 10  # items that a preview shows
STALE = timedelta(seconds=60)  # without a sign of life: its worker is gone
MOST_PEOPLE = 20


class BulkError(Exception):
    """It cannot be done as asked; the message says why."""


# --- Verbs ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Verb:
    """Something that can be done to many items.

    `check` turns what was typed into a value, or raises BulkError. `read` gives the facet of items; `wanted` says
    what a facet becomes, given the value; `write` sets facets and returns the items where that was not possible.
    `hold` locks what must be locked before items are, given the facets that will be written back.
    """

    name: str
    words: Any
    read: Callable[[Sequence[int]], dict[int, Any]]
    wanted: Callable[[Any, Any], Any]
    write: Callable[[Project, Mapping[int, Any], User | None], set[int] | None]
    check: Callable[[str], Any] = lambda text: None
    say: Callable[[Any], str] = str
    hold: Callable[[Sequence[Any]], None] | None = None


def column(name: str) -> Callable[[Sequence[int]], dict[int, Any]]:
    """Reads one column of items."""

    def read(ids: Sequence[int]) -> dict[int, Any]:
        return dict(Item.objects.filter(pk__in=ids).values_list("pk", name))

    return read


def read_archived(ids: Sequence[int]) -> dict[int, bool]:
    return {pk: state == Item.ARCHIVED for pk, state in column("state")(ids).items()}


def check_priority(text: str) -> float:
    try:
        return min(max(float(text), -1e9), 1e9)
    except ValueError:
        raise BulkError(_("A priority is a number; the highest comes first.")) from None


def check_tag(text: str) -> str:
    tag = text.replace("\x00", "").strip()
    if not tag or len(tag) > 200:
        raise BulkError(_("Say which tag: up to 200 letters."))
    return tag


def check_people(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PEOPLE:
        raise BulkError(_("Say how many people: a number from 1 to %(most)s.") % {"most": MOST_PEOPLE})
    return int(text)


def writing(write: Callable[[Project, Any], Any]) -> Callable[[Project, Mapping[int, Any], User | None], set[int]]:
    """A function of `curating` as a verb's `write`."""

    def run(project: Project, wanted: Mapping[int, Any], _by: User | None) -> set[int]:
        return write(project, wanted) or set()

    return run


def tags_in_words(tags: list[str]) -> str:
    return " · ".join(tags) or _("no tags")


def leases_in_words(leases: list[int]) -> str:
    return _("%(number)s out") % {"number": len(leases)}


def archived_in_words(archived: bool) -> str:
    return _("archived") if archived else _("in use")


archive = partial(Verb, read=read_archived, write=writing(curating.set_archived), say=archived_in_words)
tags = partial(Verb, read=column("tags"), write=writing(curating.set_tags), check=check_tag, say=tags_in_words)
VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        archive("archive", gettext_lazy("Archive"), wanted=lambda now, value: True),
        archive("unarchive", gettext_lazy("Take out of the archive"), wanted=lambda now, value: False),
        Verb("priority", gettext_lazy("Set the priority to"), column("priority"), lambda now, value: value,
             writing(curating.set_priority), check_priority),
        tags("tag", gettext_lazy("Add the tag"), wanted=lambda now, tag: now if tag in now else [*now, tag]),
        tags("untag", gettext_lazy("Remove the tag"), wanted=lambda now, tag: [each for each in now if each != tag]),
        # 0 people are wanted where an item is not routed to people: that is the router's to say.
        Verb("overlap", gettext_lazy("Set the people wanted to"), column("overlap"),
             lambda now, value: value if now else now, writing(curating.set_overlap), check_people),
        Verb("release", gettext_lazy("Give back leases"), curating.leases_of, lambda now, value: [],
             writing(curating.give_back), say=leases_in_words, hold=curating.hold_raters),
    )
}  # fmt: skip


def register(verb: Verb) -> None:
    """Offer a further verb: how the pipeline, which this application does not know, offers rerouting."""
    VERBS[verb.name] = verb


# --- What would change ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Asked:
    """What somebody wants to do, to which items: those of `items`, or where it is empty all that fit `choices`."""

    project: Project
    verb: Verb
    value: Any
    choices: Mapping[str, str]
    items: Sequence[int]


def ask(*, project: Project, verb: str, value: str, choices: Mapping[str, str], items: Sequence[int]) -> Asked:
    """Raises BulkError."""
    if verb not in VERBS:
        raise BulkError(_("Choose what to do."))
    found = VERBS[verb]
    return Asked(project, found, found.check(value), choices, items)


def fitting(project: Project, choices: Mapping[str, str], items: Sequence[int]) -> QuerySet[Item]:
    """The items that an act is about. What measures people (gold) is left as it is."""
    if items:
        return Item.objects.filter(project=project, pk__in=items).exclude(state=Item.GOLD)
    chosen = ItemsFilter(choices, project=project).chosen()
    return item_lists.narrowed(project, chosen, item_lists.main_question(project)).exclude(state=Item.GOLD)


@dataclass(frozen=True)
class Preview:
    """How many items fit, how many of them would change (None: more than are looked at), and the first that would."""

    total: int
    changing: int | None
    rows: list[dict[str, Any]]


def preview(asked: Asked) -> Preview:
    found = fitting(asked.project, asked.choices, asked.items)
    total = found.count()
    ids = list(found.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
    changing = {pk: pair for batch in slots.batches(ids) for pk, pair in changes_in(asked, batch).items()}
    first = Item.objects.filter(pk__in=sorted(changing)[:SHOWN]).only("title", "external_id").order_by("pk")
    rows = [
        {"item": item, "before": asked.verb.say(changing[item.pk][0]), "after": asked.verb.say(changing[item.pk][1])}
        for item in first
    ]
    return Preview(total, len(changing) if total <= AT_ONCE else None, rows)


def changes_in(asked: Asked, ids: Sequence[int]) -> dict[int, tuple[Any, Any]]:
    """Item → its facet now and then, for those of the items that would change."""
    now = asked.verb.read(ids)
    pairs = {pk: (facet, asked.verb.wanted(facet, asked.value)) for pk, facet in now.items()}
    return {pk: pair for pk, pair in pairs.items() if pair[0] != pair[1]}


# --- Doing it -------------------------------------------------------------------------------------------------
@transaction.atomic
def start(*, asked: Asked, by: User, send: Callable[[int], Any]) -> BulkAct:
    """Do it: at once where that is quick, else by a worker, which `send` wakes. Raises BulkError for no items."""
    found = fitting(asked.project, asked.choices, asked.items)
    total = found.count()
    if not total:
        raise BulkError(_("No item fits: nothing was changed."))
    # A search looks at a bounded number of texts, which may be others next time: its items are kept by name.
    named = list(found.order_by("pk").values_list("pk", flat=True)) if asked.choices.get("q") else list(asked.items)
    act = BulkAct.objects.create(
        project=asked.project,
        by=by,
        verb=asked.verb.name,
        value=asked.value,
        choices=dict(asked.choices),
        items=named,
        upto=Item.objects.filter(project=asked.project).aggregate(newest=Max("pk"))["newest"],
        total=total,
    )
    after = {"items": total, "value": asked.value, "choices": dict(asked.choices)}
    record(act, audit.CHANGED, by, after)
    hand_over(act, send)
    return act


def record(act: BulkAct, verb: str, by: User, after: dict[str, Any]) -> None:
    words = str(VERBS[act.verb].words)
    audit.record(project=act.project, by=by, verb=verb, kind="items", object_id=act.pk, words=words, after=after)


def hand_over(act: BulkAct, send: Callable[[int], Any]) -> None:
    """Do it now if it is small; the worker's message may be lost: `due` finds the act again."""
    if act.total <= AT_ONCE:
        run(act.pk)
    else:
        transaction.on_commit(partial(send, act.pk), robust=True)


def due() -> list[int]:
    """Acts that wait for a worker, or whose worker gives no sign of life."""
    working = [BulkAct.QUEUED, BulkAct.RUNNING, BulkAct.UNDOING]
    late = BulkAct.objects.filter(state__in=working, heartbeat__lt=timezone.now() - STALE)
    ids = list(late.values_list("pk", flat=True))
    BulkAct.objects.filter(pk__in=ids).update(heartbeat=timezone.now())  # asked for, so not again for a while
    return ids


def run(act_id: int) -> None:
    """Bring an act to its end, batch by batch. Two workers at it do no harm: each batch is claimed by its cursor."""
    while step(act_id):
        pass


@transaction.atomic
def step(act_id: int) -> bool:
    """One batch of what the act has to do now; False when nothing is left."""
    act = BulkAct.objects.select_for_update(of=("self",), no_key=True).select_related("project").get(pk=act_id)
    if act.state == BulkAct.UNDOING:
        return undo_batch(act)
    return act.is_working and do_batch(act)


def do_batch(act: BulkAct) -> bool:
    asked = Asked(act.project, VERBS[act.verb], act.value, act.choices, act.items)
    found = fitting(act.project, act.choices, act.items).filter(pk__gt=act.cursor, pk__lte=act.upto)
    ids = list(found.order_by("pk").values_list("pk", flat=True)[:BATCH])
    if not ids:
        keep(act, state=BulkAct.DONE, finished_at=timezone.now(), items=[], cursor=0)
        return False
    slots.lock(ids)
    changing = changes_in(asked, ids)
    asked.verb.write(act.project, {pk: after for pk, (_before, after) in changing.items()}, act.by)
    # What became of each item, which may be more than was asked: undoing compares with this.
    became = asked.verb.read(list(changing))
    made = [
        BulkChange(act=act, item_id=pk, before=before, after=became[pk])
        for pk, (before, _after) in changing.items()
        if became[pk] != before
    ]
    BulkChange.objects.bulk_create(made)
    keep(act, state=BulkAct.RUNNING, cursor=ids[-1], done=F("done") + len(ids), changed=F("changed") + len(made))
    return True


def keep(act: BulkAct, **values: Any) -> None:
    BulkAct.objects.filter(pk=act.pk).update(heartbeat=timezone.now(), **values)


# --- Undoing it -----------------------------------------------------------------------------------------------
@transaction.atomic
def undo(*, act: BulkAct, by: User, send: Callable[[int], Any]) -> None:
    """Put back what the act changed and nobody has changed since. Raises BulkError where it is too late."""
    locked = BulkAct.objects.select_for_update(of=("self",), no_key=True).select_related("project").get(pk=act.pk)
    if not locked.can_undo:
        raise BulkError(_("This cannot be undone: it was undone already, changed nothing, or is older than 30 days."))
    keep(locked, state=BulkAct.UNDOING, cursor=0, undone_by=by)
    record(locked, audit.UNDONE, by, {"items": locked.changed})
    hand_over(locked, send)


def undo_batch(act: BulkAct) -> bool:
    verb = VERBS[act.verb]
    batch = list(act.changes.filter(restored=None, item__gt=act.cursor).order_by("item")[:BATCH])
    if not batch:
        keep(act, state=BulkAct.UNDONE, undone_at=timezone.now())
        return False
    ids = [change.item_id for change in batch]
    if verb.hold:
        # Several batches may share a transaction, up to AT_ONCE items: what they need is locked before any item is.
        ahead = act.changes.filter(restored=None, item__gt=act.cursor).order_by("item")[:AT_ONCE]
        verb.hold(list(ahead.values_list("before", flat=True)))
    slots.lock(ids)
    now = verb.read(ids)
    same = {change.item_id: change.before for change in batch if now.get(change.item_id) == change.after}
    failed = verb.write(act.project, same, act.undone_by) or set()
    restored = set(same) - failed
    act.changes.filter(item__in=restored).update(restored=True)
    act.changes.filter(item__in=set(ids) - restored).update(restored=False)
    keep(
        act,
        cursor=ids[-1],
        restored=F("restored") + len(restored),
        left=F("left") + len(ids) - len(restored),
    )
    return True
