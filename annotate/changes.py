"""The sole writer of Change: the append-only log that the pipeline reads by cursor."""

from collections.abc import Iterable

from annotate import compiled
from annotate.models import Annotation, Change


def submitted(annotation: Annotation, project_id: int) -> None:
    """The Change of one answer, inside the caller's transaction."""
    made = Change(project_id=project_id, kind=Change.SUBMITTED, item_id=annotation.item_id, annotation=annotation)
    compiled.insert(made)


def all_submitted(annotations: Iterable[Annotation], project_id: int) -> None:
    """The Changes of several answers, inside the caller's transaction."""
    Change.objects.bulk_create(
        Change(project_id=project_id, kind=Change.SUBMITTED, item_id=one.item_id, annotation=one)
        for one in annotations
    )


def record(*, project_id: int, kind: str, item_ids: Iterable[int]) -> None:
    """One Change for each item, inside the caller's transaction."""
    Change.objects.bulk_create(
        (Change(project_id=project_id, kind=kind, item_id=item) for item in item_ids),
        batch_size=500,
    )
