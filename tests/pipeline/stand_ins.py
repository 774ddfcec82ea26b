"""Makers of the pipeline's rows for tests that only need them to be there."""

import itertools
from pathlib import Path

from annotate.models import Project, Rater
from pipeline.models import Judge, Loop, ModelVersion, Proposal, Run, Snapshot, Study
from tests import factories

COUNT = itertools.count(1)


def run(project: Project, **fields) -> Run:
    """A reward-model run that has ended well, unless told otherwise."""
    return Run.objects.create(project=project, **{"kind": "train_reward", "state": Run.SUCCEEDED, **fields})


def model(project: Project | None, **fields) -> ModelVersion:
    number = next(COUNT)
    values = {"name": f"model-{number}", "kind": ModelVersion.REWARD, "path": f"models/{number}", **fields}
    return ModelVersion.objects.create(project=project, **values)


def loop(project: Project, **fields) -> Loop:
    return Loop.objects.create(project=project, **{"name": f"loop-{next(COUNT)}", "new_labels": 10, **fields})


def judge(project: Project, **fields) -> Judge:
    """A judge behind an endpoint on loopback where nothing listens."""
    name = f"judge-{next(COUNT)}"
    rater = factories.rater(project, name=name, kind=Rater.JUDGE)
    values = {"kind": Judge.ENDPOINT, "base_url": "http://127.0.0.1:9/v1", "model": "tiny", **fields}
    return Judge.objects.create(project=project, rater=rater, name=name, **values)


def study(project: Project, **fields) -> Study:
    """A trial on attacks that is due, of a judge of its own."""
    values = {"kind": Study.PROBES, "evaluator": "tiny · pairwise-1", "prompt_version": "pairwise-1", **fields}
    return Study.objects.create(judge=judge(project), **values)


def proposal(project: Project, **fields) -> Proposal:
    """A criterion that a person proposed, for a judge of its own."""
    values = {"kind": Proposal.CRITERION, "source": Proposal.PERSON, "title": "Concise", **fields}
    return Proposal.objects.create(project=project, judge=judge(project), **values)


def snapshot(project: Project, folder: Path, **fields) -> Snapshot:
    """A snapshot's row with an empty folder behind it."""
    number = next(COUNT)
    place = folder / f"snapshot-{number}"
    place.mkdir()
    values = {"number": number, "sha256": f"{number:064d}", "folder": str(place), **fields}
    return Snapshot.objects.create(project=project, **values)
