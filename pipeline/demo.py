"""The demo: people to sign in as, a project with sample pairs, a small model, and answers that it writes.

The prompts and pairs under annotate/demo/ were written for this project; the pairs are marked as samples wherever
they go. Everything here can run twice and adds nothing the second time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from annotate import projects
from annotate.importing import take_in
from annotate.models import Membership, Project, User
from pipeline import recipes, registry
from pipeline.judging import setup
from pipeline.models import Judge, ModelVersion, Run
from pipeline.quality import attacks

CONTENT = Path(settings.BASE_DIR) / "annotate" / "demo"
SLUG = "everyday-help"
PASSWORD = "plumbline-demo"  # noqa: S105 - printed by `make run`, for a site on one's own machine only
CAST = [
    ("ada", "Ada", None),
    ("mona", "Mona", Membership.MANAGER),
    ("mira", "Mira", Membership.ANNOTATOR),
    ("jonas", "Jonas", Membership.ANNOTATOR),
]
MODEL_NAME = "smollm2-135m-instruct"


class DemoError(Exception):
    """The demo cannot be set up; the message says why and what to do."""


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of one of the demo's files."""
    with (CONTENT / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def people() -> None:
    """The demo's people: Ada is the admin, the others are members of the demo project."""
    for username, first_name, role in CAST:
        if User.objects.filter(username=username).exists():
            continue
        User.objects.create_user(
            username=username,
            email=f"{username}@example.org",
            password=PASSWORD,
            first_name=first_name,
            is_superuser=role is None,
            is_staff=role is None,
        )


@transaction.atomic
def project() -> Project:
    """The project “Everyday help” with its sample pairs, made once."""
    found = Project.objects.filter(slug=SLUG).first()
    if found is not None:
        return found
    made = projects.create_project(
        name="Everyday help",
        slug=SLUG,
        by=User.objects.get(username="ada"),
        description="Which answer would help an ordinary person more? Try labelling, then train on the samples.",
        guidelines=(CONTENT / "guidelines.md").read_text(encoding="utf-8"),
        judge_share=20,
        both_share=10,
        is_demo=True,
    )
    for username, _, role in CAST:
        if role:
            Membership.objects.create(project=made, user=User.objects.get(username=username), role=role)
    take_in(project=made, items=rows("pairs.jsonl"), source=None, is_sample=True)
    return made


def model() -> ModelVersion:
    """The demo model as an ordinary folder, registered. Raises DemoError where it cannot be made."""
    if not (settings.DEMO_MODEL / "config.json").exists():
        # In a process of its own, so that the one that serves pages never loads torch.
        built = subprocess.run(
            [sys.executable, "-m", "pipeline.ml.demo_model", str(settings.DEMO_MODEL)],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
        )
        if built.returncode:
            reason = (built.stderr.strip().splitlines() or ["no message"])[-1]
            raise DemoError(f"The demo model could not be made: {reason}")
    return registry.register_base(path=settings.DEMO_MODEL, name=MODEL_NAME)


def judge(demo: Project, version: ModelVersion) -> None:
    """The demo's judge: local, small, and shown as the poor judge that it is: attacks that fool it do not block it."""
    if not Judge.objects.filter(project=demo).exists():
        setup.create_local_judge(project=demo, name=f"{MODEL_NAME} (local)", model_version=version)
        by = User.objects.get(username="ada")
        attacks.set_limit(project=demo, percent=2, blocks=False, automatic=False, by=by)


def answers(demo: Project) -> None:
    """Let the demo model answer the demo's prompts, once."""
    if not Run.objects.filter(project=demo, kind="generate").exists():
        recipes.generate(project=demo, prompts=rows("prompts.jsonl"), by=User.objects.get(username="ada"), config={})
