"""A project in full use: what pages show is there, for tests that look at every page."""

from pathlib import Path

from django.utils import timezone

from annotate import flags, measuring, pools, projects, queue, skills
from annotate.models import Flag, Membership, Project, Rater, User
from annotate.quality import gold
from annotate.submitting import ImportedAnnotation, record_imported, submit_annotation
from pipeline.models import Judge, Loop, ModelVersion, Proposal, Run, RunEvent, Study, StudyCall
from pipeline.quality import audits, probes
from pipeline.quality import measuring as measuring_judges
from pipeline.quality.comparing import Pair, compare
from tests import factories
from tests.pipeline import stand_ins

RICH = (
    "# A title\n\n| name | value | why |\n|---|---|---|\n| one | 1 | it is first |\n\n```python\nprint('" + "x" * 160
    + "')  # a comment\n```\n\n> A quotation with `code` in it.\n\n$$\\frac{a}{b}$$\n\n- a list\n- of two\n\n"
    "[A link](https://example.org/) and a word."
)  # fmt: skip
REASONED = "Two and two **are** four.\n\nSo the sum is four.\n\nHence it is five."
KINDS = [
    {"name": "better", "kind": "preference", "title": "Which is better?"},
    {
        "name": "why",
        "kind": "choice",
        "title": "Why both bad?",
        "config": {"options": ["wrong", "rude"], "when": {"question": "better", "is": ["both_bad"]}},
    },
    {
        "name": "helpful",
        "kind": "rating",
        "title": "Helpful",
        "config": {"anchors": {"1": "no help at all", "5": "all one could wish"}},
    },
    {"name": "order", "kind": "ranking", "title": "Order"},
    {
        "name": "said",
        "kind": "critique",
        "title": "What is wrong?",
        "config": {"min_characters": 12, "reasons": ["false", "too long"]},
    },
    {"name": "tags", "kind": "choice", "title": "Topics", "config": {"options": ["maths", "code"], "multiple": True}},
    {"name": "steps", "kind": "step", "title": "Steps"},
    {"name": "proof", "kind": "span", "title": "Evidence", "config": {"tags": ["evidence", "error"]}},
]
REPORT = {
    "n": 120, "accuracy": 0.684, "low": 0.597, "high": 0.76, "interval": "wilson", "ties": 1, "ece": 0.05,
    "brier": 0.2, "mean_margin": 0.4, "length_correlation": 0.1,
    "baselines": {"longer": {"n": 120, "accuracy": 0.55, "low": 0.46, "high": 0.64}, "first": None},
    "like_length": {"n": 20, "accuracy": 0.6, "low": 0.4, "high": 0.78,
                    "baselines": {"longer": {"n": 20, "accuracy": 0.5, "low": 0.3, "high": 0.7}, "first": None}},
    "slices": {"tag:kind": {"n": 10, "accuracy": 0.9, "low": 0.6, "high": 0.98}},
}  # fmt: skip


def all_kinds(by: User, annotator: User) -> Project:
    """A project that asks every kind of question about one item."""
    project = projects.create_project(name="All kinds", by=by, asked=KINDS, guidelines="# Be kind\n\n" + RICH)
    Membership.objects.create(project=project, user=annotator, role=Membership.ANNOTATOR)
    factories.item(project, "What is 2 + 2?", (REASONED, RICH))
    return project


def furnish(project: Project, annotator: User, manager: User, folder: Path) -> None:
    """Items of both kinds of raters, answers, flags, gold, pools, judges, runs, models, loops and snapshots."""
    judged(project)
    for number in range(4):
        factories.item(project, f"How do I mend a bicycle of kind {number}?", (RICH, REASONED), tags=["bike", "long"])
    held = queue.next_assignment(user=annotator, project=project)
    submit_annotation(assignment=held, answers={"preference": {"choice": "a", "strength": 2}}, reason="It says more.")
    flags.raise_flag(assignment=held, kind=Flag.WRONG, comment="There is no such bicycle.")
    pools.save_pool(project=project, name="Bicycles", skills=["bikes"], people=[annotator.username])
    gold.mark(
        item=factories.item(project),
        answers={"preference": {"choice": "b"}},
        by=manager,
        explanation="Because *b* answers the question.",
    )
    run_and_models(project, folder)


def judged(project: Project) -> None:
    """Twelve items that three people and a judge answered, and what the worker makes of it."""
    raters = [factories.rater(project, f"person-{number}") for number in range(3)]
    judge = stand_ins.judge(project).rater
    rows = []
    for number in range(12):
        item = factories.item(project, tags=["mail" if number % 2 else "code"])
        for place, rater in enumerate([*raters, judge]):
            choice = "b" if place == 2 and number % 3 == 0 else "ab"[number % 2]
            answers = {"preference": {"choice": choice, "strength": 1 + number % 3}}
            if rater.kind == Rater.HUMAN:
                answers["helpful"] = [4, 2 + number % 2]
            rows.append(ImportedAnnotation(item.pk, rater, [0, 1], answers, reason="It is right.", seconds=31.5))
    record_imported(project=project, rows=rows)
    measuring.refresh(project)
    skills.refresh(project)


def measured_judge(project: Project) -> Judge:
    """A judge that was measured, calibrated, tried on attacks that fool it, and has proposals with scores."""
    judge = stand_ins.judge(project)
    person = factories.rater(project, f"measurer-{judge.pk}")
    own = {"model": judge.model, "prompt_version": judge.prompt_version}
    rows = []
    for number in range(24):
        item = factories.item(project, responses=(RICH, "Short."), route="", tags=["mail" if number % 2 else "code"])
        answers = {"preference": {"choice": "ab"[number % 3 == 0]}}
        rows.append(ImportedAnnotation(item.pk, person, [0, 1], {"preference": {"choice": "a", "strength": 1}}))
        rows += [
            ImportedAnnotation(item.pk, judge.rater, order, answers, confidence=0.9, metadata=own)
            for order in ([0, 1], [1, 0])
        ]
    record_imported(project=project, rows=rows)
    measuring_judges.measure(judge.rater)
    key = next(iter(probes.PROBES))
    trial = Study.objects.create(
        judge=judge, kind=Study.PROBES, evaluator=audits.evaluator_of(judge), prompt_version=judge.prompt_version,
        state=Study.DONE, finished_at=timezone.now(),
        result={**probes.summary([(key, 0.5)]), "unparsable": 0, "failed": 0, "questions": 2},
    )  # fmt: skip
    StudyCall.objects.create(study=trial, key=key, order_key="0-1", choice="b", state="answered", reply="It says B.")
    scored = stand_ins.study(
        project, kind=Study.CRITERION, state=Study.DONE, result=compare([Pair(f"p{n}", 0.0, 1.0) for n in range(20)])
    )
    for title, study in (("Concise", scored), ("Polite", None)):
        Proposal.objects.create(
            project=project, judge=judge, kind=Proposal.CRITERION, source=Proposal.PHRASES, title=title, study=study,
            evidence={"preferred": 9, "others": 1, "contrast": 2.4},
        )  # fmt: skip
    return judge


def run_and_models(project: Project, folder: Path) -> None:
    stand_ins.model(project, name="everyday-help-reward-1", report={**REPORT, "run": 1, "snapshot": 1})
    stand_ins.run(project, state=Run.QUEUED)
    stand_ins.run(project, state=Run.ERRORED, message="It crashed.", traceback="Traceback:\n  line 1\n")
    Loop.objects.create(project=project, name="every hundred labels", new_labels=100)
    stand_ins.snapshot(project, folder)


def live_run(project: Project) -> Run:
    """A PPO run under way, with metrics and a log."""
    run = stand_ins.run(
        project, kind="ppo", state=Run.RUNNING, step=2, total=6, heartbeat=timezone.now(), started_at=timezone.now()
    )
    for step in (1, 2):
        data = {"reward": 0.1 * step, "kl": 0.5 * step}
        RunEvent.objects.create(run=run, position=step, t=float(step), event="metric", step=step, data=data)
    return run


def measured_model(project: Project) -> ModelVersion:
    run = stand_ins.run(project, kind="evaluate_reward", result=REPORT)
    return stand_ins.model(project, report={**REPORT, "run": run.pk, "snapshot": 1})
