"""Native items into the database: the only writer of items and responses.

One transaction takes in everything or nothing, in batches that fit in memory. What is there already is left as it
is, so the same items can be taken in any number of times.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from django.db import connection, transaction
from django.utils import timezone

from annotate import pools, queue, submitting, tallies
from annotate.importing.annotations import NO_EARLIER, CheckedAnnotation, Earlier
from annotate.importing.checking import asked_in, checked, pool_names, taken
from annotate.importing.errors import RowError
from annotate.importing.native import CheckedItem, For, NativeItem
from annotate.models import Gold, Import, Item, Membership, Pool, Project, Rater, Response
from annotate.quality import gold

BATCH_ITEMS = 500
BATCH_CHARACTERS = 8_000_000

# Called with how many rows were written so far; may raise ImportStopped, which undoes all of them.
Written = Callable[[int], None]


@dataclass(frozen=True)
class TakenIn:
    """What came of taking items in. Existing ones were there before, or stood twice among those given."""

    items_created: int = 0
    items_existing: int = 0
    annotations_created: int = 0
    annotations_existing: int = 0

    def plus(self, other: "TakenIn") -> "TakenIn":
        return TakenIn(
            self.items_created + other.items_created,
            self.items_existing + other.items_existing,
            self.annotations_created + other.annotations_created,
            self.annotations_existing + other.annotations_existing,
        )


@dataclass
class Intake:
    """Where items go: the project, its questions, the file they come from, and the raters met so far."""

    project: Project
    source: Import | None
    is_sample: bool
    raters: dict[tuple[str, str], Rater] = field(default_factory=dict)
    pools: dict[For, Pool] = field(default_factory=dict)
    authors: dict[str, Rater | None] = field(default_factory=dict)

    def rater(self, kind: str, name: str) -> Rater:
        """The project's rater of this kind and name, made when first met."""
        if (kind, name) not in self.raters:
            self.raters[kind, name], _ = Rater.objects.get_or_create(
                project=self.project, kind=kind, name=name, defaults={"is_sample": self.is_sample}
            )
        return self.raters[kind, name]

    def pool(self, meant_for: For | None) -> Pool | None:
        """The pool of the project that an item is to be in: by name one that is there, else made when first met."""
        if meant_for is None:
            return None
        if meant_for not in self.pools:
            self.pools[meant_for] = (
                Pool.objects.get(project=self.project, name=meant_for.pool)
                if meant_for.pool
                else pools.pool_for(project=self.project, people=meant_for.people, skills=meant_for.skills)
            )
        return self.pools[meant_for]

    def author(self, name: str) -> Rater | None:
        """The rater of the member with this user name; None for a stranger, whose name is kept all the same."""
        if name not in self.authors:
            members = Membership.objects.filter(project=self.project, user__username=name)
            member = members.select_related("user").first()
            self.authors[name] = queue.rater_for(user=member.user, project=self.project) if member else None
        return self.authors[name]


def take_in(
    *, project: Project, items: Iterable[NativeItem], source: Import | None = None, is_sample: bool = False
) -> TakenIn:
    """Take native items in, with their annotations, in one transaction. Raises RowError, counting from 1."""
    return take_in_rows(project=project, rows=enumerate(items, start=1), source=source, is_sample=is_sample)


@transaction.atomic
def take_in_rows(
    *,
    project: Project,
    rows: Iterable[tuple[int, NativeItem] | RowError],
    source: Import | None = None,
    is_sample: bool = False,
    written: Written = lambda rows: None,
    earlier: Earlier = NO_EARLIER,
) -> TakenIn:
    """As `take_in`, for rows that know their numbers; `written` is told the count after each batch.

    `earlier` has the questions of earlier rubrics, where the rows' versions are those of this project.
    """
    wait_for_other_imports(project)
    intake, total, count, asked = Intake(project, source, is_sample), TakenIn(), 0, asked_in(project)
    known_pools = pool_names(project)
    written(0)
    with tallies.held_back():
        for batch in batches(checked(row, asked, known_pools, earlier) for row in rows):
            total = total.plus(write_batch(intake, batch))
            count += len(batch)
            written(count)
        tallies.add(project_id=project.pk, counts={tallies.ITEMS: total.items_created})
    return total


def wait_for_other_imports(project: Project) -> None:
    """Let one import at a time write into a project, so that two of the same file cannot collide.

    On SQLite all writers wait for one another. On PostgreSQL an advisory lock holds until the transaction ends and
    stands in nobody else's way, as a lock on the project's row would.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            key = f"annotate.take_in:{project.pk}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def batches(rows: Iterable[tuple[int, CheckedItem]]) -> Iterator[list[tuple[int, CheckedItem]]]:
    """The rows in lists that are small in number and in text."""
    batch: list[tuple[int, CheckedItem]] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += row[1].size
        if len(batch) >= BATCH_ITEMS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def write_batch(intake: Intake, batch: list[tuple[int, CheckedItem]]) -> TakenIn:
    """Write one batch: new items with their responses, then all annotations."""
    for error in taken(intake.project, [(row, item.own_id, item.content_hash) for row, item in batch if item.own_id]):
        raise error
    contents = {item.content_hash: item for _, item in reversed(batch)}  # of equal ones, the first gives its id
    known = ids_of(intake.project, contents)
    fresh = [item for content, item in reversed(contents.items()) if content not in known]
    made = dict(create_items(intake, fresh))
    exclude_authors(intake, fresh, made)
    keep_gold(intake.project, fresh, made)
    known.update(made)
    rows = [
        imported(intake, known[item.content_hash], annotation) for _, item in batch for annotation in item.annotations
    ]
    created = submitting.record_imported(project=intake.project, rows=rows)
    return TakenIn(len(fresh), len(batch) - len(fresh), created, len(rows) - created)


def exclude_authors(intake: Intake, fresh: list[CheckedItem], made: dict[str, int]) -> None:
    """Keep members from the items for which they wrote a response."""
    own: dict[int, set[int]] = {}
    raters: dict[int, Rater] = {}
    for item in fresh:
        for name in {response.author for response in item.responses if response.author}:
            rater = intake.author(name)
            if rater is not None:
                raters[rater.pk] = rater
                own.setdefault(rater.pk, set()).add(made[item.content_hash])
    for pk, item_ids in own.items():
        queue.exclude(rater=raters[pk], item_ids=sorted(item_ids))


def keep_gold(project: Project, fresh: list[CheckedItem], made: dict[str, int]) -> None:
    """The new items whose answer the file tells are gold from the start."""
    gold.mark_imported(
        project=project,
        golds=[
            Gold(
                item_id=made[item.content_hash],
                use=item.gold.use,
                answers=item.gold.answers,
                tolerance=item.gold.tolerance,
                explanation=item.gold.explanation,
                position=position,
            )
            for position, item in enumerate(fresh)
            if item.gold is not None
        ],
    )


def ids_of(project: Project, contents: Iterable[str]) -> dict[str, int]:
    """Content hash → id of the items that the project has."""
    found = Item.objects.filter(project=project, content_hash__in=list(contents))
    return dict(found.values_list("content_hash", "pk"))


def create_items(intake: Intake, fresh: list[CheckedItem]) -> Iterator[tuple[str, int]]:
    """Insert new items and their responses; yields (content hash, id)."""
    now = timezone.now()
    made = Item.objects.bulk_create(
        Item(
            project=intake.project,
            external_id=item.external_id,
            title=item.title,
            prompt=item.prompt,
            prompt_hash=item.prompt_hash,
            content_hash=item.content_hash,
            tags=item.tags,
            metadata=item.metadata,
            is_sample=intake.is_sample,
            source=intake.source,
            pool=intake.pool(item.meant_for),
            created_at=now,
        )
        for item in fresh
    )
    Response.objects.bulk_create(
        Response(
            item=row,
            position=position,
            model=response.model,
            messages=response.messages,
            words=response.words,
            metadata=response.metadata,
            author=response.author,
        )
        for row, item in zip(made, fresh, strict=True)
        for position, response in enumerate(item.responses)
    )
    in_pools = Counter(pools.tally_of(row.pool_id) for row in made if row.pool_id)
    tallies.add(project_id=intake.project.pk, counts=in_pools)
    return ((row.content_hash, row.pk) for row in made)


def imported(intake: Intake, item_id: int, annotation: CheckedAnnotation) -> submitting.ImportedAnnotation:
    """An annotation of a file as `submitting` takes it; versions that the file does not name are the first ones."""
    return submitting.ImportedAnnotation(
        item_id=item_id,
        rater=intake.rater(annotation.kind, annotation.rater),
        order=annotation.order,
        answers=annotation.answers,
        reason=annotation.reason,
        reference=annotation.reference,
        confidence=annotation.confidence,
        seconds=annotation.seconds,
        submitted_at=annotation.submitted_at,
        guideline_version=annotation.guideline_version,
        rubric_version=annotation.rubric_version,
        counted=annotation.counted,
        revision=annotation.revision,
        metadata=annotation.metadata,
        verdict=annotation.verdict,
    )
