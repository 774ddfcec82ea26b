"""The sole writer of Change: the append-only log that the pipeline reads by cursor."""

from collections.abc import Iterable

from annotate.models import Annotation, Change


def record(*, project_id: int, kind: str, item_ids: Iterable[int], annotation: Annotation | None = None) -> None:
    """One Change for each item, inside the caller's transaction; `annotation` is the one that was submitted."""
    Change.objects.bulk_create(
        (Change(project_id=project_id, kind=kind, item_id=item, annotation=annotation) for item in item_ids),
        batch_size=500,
    )
