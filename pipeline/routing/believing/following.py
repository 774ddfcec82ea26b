"""Brings what is believed up to what was answered: by cursor over the Change log, in stints, by one worker at once.

    1. the pairs of every prompt on which something was said are read anew, and what follows from it is kept
    2. once enough is new, the label model is fitted anew (and first of all the columns laid out, where judges changed)
    3. after a fit all beliefs follow in batches; `pass_after` remembers how far that is

A worker that dies leaves nothing undone: the cursor moves behind the work, and stays before changes younger than
SETTLED, because a transaction that is still open may bring an older number to light.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from annotate import slots
from annotate.models import Change, Item, Project, Question
from pipeline.models import Belief, LabelFit, RoutingState
from pipeline.routing.believing import beliefs, fits, layouts
from pipeline.routing.believing.gathering import judges_of
from pipeline.routing.believing.layouts import Layout, layout_from
from pipeline.routing.choosing.plans import Plan

CLAIM = timedelta(minutes=5)  # a worker that has not been heard of for so long is gone
SETTLED = timedelta(seconds=60)
CHANGES = 2000  # read at once
BATCH, PASS = 300, 2000  # items in one step that reads texts, and in one that reads numbers
STINT = 20.0  # seconds, then other work gets its turn


def question_of(project: Project) -> Question | None:
    """The question that is routed: the project's first preference."""
    return project.questions.filter(kind=Question.PREFERENCE).first()


def claim(project: Project) -> RoutingState | None:
    """Become the one worker that believes for this project; None while another is."""
    RoutingState.objects.get_or_create(project=project)
    now = timezone.now()
    free = Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM)
    if not RoutingState.objects.filter(free, project=project).update(claimed_at=now):
        return None
    return RoutingState.objects.get(project=project)


def release(project: Project) -> None:
    RoutingState.objects.filter(project=project).update(claimed_at=None)


def keep(state: RoutingState, **values: object) -> None:
    """Write how far the work is, and nothing that routing writes meanwhile."""
    for name, value in values.items():
        setattr(state, name, value)
    RoutingState.objects.filter(pk=state.pk).update(**values, claimed_at=timezone.now())


def follow(project: Project, plan: Plan, state: RoutingState) -> bool:
    """One stint; True where work is left for the next. The caller has claimed the project."""
    question = question_of(project)
    if question is None or not judges_of(project):
        return False
    began = time.monotonic()
    layout = layout_now(project, question, state)
    if layout is None:
        return False
    unread = read_changes(project, question, plan, state, layout, began)
    if fits.due(project, fits.newest(question), layout, plan.seed):
        fits.fit(project, question, layout)
        keep(state, pass_after=0)
    while state.pass_after is not None and time.monotonic() - began < STINT:
        step(project, question, plan, state, layout)
    return unread or state.pass_after is not None


def layout_now(project: Project, question: Question, state: RoutingState) -> Layout | None:
    """The layout in force; a new one, and a pass over everything, where the judges are others or it saw too little.

    None while no judge has answered.
    """
    kept = layout_from(state.layout) if state.layout else None
    judges = [rater.pk for rater in judges_of(project)]
    same = kept is not None and judges == [rater for rater, _, _ in kept.judges]
    if kept is not None and same and not outgrown(project, kept):
        return kept
    made = layouts.made(project, question, kept.number + 1 if kept else 1)
    if made is None:
        return None
    keep(state, layout=made.as_json(), pass_after=0)
    return made


def outgrown(project: Project, layout: Layout) -> bool:
    """Was the layout made from a small sample, and are there many more pairs now?"""
    wanted = layouts.GROWTH * max(layout.sampled, layouts.LEAST)
    return layout.sampled < layouts.SAMPLE and Belief.objects.filter(project=project)[:wanted].count() == wanted


def newest_fit(project: Project, question: Question, layout: Layout) -> LabelFit:
    """The newest fit for this layout; one is made if there is none yet."""
    kept = fits.newest(question)
    if kept is not None and kept.layout["number"] == layout.number:
        return kept
    return fits.fit(project, question, layout)


def retire(project: Project, state: RoutingState) -> None:
    """Under a policy that does not rank, forget what was believed, and let labels stand on votes again, in stints.

    The caller has claimed the project.
    """
    began = time.monotonic()
    while beliefs.withdraw(project, BATCH):
        if time.monotonic() - began > STINT:
            return
    Belief.objects.filter(project=project).delete()
    keep(state, layout={}, change=0, seen=[], pass_after=None)


# --- What was said --------------------------------------------------------------------------------------------


def read_changes(
    project: Project, question: Question, plan: Plan, state: RoutingState, layout: Layout, began: float
) -> bool:
    """Read the pairs anew on which something was said since the cursor; True where some are left for the next stint.

    Behind the cursor stands what is old enough that nothing can come to light before it; what is younger and was
    read is remembered by number.
    """
    cursor, held = state.change, False
    while rows := new_changes(project, cursor):
        if time.monotonic() - began > STINT:
            return True
        seen = set(state.seen)
        read_items(project, question, plan, layout, sorted({item for pk, item, _ in rows if pk not in seen}))
        old = timezone.now() - SETTLED
        settled = 0 if held else next((place for place, row in enumerate(rows) if row[2] > old), len(rows))
        held = held or settled < len(rows)
        change = rows[settled - 1][0] if settled else state.change
        recent = seen | {pk for pk, _, _ in rows[settled:]}
        keep(state, change=change, seen=sorted(pk for pk in recent if pk > change))
        cursor = rows[-1][0]
    return False


def new_changes(project: Project, cursor: int) -> list[tuple[int, int, datetime]]:
    """(id, item, when) of the next changes in the order of their ids: what was submitted and imported."""
    found: list[tuple[int, int, datetime]] = []
    for kind in (Change.SUBMITTED, Change.IMPORTED):
        of_kind = Change.objects.filter(project=project, kind=kind, pk__gt=cursor).order_by("pk")
        found += of_kind.values_list("pk", "item_id", "created_at")[:CHANGES]
    return sorted(found)[:CHANGES]


def read_items(project: Project, question: Question, plan: Plan, layout: Layout, items: Sequence[int]) -> None:
    """Read the prompts of these items anew, and keep what follows, some prompts at a time."""
    hashes: list[str] = []
    for batch in slots.batches(items):
        hashes += Item.objects.filter(pk__in=batch).values_list("prompt_hash", flat=True)
    hashes = list(dict.fromkeys(hashes))
    for start in range(0, len(hashes), BATCH):
        found = beliefs.read(project, question, hashes[start : start + BATCH], layout)
        if found:
            kept = fits.newest(question)
            if kept is None or kept.layout["number"] != layout.number:
                beliefs.keep(found)  # the first fit needs columns to know how they are spread
                kept = fits.fit(project, question, layout)
            fit = fits.opened(kept)
            beliefs.settle(project, question, found, fit, plan)


# --- A pass over all ------------------------------------------------------------------------------------------


def step(project: Project, question: Question, plan: Plan, state: RoutingState, layout: Layout) -> None:
    """Bring the next items of the pass up to the newest fit: from their numbers, or from texts where these are old."""
    assert state.pass_after is not None
    known = Belief.objects.filter(project=project)
    if known.exclude(layout=layout.number).exists():
        read_next(project, question, plan, state, layout)
        return
    found = list(known.filter(item__gt=state.pass_after).order_by("item")[:PASS])
    beliefs.settle(project, question, found, fits.opened(newest_fit(project, question, layout)), plan)
    keep(state, pass_after=found[-1].item_id if len(found) == PASS else None)


def read_next(project: Project, question: Question, plan: Plan, state: RoutingState, layout: Layout) -> None:
    """Read the next items of the pass from their texts; in the end, what nobody says anything about is forgotten."""
    old = Belief.objects.filter(project=project).exclude(layout=layout.number)
    items = list(old.filter(item__gt=state.pass_after).order_by("item").values_list("item", flat=True)[:BATCH])
    read_items(project, question, plan, layout, items)
    if len(items) < BATCH:
        old.delete()
    keep(state, pass_after=items[-1] if len(items) == BATCH else 0)
