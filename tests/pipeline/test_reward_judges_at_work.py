"""Reward models as judges from end to end: a real worker, real stage processes, tiny models; and a kill meanwhile."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from django.db import connection

from annotate.models import Annotation, Label
from pipeline.judging import setup
from pipeline.ml.models import load_tokenizer, new_reward_model, save_model
from pipeline.ml.rewards.reward_model import RewardModelScorer
from pipeline.models import JudgeCall, Run
from pipeline.registry import hash_folder
from tests.pipeline import stand_ins

pytestmark = [pytest.mark.stage, pytest.mark.once, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0


@pytest.fixture
def reward_models(project, tiny_model, tmp_path):
    """Three tiny reward models with different random heads, as the registry has them."""
    tokenizer, made = load_tokenizer(tiny_model), []
    for seed in (3, 4, 5):
        folder = tmp_path / f"reward-{seed}"
        save_model(new_reward_model(tiny_model, tokenizer, dtype=torch.float32, seed=seed), tokenizer, folder)
        made.append(stand_ins.model(project, path=str(folder), sha256=hash_folder(folder)))
    return made


@pytest.fixture
def celery(database_url, tmp_path):
    """Start a part of Celery against the test's database; all that were started end with the test."""
    environment = {
        **os.environ,
        "PLUMBLINE_DEV": "1",
        "PLUMBLINE_VAR": str(tmp_path / "var"),
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": "filesystem://localhost",
    }
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "config", *arguments, "--loglevel", "ERROR"]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)


def worker(celery):
    quiet = ["--without-gossip", "--without-mingle"]
    return celery("worker", "-Q", "default,training", "-P", "threads", "-c", "3", *quiet)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.2)
        connection.close()


def test_one_model_and_an_ensemble_judge_once_an_item_whatever_happens_to_the_worker(
    project, reward_models, judged_item, celery
):
    items = [judged_item(f"Which is it, {number}?", ("yes " * (number + 1), "no")) for number in range(6)]
    single = setup.create_reward_judge(project=project, name="single", models=reward_models[:1])
    ensemble = setup.create_reward_judge(project=project, name="ensemble", models=reward_models)
    celery("beat", "--pidfile=")
    first = worker(celery)
    wait_until(lambda: Run.objects.filter(state=Run.RUNNING).exists(), "a run began")
    first.kill()
    worker(celery)
    answered = JudgeCall.objects.filter(state=JudgeCall.ANSWERED)
    wait_until(lambda: answered.count() == 2 * len(items), "both have judged everything")
    assert Annotation.objects.count() == 2 * len(items)
    assert Label.objects.count() == len(items)
    scorers = [RewardModelScorer(Path(model.path), dtype=torch.float32) for model in reward_models]
    for item in items:
        conversations = [[*item.prompt, *response.messages] for response in item.responses.all()]
        margins = [float(scores[0] - scores[1]) for scores in (scorer.score(conversations) for scorer in scorers)]
        for judge, expected in ((single, margins[:1]), (ensemble, margins)):
            made = Annotation.objects.get(item=item, rater=judge.rater)
            assert made.metadata["score_margins"] == pytest.approx(expected, abs=1e-4)
            shares = torch.sigmoid(torch.tensor(expected))
            assert made.metadata["margin"] == pytest.approx(2 * float(shares.mean()) - 1, abs=1e-4)
            assert made.answers["preference"]["choice"] == ("a" if shares.mean() > 0.5 else "b")
            if len(expected) > 1:
                assert made.metadata["variance"] == pytest.approx(float(shares.var(unbiased=False)), abs=1e-4)
