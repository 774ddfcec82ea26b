"""An import's life: uploaded → queued → running → done or failed. The sole writer of an Import's state.

A file is read twice: once to check every row, once to write all of them in one transaction that also says "done".
So an import that is stopped, refused or killed has written nothing, and can be run again from its start.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from annotate import attachments, audit
from annotate.importing import progress
from annotate.importing.checking import Findings, check_file, preference_in
from annotate.importing.errors import ImportStopped, RowError
from annotate.importing.pictures import Pictures, pictures_of
from annotate.importing.plans import Plan, items, plan_for
from annotate.importing.progress import Progress, Reporter
from annotate.importing.reading import opened
from annotate.importing.taking_in import TakenIn, asked_in, take_in_rows
from annotate.models import Import, Project, User

STALE = timedelta(seconds=60)  # without a sign of life: its worker is gone
KEPT = timedelta(days=7)  # how long an upload waits for somebody to take it in
BROKE = "Something broke on our side, and nothing was taken in. The worker's log has the details; try again."
GONE = "The uploaded file is no longer there: upload it again."
INTERRUPTED = "The command was interrupted, and nothing was taken in: run it again."


class Refused(Exception):
    """The file has errors, so nothing of it was taken in."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self.findings = findings


def record(imported: Import, verb: str, by: User | None, **after: Any) -> None:
    audit.record(
        project=imported.project,
        by=by,
        verb=verb,
        kind="import",
        object_id=imported.pk,
        words=imported.file_name,
        after=after,
    )


@transaction.atomic
def keep_upload(*, project: Project, upload: UploadedFile, by: User) -> Import:
    """Put an uploaded file where workers find it."""
    path = progress.folder() / uuid.uuid4().hex
    with path.open("wb") as kept:
        for chunk in upload.chunks():
            kept.write(chunk)
    name = (upload.name or "file")[-255:]
    kept_import = Import.objects.create(
        project=project, file_name=name, path=str(path), size=path.stat().st_size, created_by=by
    )
    record(kept_import, audit.CREATED, by, size=kept_import.size)
    return kept_import


def queue(*, imported: Import, plan: Plan, send: Callable[[int], Any], by: User | None = None) -> bool:
    """Ask a worker to take the file in as planned; False where it is not waiting for that. `send` wakes a worker."""
    waiting = Import.objects.filter(pk=imported.pk, state__in=[Import.UPLOADED, Import.FAILED]).exclude(path="")
    with transaction.atomic():
        queued = waiting.update(
            state=Import.QUEUED,
            format=plan.format.name,
            mapping=plan.mapping,
            heartbeat=timezone.now(),
            finished_at=None,
            errors=[],
            error_count=0,
        )
        if queued:
            progress.clear(imported.pk)
            record(imported, audit.STARTED, by, format=plan.format.name)
            # robust: a broker that is away costs a delay, since `due` finds the import again
            transaction.on_commit(lambda: send(imported.pk), robust=True)
    return bool(queued)


@transaction.atomic
def stop(*, imported: Import, by: User | None = None) -> None:
    """Back to waiting, at once if no worker has it, else as soon as its worker looks up; nothing was written."""
    progress.ask_to_stop(imported.pk)
    record(imported, audit.STOPPED, by)
    Import.objects.filter(pk=imported.pk, state=Import.QUEUED).update(state=Import.UPLOADED)


def discard(*, imported: Import, by: User | None = None) -> bool:
    """Throw away a file that was not taken in; False where it was, or is being."""
    with transaction.atomic():
        mine = Import.objects.filter(pk=imported.pk, state__in=[Import.UPLOADED, Import.FAILED])
        deleted, _ = mine.delete()
        if deleted:
            record(imported, audit.REMOVED, by)
    if deleted:
        remove_files(imported)
    return bool(deleted)


def remove_files(imported: Import) -> None:
    progress.clear(imported.pk)
    if imported.path:
        Path(imported.path).unlink(missing_ok=True)


def claim(import_id: int) -> Import | None:
    """The import, if this worker is the one to run it: it is queued, or whoever ran it gives no sign of life."""
    found = Import.objects.filter(pk=import_id).exclude(path="").select_related("project").first()
    if found is None or not (found.state == Import.QUEUED or is_stale(found)):
        return None
    mine = Import.objects.filter(pk=import_id, state=found.state, heartbeat=found.heartbeat)
    if not mine.update(state=Import.RUNNING, heartbeat=timezone.now()):
        return None  # another worker got there first
    return found


def is_stale(imported: Import) -> bool:
    """Running, but its worker has given no sign of life for a while."""
    signs = [sign for sign in (imported.heartbeat, progress.last_sign(imported.pk)) if sign]
    return imported.state == Import.RUNNING and (not signs or max(signs) < timezone.now() - STALE)


def run(import_id: int) -> None:
    """Take in one queued import, if nobody else does. Ends as done, failed, or waiting again where it was stopped."""
    imported = claim(import_id)
    if imported is None:
        return
    try:
        if not Path(imported.path).exists():
            fail(imported, [{"row": None, "message": GONE}])
            return
        bring_in(imported=imported, plan=plan_of(imported), reporter=Reporter(imported.pk))
    except Refused as refused:
        refuse(imported, refused.findings)
    except RowError as error:
        fail(imported, listed([error]))
    except ImportStopped:
        Import.objects.filter(pk=imported.pk, state=Import.RUNNING).update(state=Import.UPLOADED)
        progress.clear(imported.pk)
    except Exception:
        fail(imported, [{"row": None, "message": BROKE}])
        raise


def plan_of(imported: Import) -> Plan:
    """How the admin said the file is to be read."""
    return plan_for(Path(imported.path), imported.format, imported.mapping)


def listed(errors: Iterable[RowError]) -> list[dict[str, Any]]:
    return [{"row": error.row, "message": error.message} for error in errors]


def bring_in(*, imported: Import, plan: Plan, reporter: Reporter) -> TakenIn:
    """Check the whole file, then write all of it. Refused, RowError and ImportStopped mean that nothing was."""
    with pictures_of(plan.path, imported.project, reporter.alive) as pictures:
        taken = bring_in_with(imported, plan, reporter, pictures)
    remove_files(imported)
    return taken


def bring_in_with(imported: Import, plan: Plan, reporter: Reporter, pictures: Pictures) -> TakenIn:
    findings = check_file(plan=plan, project=imported.project, report=reporter.checking, pictures=pictures)
    if findings.error_count:
        raise Refused(findings)
    asked = asked_in(imported.project)
    rows = attachments.with_files(project=imported.project, incoming=pictures.incoming())
    with transaction.atomic():
        held = Import.objects.select_for_update().filter(pk=imported.pk, state=Import.RUNNING).first()
        if held is None:  # stopped, thrown away, or done by another worker
            raise ImportStopped
        with opened(plan.path) as file:
            taken = take_in_rows(
                project=imported.project,
                rows=items(plan, file, preference_in(asked), pictures),
                source=held,
                written=reporter.writing,
            )
        attachments.keep(rows=rows)
        finish(held, findings.rows, taken)
    return taken


def finish(held: Import, rows: int, taken: TakenIn) -> None:
    """Say that everything is in, in the same transaction that wrote it."""
    Import.objects.filter(pk=held.pk).update(
        state=Import.DONE,
        path="",
        bytes_read=held.size,
        rows_read=rows,
        items_created=taken.items_created,
        items_existing=taken.items_existing,
        annotations_created=taken.annotations_created,
        annotations_existing=taken.annotations_existing,
        finished_at=timezone.now(),
    )


def refuse(imported: Import, findings: Findings) -> None:
    fail(imported, listed(findings.errors), findings.error_count, findings.rows)


def fail(imported: Import, errors: list[dict[str, Any]], count: int = 1, rows: int = 0) -> None:
    """Say why nothing came in. The upload stays, so that it can be tried with other settings."""
    Import.objects.filter(pk=imported.pk, state=Import.RUNNING).update(
        state=Import.FAILED, errors=errors, error_count=count, rows_read=rows, finished_at=timezone.now()
    )
    progress.clear(imported.pk)


def import_here(
    *,
    project: Project,
    path: Path,
    format_name: str = "",
    mapping: Mapping[str, str] | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Import:
    """Take a file in within this process, as the command does; what came of it stands on the Import returned."""
    imported = Import.objects.create(
        project=project,
        file_name=path.name[-255:],
        size=path.stat().st_size,
        state=Import.RUNNING,
        heartbeat=timezone.now(),
    )
    try:
        plan = plan_for(path, format_name, mapping)
        Import.objects.filter(pk=imported.pk).update(format=plan.format.name, mapping=plan.mapping)
        bring_in(imported=imported, plan=plan, reporter=Reporter(imported.pk, tell))
    except Refused as refused:
        refuse(imported, refused.findings)
    except RowError as error:
        fail(imported, listed([error]))
    except (ImportStopped, KeyboardInterrupt):
        fail(imported, [{"row": None, "message": INTERRUPTED}])
        raise
    except Exception:
        fail(imported, [{"row": None, "message": BROKE}])
        raise
    imported.refresh_from_db()
    return imported


def due() -> list[int]:
    """Ids of imports that no worker is known to have: asked for a while ago, or left by a worker that is gone."""
    before = timezone.now() - STALE
    Import.objects.filter(state=Import.RUNNING, path="", heartbeat__lt=before, pk__in=stale_ids()).update(
        state=Import.FAILED,
        errors=[{"row": None, "message": INTERRUPTED}],
        error_count=1,
        finished_at=timezone.now(),
    )
    forgotten = Import.objects.filter(state=Import.QUEUED, heartbeat__lt=before)
    ids = list(forgotten.values_list("pk", flat=True))
    forgotten.update(heartbeat=timezone.now())  # asked for again, so not again for a while
    return [*ids, *stale_ids()]


def stale_ids() -> list[int]:
    running = Import.objects.filter(state=Import.RUNNING, heartbeat__lt=timezone.now() - STALE)
    return [imported.pk for imported in running if is_stale(imported)]


def forget_old_uploads() -> int:
    """Throw away uploads that nobody took in for a week; returns how many."""
    old = Import.objects.filter(
        state__in=[Import.UPLOADED, Import.FAILED], created_at__lt=timezone.now() - KEPT
    ).exclude(path="")
    for imported in old:
        remove_files(imported)
    old.filter(state=Import.UPLOADED).delete()
    return old.update(path="")
