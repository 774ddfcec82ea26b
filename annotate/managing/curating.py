"""The sole writer of what managers set on items by hand: archived or not, priority, tags, how many people.

Each function takes values by item and is called with the items' locks held, inside the caller's transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from annotate import aggregation, queue, slots, tallies
from annotate.models import Assignment, Item, Label, Project, Rater


def by_value(wanted: Mapping[int, Any]) -> dict[Any, list[int]]:
    """Value → the items that are to have it; lists stand as tuples."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for pk, value in wanted.items():
        groups[tuple(value) if isinstance(value, list) else value].append(pk)
    return groups


def set_priority(project: Project, wanted: Mapping[int, float]) -> None:
    for priority, ids in by_value(wanted).items():
        Item.objects.filter(project=project, pk__in=ids).update(priority=priority)


def set_tags(project: Project, wanted: Mapping[int, list[str]]) -> None:
    for tags, ids in by_value(wanted).items():
        Item.objects.filter(project=project, pk__in=ids).update(tags=list(tags))


def set_overlap(project: Project, wanted: Mapping[int, int]) -> None:
    """How many people label these items; one that was labelled is open again where more are wanted now."""
    for overlap, ids in by_value(wanted).items():
        Item.objects.filter(project=project, pk__in=ids).update(overlap=overlap)
    settle(project, list(wanted), Counter())


def set_archived(project: Project, wanted: Mapping[int, bool]) -> None:
    """Archived items are asked about no more: their leases go back. Taken out again, they are what they were."""
    groups = by_value(wanted)
    if away := groups.get(True, []):
        archive(project, away)
    if back := groups.get(False, []):
        counts = kept_counts(Item.objects.filter(pk__in=back).values_list("route", flat=True), 1)
        Item.objects.filter(project=project, pk__in=back, state=Item.ARCHIVED).update(state=Item.OPEN)
        settle(project, back, counts)


def archive(project: Project, ids: Sequence[int]) -> None:
    here = Item.objects.filter(project=project, pk__in=ids)
    counts = kept_counts(here.values_list("route", flat=True), -1)
    labelled = list(here.filter(state=Item.LABELLED).values_list("pk", flat=True))
    counts.subtract(deciders(project, labelled))
    give_back(project, {pk: [] for pk in ids})
    here.update(state=Item.ARCHIVED)
    slots.settle(ids)
    tallies.add(project_id=project.pk, counts=counts)


def kept_counts(routes: Any, by: int) -> Counter[str]:
    """What the kept counts gain (1) or lose (-1) with items of these routes."""
    counts: Counter[str] = Counter()
    for route in routes:
        counts[tallies.ITEMS] += by
        counts[tallies.ARCHIVED] -= by
        if route:
            counts[tallies.ROUTED[route]] += by
    return counts


def deciders(project: Project, ids: Sequence[int]) -> Counter[str]:
    """Under which kept count each of these labelled items stands."""
    order = [question.pk for question in aggregation.main_first(project.questions.all())]
    found: dict[int, tuple[int, str]] = {}
    for item, question, decided_by in Label.objects.filter(item__in=ids).values_list("item", "question", "decided_by"):
        place = (order.index(question), decided_by)
        found[item] = min(found.get(item, place), place)
    return Counter(tallies.LABELS[decided_by] for _, decided_by in found.values())


def settle(project: Project, ids: Sequence[int], counts: Counter[str]) -> None:
    """Open places and states anew, and the kept counts that follow."""
    slots.settle(ids)
    for _items, difference in aggregation.relabel(ids).values():
        counts.update(difference)
    tallies.add(project_id=project.pk, counts=counts)


def leases_of(ids: Sequence[int]) -> dict[int, list[int]]:
    """Item → its live leases."""
    found: dict[int, list[int]] = {pk: [] for pk in ids}
    live = Assignment.objects.filter(item__in=ids, state=Assignment.LEASED).order_by("pk")
    for item, pk in live.values_list("item", "pk"):
        found[item].append(pk)
    return found


def hold_raters(facets: Sequence[Sequence[int]]) -> None:
    """Lock those who held these leases before any item is locked: the queue takes the two in this order."""
    named = [lease for leases in facets for lease in leases]
    raters = set(Assignment.objects.filter(pk__in=named).values_list("rater", flat=True))
    list(Rater.objects.select_for_update(no_key=True).filter(pk__in=raters).order_by("pk").values_list("pk"))


def give_back(project: Project, wanted: Mapping[int, list[int]]) -> set[int]:
    """Leave these items the leases that are named and give back all others; drafts stay.

    A lease that is named but not live is taken up again, where its person holds little enough and the item has a
    place. Returns the items where that was not so.
    """
    named = [lease for leases in wanted.values() for lease in leases]
    live = Assignment.objects.filter(item__in=wanted, item__project=project, state=Assignment.LEASED)
    live.exclude(pk__in=named).update(state=Assignment.EXPIRED)
    slots.settle(list(wanted))
    lost = Assignment.objects.filter(pk__in=named, state=Assignment.EXPIRED).select_related("item__project")
    return {assignment.item_id for assignment in lost if not queue.regain(assignment=assignment)}
