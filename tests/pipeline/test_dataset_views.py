"""The pages of routing, datasets, and what the pipeline knows about an item."""

import io
import zipfile

import pytest
from django.urls import reverse

from annotate import submitting
from pipeline.datasets import cuts
from pipeline.datasets.snapshots import cut_snapshot
from pipeline.judging import judge_items
from pipeline.models import ModelVersion, Route, Snapshot, SnapshotCut
from pipeline.routing import route_items
from tests import factories
from tests.pipeline import stand_ins
from tests.pipeline.conftest import routed

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")


@pytest.fixture
def manage(manager, as_user):
    return as_user(manager)


@pytest.fixture
def labelled(project):
    rater = factories.rater(project, "ann")

    def make(prompt="", choice="a"):
        item = factories.item(project, prompt, route="", overlap=0, slots_open=0)
        row = submitting.ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choice}})
        submitting.record_imported(project=project, rows=[row])
        return item

    return make


def body(response):
    return response.content.decode()


# --- Routing --------------------------------------------------------------------------------------------------
def test_route_now_routes_and_the_page_says_why(project, judge, manage):
    project.judge_share, project.both_share = 100, 0
    project.save()
    item = factories.item(project, "Which sea?", route="", overlap=0, slots_open=0)
    address = reverse("routing", args=[project.slug])
    assert "Waiting to be routed" in body(manage.get(address))
    response = manage.post(reverse("routing_now", args=[project.slug]), follow=True)
    page = body(response)
    assert "1 items are routed: 0 to people, 1 to the judge, 0 to both." in page
    assert "Drawn for the judge (0% to people, 100% to the judge, 0% to both)." in page
    assert "Which sea?" in page
    assert Route.objects.get().item == item
    assert "Nothing waited to be routed." in body(
        manage.post(reverse("routing_now", args=[project.slug]), follow=True)
    )


def test_items_that_no_judge_can_take_are_pointed_out(project, judge, judged_item, manage):
    judged_item()
    assert "wait" not in body(manage.get(reverse("routing_live", args=[project.slug]))).split("Shares of new")[0]
    judge.enabled = False
    judge.save()
    assert "1 item that went to the judge waits" in body(manage.get(reverse("routing_live", args=[project.slug])))


def test_the_routing_page_costs_the_same_however_many_decisions(project, manage, django_assert_max_num_queries):
    address = reverse("routing", args=[project.slug])
    for _ in range(2):
        factories.item(project, route="", overlap=0, slots_open=0)
    route_items(project=project)
    manage.get(address)
    with django_assert_max_num_queries(22) as few:
        manage.get(address)
    for _ in range(4):
        factories.item(project, route="", overlap=0, slots_open=0)
    route_items(project=project)
    with django_assert_max_num_queries(len(few)):
        manage.get(address)


# --- Datasets -------------------------------------------------------------------------------------------------
def test_one_click_cuts_a_snapshot_and_shows_it(project, labelled, manage, manager):
    for number in range(10):
        labelled(f"Question {number}?")
    address = reverse("datasets", args=[project.slug])
    assert "No snapshot yet" in body(manage.get(address))
    response = manage.post(address, {"source": "all", "min_probability": "0.5"})
    snapshot = Snapshot.objects.get()
    assert response.url == reverse("snapshot", args=[project.slug, snapshot.pk])
    page = body(manage.get(response.url))
    for part in (
        "Snapshot 1",
        snapshot.sha256,
        "chosen",
        "train.parquet",
        "How the labels were made",
        "by Mona" if manager.first_name else "by mona",
    ):
        assert part in page
    assert snapshot.sha256[:12] in body(manage.get(address))
    again = manage.post(address, {"source": "all", "min_probability": "0.5"})
    assert again.url == response.url
    assert manage.get(response.url, {"split": "test"}).status_code == 200


def test_nothing_to_cut_is_said(project, manage):
    response = manage.post(reverse("datasets", args=[project.slug]), {"source": "all", "min_probability": "0.5"})
    assert response.status_code == 422
    assert "There are no settled preferences yet" in body(response)


def test_downloads_are_for_managers(project, labelled, manage, reviewer, as_user):
    labelled("Question 1?")
    snapshot = cut_snapshot(project=project)
    whole = manage.get(reverse("snapshot_zip", args=[project.slug, snapshot.pk]))
    assert whole["Content-Disposition"] == 'attachment; filename="everyday-help-snapshot-1.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(whole.streaming_content))) as archive:
        assert "everyday-help-snapshot-1/README.md" in archive.namelist()
    file = reverse("snapshot_file", args=[project.slug, snapshot.pk])
    one = manage.get(file, {"name": "README.md"})
    assert b"pretty_name" in b"".join(one.streaming_content)
    assert manage.get(file, {"name": "../manifest.json"}).status_code == 404
    look = as_user(reviewer)
    assert look.get(reverse("snapshot", args=[project.slug, snapshot.pk])).status_code == 200
    assert look.get(reverse("snapshot_zip", args=[project.slug, snapshot.pk])).status_code == 404
    assert look.post(reverse("datasets", args=[project.slug])).status_code == 404


def test_a_snapshot_whose_files_are_gone_says_so(project, manage, tmp_path):
    snapshot = stand_ins.snapshot(project, tmp_path)
    page = body(manage.get(reverse("snapshot", args=[project.slug, snapshot.pk])))
    assert "are missing from" in page


def test_a_large_snapshot_is_left_to_a_worker(
    project, labelled, manage, monkeypatch, django_capture_on_commit_callbacks
):
    monkeypatch.setattr(cuts, "AT_ONCE", 1)
    sent = []
    monkeypatch.setattr(cuts, "ask_worker", sent.append)
    labelled("Question 1?")
    labelled("Question 2?")
    address = reverse("datasets", args=[project.slug])
    with django_capture_on_commit_callbacks(execute=True):
        page = body(manage.post(address, {"source": "all", "min_probability": "0.5"}, follow=True))
    (cut,) = SnapshotCut.objects.all()
    assert sent == cuts.due() == [cut.pk]
    assert "waits for a worker" in page
    table = reverse("datasets_table", args=[project.slug])
    assert "hx-trigger" in body(manage.get(table))
    cuts.run(cut.pk)
    cuts.run(cut.pk)
    cut.refresh_from_db()
    assert (cut.state, cut.snapshot, cut.labels_read) == ("done", Snapshot.objects.get(), 2)
    assert "hx-trigger" not in body(manage.get(table))


def test_a_cut_that_fails_or_whose_worker_died_is_not_lost(project, labelled):
    empty = SnapshotCut.objects.create(project=project, settings={})
    cuts.run(empty.pk)
    empty.refresh_from_db()
    assert (empty.state, empty.message[:36]) == ("failed", "There are no settled preferences yet")
    labelled()
    lost = SnapshotCut.objects.create(project=project, settings={}, state="running", heartbeat=factories.later())
    assert cuts.due() == []
    SnapshotCut.objects.filter(pk=lost.pk).update(heartbeat="2020-01-01T00:00:00Z")
    assert cuts.due() == [lost.pk]
    cuts.run(lost.pk)
    lost.refresh_from_db()
    assert lost.state == "done"


# --- From a preference to the models it changed ---------------------------------------------------------------
def test_an_item_knows_its_way_to_the_models_it_changed(project, judge, labelled, manage, server):
    item = next(item for item in (labelled(f"Question {n}?") for n in range(50)) if is_trained_on(item))
    project.judge_share, project.both_share = 100, 0
    project.save()
    type(item).objects.filter(pk=item.pk).update(route="judge")
    routed(item, "judge")
    judge_items(judge=judge)
    snapshot = cut_snapshot(project=project)
    reward = stand_ins.model(project, snapshot=snapshot, name="reward-1")
    stand_ins.model(project, kind=ModelVersion.POLICY, reward_model=reward, name="policy-1")
    stand_ins.model(project, name="stranger")
    page = body(manage.get(reverse("item_pipeline", args=[project.slug, item.pk])))
    for part in ("Snapshot 1", "train", "by 1 annotation", "reward-1", "policy-1", "careful", "0.000210"):
        assert part in page
    assert "stranger" not in page
    assert "for a test" in page


def is_trained_on(item):
    from pipeline.ml.splits import split_of

    return split_of(item.prompt) == "train"


def test_a_held_out_item_changed_no_model(project, labelled, manage):
    from pipeline.ml.splits import split_of

    item = next(item for item in (labelled(f"Question {n}?") for n in range(50)) if split_of(item.prompt) == "test")
    snapshot = cut_snapshot(project=project)
    stand_ins.model(project, snapshot=snapshot, name="reward-1")
    page = body(manage.get(reverse("item_pipeline", args=[project.slug, item.pk])))
    assert "reward-1" not in page
    assert "its prompt is held out to measure models" in page
