"""The first pass over a file: every row is read and checked, and nothing is written."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from annotate.importing.annotations import NO_EARLIER, Earlier
from annotate.importing.errors import ItemError, RowError
from annotate.importing.native import CheckedItem, NativeItem, check
from annotate.importing.pictures import Pictures
from annotate.importing.plans import Plan, items
from annotate.importing.reading import opened
from annotate.models import Item, Pool, Project, Question

MOST_ERRORS = 100
BATCH = 500  # rows looked up in the database at once

# Called with (bytes read, bytes in all, rows read); may raise ImportStopped.
Report = Callable[[int, int, int], None]
Asked = Mapping[str, Question]
Named = tuple[int, str, str]  # row, own id, content hash


@dataclass
class Findings:
    """What the first pass found: how many rows, how many errors, and the first of them."""

    rows: int = 0
    error_count: int = 0
    errors: list[RowError] = field(default_factory=list)

    def add(self, error: RowError) -> None:
        self.error_count += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(error)

    def add_all(self, errors: Iterable[RowError]) -> None:
        for error in errors:
            self.add(error)


def asked_in(project: Project) -> dict[str, Question]:
    """The project's questions by name."""
    return {question.name: question for question in project.questions.all()}


def pool_names(project: Project) -> frozenset[str]:
    return frozenset(Pool.objects.filter(project=project).values_list("name", flat=True))


def preference_in(asked: Asked) -> str:
    """The name of the first preference question; “preference” where there is none, which then is the complaint."""
    names = [name for name, question in asked.items() if question.kind == Question.PREFERENCE]
    return names[0] if names else Question.PREFERENCE


class Identities:
    """The ids that a file's rows gave themselves. On disk, so that memory does not grow with the file."""

    def __init__(self) -> None:
        self.table = sqlite3.connect("")  # a temporary file of SQLite's own
        self.table.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, content TEXT, row INTEGER) WITHOUT ROWID")

    def __enter__(self) -> "Identities":
        return self

    def __exit__(self, *_: object) -> None:
        self.table.close()

    def clash(self, row: int, item: CheckedItem) -> int | None:
        """The earlier row that has this item's id and other content, if there is one."""
        found = self.table.execute("SELECT content, row FROM seen WHERE id = ?", [item.own_id]).fetchone()
        if found is None:
            self.table.execute("INSERT INTO seen VALUES (?, ?, ?)", [item.own_id, item.content_hash, row])
            return None
        return None if found[0] == item.content_hash else found[1]


def check_file(*, plan: Plan, project: Project, report: Report, pictures: Pictures | None = None) -> Findings:
    """Read and check every row of a file against itself and the project. Writes nothing; may raise ImportStopped."""
    findings, asked, known_pools = Findings(), asked_in(project), pool_names(project)
    named: list[Named] = []
    with opened(plan.path) as file, Identities() as identities:
        for found in items(plan, file, preference_in(asked), pictures):
            findings.rows += 1
            try:
                named.extend(own_id(*checked(found, asked, known_pools), identities))
            except RowError as error:
                findings.add(error)
            if len(named) == BATCH:
                findings.add_all(taken(project, named))
                named = []
            report(file.position(), file.size, findings.rows)
    findings.add_all(taken(project, named))
    findings.errors.sort(key=lambda error: error.row)
    return findings


def checked(
    found: tuple[int, NativeItem] | RowError,
    asked: Asked,
    known_pools: Collection[str],
    earlier: Earlier = NO_EARLIER,
) -> tuple[int, CheckedItem]:
    """A row's item, checked against the project's questions and the names of its pools. Raises RowError."""
    if isinstance(found, RowError):
        raise found
    row, item = found
    try:
        made = check(item, asked, earlier)
    except ItemError as error:
        raise RowError(row, str(error)) from None
    if made.meant_for is not None and made.meant_for.pool and made.meant_for.pool not in known_pools:
        there = ", ".join(sorted(known_pools)[:12]) or "none"
        raise RowError(row, f"there is no pool “{made.meant_for.pool[:60]}” (there are: {there}): make it first.")
    return row, made


def own_id(row: int, item: CheckedItem, identities: Identities) -> Iterator[Named]:
    """The row with its own id, if it has one. Raises RowError where an earlier row has it with other content."""
    if not item.own_id:
        return
    earlier = identities.clash(row, item)
    if earlier is not None:
        message = f"the id “{item.own_id[:60]}” stands in row {earlier} with other content: give one row another id."
        raise RowError(row, message)
    yield row, item.own_id, item.content_hash


def taken(project: Project, named: Sequence[Named]) -> Iterator[RowError]:
    """An error for each row whose id belongs to another item of the project."""
    ids = {identity for _, identity, _ in named}
    known = dict(Item.objects.filter(project=project, external_id__in=ids).values_list("external_id", "content_hash"))
    for row, identity, content in named:
        if known.get(identity, content) != content:
            message = f"the project has another item with the id “{identity[:60]}”: give this row another id."
            yield RowError(row, message)
