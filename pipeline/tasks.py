"""Celery's way in. Tasks take ids, can run twice, and claim their work; what is due stands in the database."""

from celery import shared_task

from pipeline import launcher, loops, runs, shutdown


@shared_task
def wake() -> None:
    """Every ten seconds: ask workers to take what is due. Whatever was asked for before may have been lost."""
    for run in runs.due():
        runs.ask_worker(run.pk)
        if run.cancel_requested:
            runs.ask_worker(run.pk, queue="default")  # ending a trainer is short, and its own worker may be gone


@shared_task
def drive_run(run_id: int) -> None:
    """Bring a run to its end, unless another worker has it; hours long, so it has a queue of its own."""
    with shutdown.noticing_signals() as asked_to_go:
        launcher.drive(run_id, stop=asked_to_go)


@shared_task
def look_loop(loop_id: int) -> None:
    """One look of a loop at its labels, sent by beat."""
    loops.look(loop_id)
