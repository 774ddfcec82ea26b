"""Cuts snapshots: the sole writer of Snapshot. A snapshot never changes; the same labels give the same one.

    {folder}/trl-preference/{train,validation,test}.{jsonl,parquet} and README.md, the dataset card
    {folder}/prompts/{train,validation,test}.jsonl   each prompt once, for PPO
    {folder}/trace.jsonl                             which annotations made each label
    {folder}/manifest.json                           written last: names, sizes and hashes of all the others

The files are written aside, streaming, without holding the database; then, in one transaction, the snapshot gets its
number and its rows, and the folder its name.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings as site
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from annotate import audit
from annotate.measuring import newest_change
from annotate.models import Project, Question, User
from pipeline.datasets.card import write_card
from pipeline.datasets.formats import FORMATS
from pipeline.datasets.settled import settled_pages
from pipeline.datasets.writing import SettingsError, SnapshotSettings, Writer
from pipeline.ml.records import hash_file, write_json
from pipeline.models import Snapshot, SnapshotItem
from pipeline.runs import artifacts

UNFINISHED = ".unfinished-"
FORGOTTEN = 24 * 3600.0  # seconds after which what a killed process left is swept away
AT_ONCE = 1000  # rows of the trace written to the database at a time


class SnapshotError(Exception):
    """A snapshot cannot be cut or read; the message says why and what to do."""


def ignore(_read: int) -> None:
    """Nobody wants to know how far it is."""


def cut_snapshot(
    *,
    project: Project,
    by: User | None = None,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[int], None] = ignore,
) -> Snapshot:
    """An immutable dataset of the project's settled preferences; if there is one with the same rows, that one.

    `settings` are fields of SnapshotSettings. `report` is told now and then how many labels were read. Raises
    SnapshotError where there is nothing to cut.
    """
    chosen = checked(settings or {})
    question = preference_of(project)
    cursor = newest_change(project)  # before reading: what comes later may or may not be seen
    sweep()
    folder = artifacts("snapshots") / f"{UNFINISHED}{secrets.token_hex(8)}"
    try:
        with Writer(folder, FORMATS[chosen.format], chosen) as writer:
            read = 0
            for page in settled_pages(question):
                writer.write(page)
                read += len(page)
                report(read)
        if not writer.counts["rows"]:
            raise SnapshotError(nothing(writer))
        return keep(writer, project, by, cursor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checked(settings: Mapping[str, Any]) -> SnapshotSettings:
    """Settings whole and in order. Raises SnapshotError."""
    try:
        return SnapshotSettings(**settings)
    except (SettingsError, TypeError) as error:
        raise SnapshotError(str(error)) from None


def preference_of(project: Project) -> Question:
    """The first preference question. Raises SnapshotError where there is none."""
    found = project.questions.filter(kind=Question.PREFERENCE).first()
    if found is None:
        raise SnapshotError("The project asks no preference question, so it has no preferences to cut: add one.")
    return found


def nothing(writer: Writer) -> str:
    if not writer.excluded:
        return "There are no settled preferences yet: label items or import a file."
    found = sum(writer.excluded.values())
    return f"There are {found} labels, but none says which of two answers is better as asked for: label more items."


def sweep() -> None:
    """Remove what a process that was killed has left behind."""
    for folder in artifacts("snapshots").glob(f"{UNFINISHED}*"):
        if time.time() - folder.stat().st_mtime > FORGOTTEN:
            shutil.rmtree(folder, ignore_errors=True)


@transaction.atomic
def keep(writer: Writer, project: Project, by: User | None, cursor: int) -> Snapshot:
    """Give finished files their number, their rows in the database and their place."""
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # so that numbers come one by one
    same = Snapshot.objects.filter(project=project, sha256=writer.sha256).first()
    if same is not None and folder_of(same).exists():
        return same
    number = same.number if same else (locked.snapshots.aggregate(last=Max("number"))["last"] or 0) + 1
    made = same or Snapshot.objects.create(
        project=locked,
        number=number,
        sha256=writer.sha256,
        folder=f"snapshots/{locked.slug}/{number}-{writer.sha256[:12]}",
        settings=asdict(writer.settings),
        counts=writer.summary(),
        change_cursor=cursor,
        created_by=by,
    )
    if same is None:
        trace = members(made, writer.folder / "trace.jsonl")
        while rows := list(islice(trace, AT_ONCE)):
            SnapshotItem.objects.bulk_create(rows)
    card = write_card(writer, locked, number)
    (writer.folder / writer.form.NAME / "README.md").write_text(card, encoding="utf-8")
    write_json(writer.folder / "manifest.json", manifest(made, writer.folder))
    place(writer.folder, folder_of(made))
    audit.record(
        project=locked,
        by=by,
        verb=audit.CUT,
        kind="snapshot",
        object_id=made.pk,
        words=f"snapshot {number}",
        after={"sha256": made.sha256, "rows": writer.counts["rows"]},
    )
    return made


def members(snapshot: Snapshot, trace: Path) -> Iterator[SnapshotItem]:
    with trace.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield SnapshotItem(
                snapshot=snapshot, item_id=row["id"], split=row["split"], annotations=row["annotations"]
            )


def manifest(snapshot: Snapshot, folder: Path) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "project": snapshot.project.slug,
        "snapshot": snapshot.number,
        "sha256": snapshot.sha256,
        "settings": snapshot.settings,
        "counts": snapshot.counts,
        "created_at": snapshot.created_at.isoformat(),
        "written_at": timezone.now().isoformat(),
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)}
            for path in files
        },
    }


def place(finished: Path, folder: Path) -> None:
    """Give the finished folder its name. One that no snapshot owns was left by a transaction that did not stand."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    finished.rename(folder)


# --- Reading --------------------------------------------------------------------------------------------------
def folder_of(snapshot: Snapshot) -> Path:
    """Where a snapshot's files lie."""
    return Path(site.ARTIFACTS_URL).absolute() / snapshot.folder


def format_of(snapshot: Snapshot) -> str:
    """The name of the format it was written in."""
    return checked(snapshot.settings).format


def existing(snapshot: Snapshot, name: str) -> Path:
    path = folder_of(snapshot) / name
    if not path.exists():
        raise SnapshotError(
            f"The files of snapshot {snapshot.number} are missing from {folder_of(snapshot)}: "
            "restore them, or cut the snapshot again while the labels are the same."
        )
    return path


def snapshot_file(snapshot: Snapshot, split: str) -> Path:
    """The pairs of a split as JSONL, for training. Raises SnapshotError where the files are gone."""
    return existing(snapshot, f"{format_of(snapshot)}/{split}.jsonl")


def prompts_file(snapshot: Snapshot, split: str) -> Path:
    """The prompts of a split, each once, as JSONL rows {"id", "prompt", "tags"}. Raises SnapshotError."""
    return existing(snapshot, f"prompts/{split}.jsonl")


def format_folder(snapshot: Snapshot) -> Path:
    """The folder that `datasets.load_dataset` reads. Raises SnapshotError where the files are gone."""
    return existing(snapshot, format_of(snapshot))


def read_card(snapshot: Snapshot) -> str:
    """The dataset card's text, without its YAML head."""
    text = existing(snapshot, f"{format_of(snapshot)}/README.md").read_text(encoding="utf-8")
    return text.split("\n---\n", 1)[-1].strip()


def first_rows(snapshot: Snapshot, split: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a split."""
    with snapshot_file(snapshot, split).open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
