"""What the worker does for people and judgments. Tasks are thin, take ids, and may run twice."""

import logging

from celery import shared_task
from django.utils import timezone

from annotate import attachments, measuring, queue, skills
from annotate.importing import jobs
from annotate.managing import bulk, workload
from annotate.models import Project
from annotate.quality import exclusion, watching

logger = logging.getLogger(__name__)


@shared_task
def return_expired_leases() -> int:
    """Give back what ran out; returns how many."""
    return queue.return_expired(timezone.now())


@shared_task
def refresh_agreement() -> int:
    """Compute agreement anew where something was said since; returns for how many projects."""
    return sum(measuring.refresh(project) for project in Project.objects.exclude(state=Project.ARCHIVED))


@shared_task
def fit_raters() -> int:
    """Fit raters' skills anew where that is due, and bring labels up to it; returns for how many projects."""
    return sum(skills.refresh(project) for project in Project.objects.exclude(state=Project.ARCHIVED))


@shared_task
def recount_slots() -> int:
    """Check the queue's counts against leases and annotations; a difference is mended and reported."""
    mended = 0
    for project in Project.objects.exclude(state=Project.ARCHIVED):
        wrong = queue.recount(project=project)
        if wrong:
            logger.warning("%s: the open places of %d items were wrong and are mended.", project.slug, wrong)
        mended += wrong
    return mended


@shared_task
def take_in_import(import_id: int) -> None:
    """Take in one file that was uploaded, unless another worker has it."""
    jobs.run(import_id)


@shared_task
def roll_up_work() -> int:
    """Take in what was answered, for the pages that show work by the hour; returns for how many projects."""
    return sum(workload.refresh(project) for project in Project.objects.exclude(state=Project.ARCHIVED))


@shared_task
def run_bulk_act(act_id: int) -> None:
    """Do, or undo, what was asked for many items."""
    bulk.run(act_id)


@shared_task
def wake_bulk_acts() -> None:
    """Ask again for acts whose message or worker was lost."""
    for act_id in bulk.due():
        run_bulk_act.delay(act_id)


@shared_task
def wake_imports() -> None:
    """Ask again for imports whose message or worker was lost, and forget uploads that nobody wanted."""
    for import_id in jobs.due():
        take_in_import.delay(import_id)
    jobs.forget_old_uploads()


@shared_task
def bring_up_to_exclusion(exclusion_id: int) -> None:
    """Bring labels and places up to a rater's exclusion, or to its undoing."""
    exclusion.work(exclusion_id)


@shared_task
def wake_exclusions() -> None:
    """Go on with exclusions whose message or worker was lost."""
    for exclusion_id in exclusion.unfinished():
        exclusion.work(exclusion_id)


@shared_task
def sweep_pictures() -> int:
    """Delete the files of pictures that no project has any more; returns how many."""
    return attachments.sweep()


@shared_task
def look_at_raters() -> int:
    """Compute what everybody's last answers look like; returns of how many people."""
    return sum(watching.look(project) for project in Project.objects.exclude(state=Project.ARCHIVED))
