"""Problems that people report about items, and what is answered: the sole writer of Flag."""

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate import audit
from annotate.models import Assignment, Flag, User

LONGEST = 1000  # characters of a comment and of an answer


def raise_flag(*, assignment: Assignment, kind: str, comment: str = "") -> Flag:
    """Report a problem with the item; whoever has an open flag on it changes that one. The item stays with them."""
    said = {"kind": kind, "comment": comment[:LONGEST]}
    for _attempt in range(2):  # sent twice at once, one of the two finds the other's
        open_flag = Flag.objects.filter(item=assignment.item_id, rater=assignment.rater_id, resolved_at=None).first()
        if open_flag is not None:
            Flag.objects.filter(pk=open_flag.pk).update(**said)
            open_flag.kind, open_flag.comment = said["kind"], said["comment"]
            return open_flag
        try:
            with transaction.atomic():
                return Flag.objects.create(
                    project_id=assignment.item.project_id, item=assignment.item, rater=assignment.rater, **said
                )
        except IntegrityError:
            continue
    raise Flag.DoesNotExist("A flag was answered at the very moment it was raised: raise it again.")


@transaction.atomic
def resolve(*, flag: Flag, by: User, resolution: str) -> bool:
    """Close a flag with an answer that its rater will see; False if somebody else has closed it."""
    said = resolution[:LONGEST]
    still_open = Flag.objects.filter(pk=flag.pk, resolved_at=None)
    if not still_open.update(resolved_at=timezone.now(), resolved_by=by, resolution=said):
        return False
    audit.record(
        project=flag.project,
        by=by,
        verb=audit.CHANGED,
        kind="flag",
        object_id=flag.pk,
        words=flag.item.title,
        before={"kind": flag.kind, "comment": flag.comment},
        after={"resolution": said},
    )
    return True


def restore(*, rows: Iterable[Flag]) -> None:
    """The flags of an export."""
    Flag.objects.bulk_create(rows)
