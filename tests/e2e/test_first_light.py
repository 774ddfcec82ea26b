"""One item's whole way in a browser: a file comes in, a person labels, a dataset goes out, models are trained.

The workers are real (threads of this process on the broker of the settings), the models tiny, the rest as it ships.
"""

import json
import random
import zipfile
from pathlib import Path

import pytest
from celery.contrib.testing.worker import start_worker
from django.db import connection
from django.urls import reverse
from playwright.sync_api import expect

from annotate.models import Annotation, Import, Item, Project, User
from config.celery import app
from pipeline import registry
from pipeline.models import ModelVersion, Run, Snapshot
from pipeline.tasks import wake
from tests import tiny_models

pytestmark = [pytest.mark.browser, pytest.mark.stage, pytest.mark.django_db(transaction=True)]
PAIRS = 60
PATIENCE = 30_000  # milliseconds: the machine may be busy
PASSWORD = "correct horse battery"
TINY = {"batch_size": "4", "max_length": "64"}


@pytest.fixture
def admin(transactional_db) -> User:
    return User.objects.create_superuser("ada", "ada@example.org", PASSWORD)


@pytest.fixture
def base_model(tmp_path, transactional_db) -> ModelVersion:
    return registry.register_base(path=tiny_models.make_policy(tmp_path / "tiny"), name="tiny")


@pytest.fixture
def workers(transactional_db, settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")
    app.control.purge()
    queues = ["default", "training"]
    with start_worker(app, pool="threads", concurrency=3, queues=queues, perform_ping_check=False):
        yield


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Pairs whose better answer is polite: something that a tiny model can learn."""
    drawn = random.Random(7)
    rows = []
    for number in range(PAIRS):
        good, bad = f"Gladly: it is {number}.", f"No. {number}."
        first_good = drawn.random() < 0.5
        rows.append(
            {
                "id": f"pair-{number}",
                "prompt": [{"role": "user", "content": f"What is {number} + 0, please?"}],
                "responses": [
                    {"model": f"writer-{side}", "messages": [{"role": "assistant", "content": text}]}
                    for side, text in enumerate((good, bad) if first_good else (bad, good))
                ],
                # the last three are left for the annotator
                "annotations": []
                if number >= PAIRS - 3
                else [{"rater": "file", "kind": "human", "order": [0, 1],
                       "answers": {"preference": {"choice": "a" if first_good else "b", "strength": 2}}}],
            }
        )  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sign_in(page, live_server) -> None:
    page.goto(live_server.url)
    page.get_by_label("Name or e-mail address").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(live_server.url + "/")


def make_project(page, live_server) -> Project:
    """Step 1: guidelines in Markdown, a preference on seven points with a tie, a rating with anchors."""
    page.goto(live_server.url + reverse("project_new"))
    page.get_by_label("Name").fill("First light")
    page.get_by_label("Guidelines").fill("# Be kind\n\nThe *kinder* answer is better.")
    page.get_by_label("Criterion").fill("Kind")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_text("First light is ready").wait_for()
    return Project.objects.get(slug="first-light")


def import_file(page, live_server, project, pairs) -> None:
    page.goto(live_server.url + reverse("import_new", args=[project.slug]))
    page.locator("input[type=file]").set_input_files(str(pairs))
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("What is 0 + 0, please?").first.wait_for()
    assert Item.objects.count() == 0, "a preview takes nothing in"
    page.get_by_role("button", name="Import the whole file").click()
    page.get_by_role("link", name="See its items").wait_for(timeout=60_000)
    assert Import.objects.get().state == Import.DONE
    assert project.items.count() == PAIRS


def label_by_keyboard(page, live_server, project) -> None:
    """Step 4: three items, the mouse untouched, the names of the models nowhere on the page."""
    page.goto(live_server.url + reverse("label", args=[project.slug]))
    page.locator(".pair").or_(page.get_by_text("Start labelling")).wait_for()
    if not page.locator(".pair").is_visible():
        page.keyboard.press("Enter")  # the router was slower than the page, which has offered to begin meanwhile
    for done in range(3):
        expect(page.locator("#reading")).to_be_focused(timeout=PATIENCE)  # the item stands, and keys are its own
        assert "writer-" not in page.content()
        left_is_polite = "Gladly" in page.locator(".pair .answer").first.inner_text()
        page.keyboard.press("1" if left_is_polite else "7")
        page.keyboard.press("c")
        page.keyboard.type(f"kinder, number {done}")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        expect(page.locator(".strip")).to_contain_text(f"{done + 1} today", timeout=PATIENCE)
    said = Annotation.objects.filter(rater__user__username="ada").order_by("pk")
    assert [annotation.reason for annotation in said] == [f"kinder, number {n}" for n in range(3)]
    for annotation in said:
        answers = [response.messages[-1]["content"] for response in annotation.item.responses.all()]
        assert "Gladly" in answers["ab".index(annotation.answers["preference"]["choice"])]


def cut_snapshot(page, live_server, project) -> Snapshot:
    """Step 7: one click."""
    page.goto(live_server.url + reverse("datasets", args=[project.slug]))
    page.get_by_role("button", name="Cut a snapshot").click()
    page.get_by_role("heading", name="Snapshot 1", exact=True).wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"README.md", "train.jsonl", "train.parquet", "test.jsonl"} <= names
    snapshot = Snapshot.objects.get(project=project)
    assert sum(snapshot.counts[split] for split in ("train", "validation", "test")) == PAIRS
    return snapshot


def train(page, live_server, project, kind, settings) -> Run:
    """Step 8: fill in the form, watch the page until the run has ended well."""
    page.goto(live_server.url + reverse("train", args=[project.slug]) + f"?kind={kind}")
    page.locator("details summary", has_text="More settings").click()
    for name, value in settings.items():
        field = page.locator(f"[name=set_{name}]")
        if field.evaluate("field => field.type") == "checkbox":
            field.set_checked(value == "on")
        else:
            field.fill(value)
    page.get_by_role("button", name="Start").click()
    page.locator(".badge.good[role=status]").wait_for(timeout=180_000)
    return Run.objects.filter(project=project, kind=kind).latest("pk")


def test_one_item_goes_the_whole_way(page, live_server, admin, base_model, workers, pairs):
    sign_in(page, live_server)
    project = make_project(page, live_server)
    import_file(page, live_server, project, pairs)
    wake.delay()  # beat's part: new items are routed
    label_by_keyboard(page, live_server, project)
    snapshot = cut_snapshot(page, live_server, project)

    reward = train(page, live_server, project, "train_reward", {**TINY, "epochs": "2"})
    assert reward.snapshot == snapshot
    trained = [reward]
    if connection.vendor == "sqlite":  # how policies are trained knows of no database: once is enough
        trained += train_policies(page, live_server, project)
    for run in trained:
        version = ModelVersion.objects.get(run=run)
        assert version.snapshot == snapshot
        assert (Path(version.path) / "config.json").exists()


def train_policies(page, live_server, project) -> list[Run]:
    """Step 9: one from the labels, one against the reward model of before."""
    dpo = train(page, live_server, project, "dpo", {**TINY, "max_steps": "3"})
    ppo = train(page, live_server, project, "ppo", {"steps": "2", "rollout_size": "4", "max_new_tokens": "6"})
    assert ModelVersion.objects.get(run=ppo).reward_model.run.kind == "train_reward"
    page.locator(".js-plotly-plot").first.wait_for()
    return [dpo, ppo]
