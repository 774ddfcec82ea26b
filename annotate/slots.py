"""The places that an item still has for people: `slots_open = overlap − live leases − counted annotations`.

Changed here only, inside the transaction that leases, releases, submits or opens an item. Taking a place is one
conditional update, so two people can never take the same one.
"""

from collections.abc import Iterator, Sequence

from django.db import transaction
from django.db.models import Case, Count, F, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest

from annotate import compiled
from annotate.models import Annotation, Assignment, Item, Rater

BATCH = 500  # ids in one statement: SQLite allows a limited number of parameters


def batches(ids: Sequence[int]) -> Iterator[list[int]]:
    """The distinct ids in ascending order, so many at a time: every writer locks items in the same order."""
    ordered = sorted(set(ids))
    return (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH))


def lock(item_ids: Sequence[int]) -> None:
    """Hold these items until the transaction ends; on SQLite the transaction itself does.

    Their keys stay free (`no_key`): rows of other tables that point at them can be written meanwhile.
    """
    for batch in batches(item_ids):
        list(Item.objects.select_for_update(no_key=True).filter(pk__in=batch).order_by("pk").values_list("pk"))


def take(item_id: int) -> bool:
    """Take one place of the item, if one is open."""

    def build(pk: int) -> compiled.Change:
        return Item.objects.filter(pk=pk, slots_open__gt=0), {"slots_open": F("slots_open") - 1}

    return bool(compiled.update("take", build, item_id))


def counted_by_people() -> QuerySet[Annotation]:
    """People's annotations that count. Count their raters: a revision counts like the one that it replaces."""
    return Annotation.objects.filter(counted=True, rater__kind=Rater.HUMAN, rater__excluded_at=None)


def counted_again() -> Case:
    """What `slots_open` must be, from the leases and annotations themselves."""
    here = {"item": OuterRef("pk")}
    people = counted_by_people().filter(**here).order_by().values("item").annotate(n=Count("rater", distinct=True))
    live = Assignment.objects.filter(state=Assignment.LEASED, **here).order_by().values("item").annotate(n=Count("pk"))
    taken = Coalesce(Subquery(people.values("n")), 0) + Coalesce(Subquery(live.values("n")), 0)
    return Case(
        When(state__in=[Item.ARCHIVED, Item.GOLD], then=Value(0)),
        When(verdict__isnull=False, then=Value(0)),  # a reviewer has decided: nobody else is waited for
        default=Greatest(Value(0), F("overlap") - taken, output_field=IntegerField()),
        output_field=IntegerField(),
    )


def settle(item_ids: Sequence[int]) -> None:
    """Set the open places of these items anew. The caller holds their locks."""
    for batch in batches(item_ids):
        Item.objects.filter(pk__in=batch).update(slots_open=counted_again())


def drifted(item_ids: Sequence[int]) -> list[int]:
    """Those of these items whose count is not what it must be."""
    wrong = Item.objects.annotate(must_be=counted_again()).exclude(slots_open=F("must_be"))
    return list(wrong.filter(pk__in=item_ids).values_list("pk", flat=True))


def mend(item_ids: Sequence[int]) -> int:
    """Look at these items without a lock, then lock, look again and settle those that drifted; returns how many."""
    suspects = drifted(item_ids)
    if not suspects:
        return 0
    with transaction.atomic():
        lock(suspects)
        wrong = drifted(suspects)
        settle(wrong)
    return len(wrong)
