"""Celery's way in. Tasks take ids, can run twice, and claim their work; what is due stands in the database."""

from celery import shared_task

from annotate.models import Project
from pipeline import launcher, loops, routing, runs, shutdown
from pipeline.datasets import cuts
from pipeline.judging.asking import judge_items
from pipeline.judging.calls import judges_due
from pipeline.models import Judge, Study
from pipeline.quality import attacks, measuring, priors, rounds, studies
from pipeline.quality.kinds import KINDS
from pipeline.routing import buying, comparing, delivering

JUDGE_SECONDS = 120.0  # then others get their turn, and the next wake goes on
PRIOR_BATCHES = 40  # of 500 items; the next look goes on


@shared_task
def wake() -> None:
    """Every ten seconds: ask workers to take what is due. Whatever was asked for before may have been lost."""
    for run in runs.due():
        runs.ask_worker(run.pk)
        if run.cancel_requested:
            runs.ask_worker(run.pk, queue="default")  # ending a trainer is short, and its own worker may be gone
    for project_id in routing.projects_to_route():
        route_project.delay(project_id)
    for project_id in buying.projects_to_follow():
        follow_project.delay(project_id)
    for project_id in comparing.due():
        compare_policies.delay(project_id)
    for study_id in studies.due():
        run_study.delay(study_id)  # first: they are short, and judges take turns with them
    for judge_id in judges_due():
        judge_items_task.delay(judge_id)
    for rater_id in measuring.wanted():
        measure_judge.delay(rater_id)
    for cut_id in cuts.due():
        cuts.ask_worker(cut_id)


@shared_task
def drive_run(run_id: int) -> None:
    """Bring a run to its end, unless another worker has it; hours long, so it has a queue of its own."""
    with shutdown.noticing_signals() as asked_to_go:
        launcher.drive(run_id, stop=asked_to_go)


@shared_task
def route_project(project_id: int) -> None:
    """Decide who is asked about a project's new items."""
    project = Project.objects.filter(pk=project_id).first()
    if project is not None:
        routing.route_items(project=project)


@shared_task
def follow_project(project_id: int) -> None:
    """Bring a project's routing up to what was answered, and spend its budget on."""
    project = Project.objects.filter(pk=project_id).first()
    if project is not None:
        buying.look(project)


@shared_task
def compare_policies(project_id: int) -> None:
    """Replay policies on what people and judges both answered, unless another worker does; count audits anew."""
    project = Project.objects.filter(pk=project_id).first()
    if project is not None:
        comparing.run(project)
        delivering.certify(project)


@shared_task
def judge_items_task(judge_id: int, again: bool = False) -> None:
    """Let a judge answer what is due, unless another worker asks it; `again` asks one that rests or has stopped."""
    judge = Judge.objects.filter(pk=judge_id).select_related("project").first()
    if judge is not None:
        with shutdown.noticing_signals() as asked_to_go:
            judge_items(judge=judge, seconds=JUDGE_SECONDS, again=again, stop=asked_to_go)


@shared_task
def run_study(study_id: int) -> None:
    """Ask a judge what a study of it has to ask, unless another worker does."""
    study = Study.objects.filter(pk=study_id).first()
    if study is not None:
        with shutdown.noticing_signals() as asked_to_go:
            rounds.run_study(study=study, kind=KINDS[study.kind], seconds=JUDGE_SECONDS, stop=asked_to_go)


@shared_task
def measure_judge(rater_id: int) -> None:
    """Measure one judge because somebody asked for it, unless another worker does."""
    if measuring.measure_wanted(rater_id):
        priors.write_priors(Project.objects.get(raters=rater_id), most=PRIOR_BATCHES)


@shared_task
def measure_judges() -> None:
    """Measure judges and delivered labels where something is new, and bring priors up to judges' calibrations."""
    for project in Project.objects.filter(state=Project.ACTIVE):
        measuring.refresh(project)
        priors.write_priors(project, most=PRIOR_BATCHES)
        attacks.look(project)
        delivering.refresh(project)


@shared_task
def cut_snapshot_task(cut_id: int) -> None:
    """Cut a snapshot that was asked for, unless another worker has it."""
    cuts.run(cut_id)


@shared_task
def look_loop(loop_id: int) -> None:
    """One look of a loop at its labels, sent by beat."""
    loops.look(loop_id)
