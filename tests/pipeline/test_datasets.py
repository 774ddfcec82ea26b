"""Snapshots: what is in them, that they never change, where each row comes from, and how they leave the house."""

import io
import json
import threading
import zipfile

import pyarrow.parquet as pq
import pytest
from django.db import connection

from annotate import submitting
from annotate.models import Item, Rater
from pipeline.datasets import exporting, snapshots
from pipeline.datasets.settled import settled_pages
from pipeline.datasets.snapshots import SnapshotError, cut_snapshot, prompts_file, snapshot_file
from pipeline.ml.splits import split_of
from pipeline.models import Snapshot, SnapshotItem
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def label(project):
    """Makes an item that has been settled by these votes."""
    raters = {}

    def make(choice="a", *, prompt="", responses=("Yes.", "No."), by="mira", kind=Rater.HUMAN, answer=None, **fields):
        if (kind, by) not in raters:
            raters[kind, by] = factories.rater(project, by, kind)
        item = factories.item(project, prompt, responses, route="", overlap=0, slots_open=0, **fields)
        answers = {"preference": answer or {"choice": choice}}
        row = submitting.ImportedAnnotation(item.pk, raters[kind, by], [0, 1], answers)
        submitting.record_imported(project=project, rows=[row])
        return item

    return make


def rows(snapshot):
    """Split → rows."""
    return {
        split: [json.loads(line) for line in snapshot_file(snapshot, split).open(encoding="utf-8")]
        for split in ("train", "validation", "test")
    }


def all_rows(snapshot):
    return {row["item"]: row for split in rows(snapshot).values() for row in split}


def test_a_row_says_which_answer_is_better_and_where_that_comes_from(project, label):
    item = label(prompt="Is the sea salty?", responses=("It is sweet.", "It is salty."), tags=["water"],
                 answer={"choice": "b", "strength": 2})  # fmt: skip
    assert all_rows(cut_snapshot(project=project))[item.external_id] == {
        "prompt": [{"role": "user", "content": "Is the sea salty?"}],
        "chosen": [{"role": "assistant", "content": "It is salty."}],
        "rejected": [{"role": "assistant", "content": "It is sweet."}],
        "probability": pytest.approx(2 / 3),  # one vote of one: (1 + 1) / (1 + 2)
        "source": "human",
        "item": item.external_id,
        "tags": ["water"],
        "chosen_first": False,
        "strength": 2.0,
    }


def test_an_order_that_was_drawn_means_nothing(project, label):
    item = label("a", metadata={"order_drawn": True})
    assert all_rows(cut_snapshot(project=project))[item.external_id]["chosen_first"] is None


def test_what_is_no_preference_is_left_out_and_counted(project, label):
    label("a")
    label("tie")
    label("both_bad")
    label("unsure")
    label("b", responses=("same", "same"))
    label("a", state=Item.ARCHIVED)
    snapshot = cut_snapshot(project=project)
    assert snapshot.counts["rows"] == 1
    assert snapshot.counts["excluded"] == {"both_bad": 1, "same_answers": 1, "tie": 1}


def test_an_item_that_waits_for_more_people_is_not_settled(project, label):
    label("a")
    waits = label("b")
    Item.objects.filter(pk=waits.pk).update(state=Item.OPEN)
    assert cut_snapshot(project=project).counts["rows"] == 1


def test_sources_and_probability_are_chosen(project, label):
    label("a")
    sure = label("a")
    row = submitting.ImportedAnnotation(
        sure.pk, factories.rater(project, "jonas"), [0, 1], {"preference": {"choice": "a"}}
    )
    submitting.record_imported(project=project, rows=[row])
    judged = label("b", by="gpt", kind=Rater.JUDGE)
    assert cut_snapshot(project=project).counts == {
        "train": 3 - others(project), "validation": counts(project, "validation"), "test": counts(project, "test"),
        "rows": 3, "human": 2, "judge": 1, "prompts": 3, "excluded": {},
    }  # fmt: skip
    only = cut_snapshot(project=project, settings={"source": "judge"})
    assert list(all_rows(only)) == [judged.external_id]
    assert only.counts["excluded"] == {"other_source": 2}
    probable = cut_snapshot(project=project, settings={"min_probability": 0.7, "source": "human"})
    assert list(all_rows(probable)) == [sure.external_id]
    assert all_rows(probable)[sure.external_id]["probability"] == pytest.approx(3 / 4)


def counts(project, split):
    return sum(split_of(item.prompt) == split for item in project.items.all())


def others(project):
    return counts(project, "validation") + counts(project, "test")


def test_splits_go_by_prompt(project, label):
    for number in range(60):
        label(prompt=f"Question {number % 20}?", responses=(f"Yes {number}.", "No."))
    snapshot = cut_snapshot(project=project)
    homes = {}
    for split, found in rows(snapshot).items():
        for row in found:
            homes.setdefault(row["prompt"][0]["content"], set()).add(split)
            assert split == split_of(row["prompt"])
    assert len(homes) == 20
    assert all(len(splits) == 1 for splits in homes.values())
    assert snapshot.counts["train"] + snapshot.counts["validation"] + snapshot.counts["test"] == 60
    prompts = [
        json.loads(line) for split in ("train", "validation", "test") for line in prompts_file(snapshot, split).open()
    ]
    assert len(prompts) == len({row["id"] for row in prompts}) == 20


def test_jsonl_and_parquet_hold_the_same(project, label):
    for number in range(12):
        label("ab"[number % 2], answer={"choice": "ab"[number % 2], "strength": 1} if number % 3 else None)
    snapshot = cut_snapshot(project=project)
    for split, found in rows(snapshot).items():
        assert pq.read_table(snapshot_file(snapshot, split).with_suffix(".parquet")).to_pylist() == found


def test_the_same_labels_give_the_same_snapshot(project, label, manager):
    item = label("a")
    first = cut_snapshot(project=project, by=manager)
    again = cut_snapshot(project=project)
    assert (first.pk, first.number, first.created_by) == (again.pk, 1, manager)
    label("b")
    second = cut_snapshot(project=project)
    assert (second.number, second.sha256 == first.sha256) == (2, False)
    assert all_rows(first).keys() == {item.external_id}
    assert sorted(path.name for path in (snapshots.folder_of(first).parent).iterdir()) == sorted(
        [f"1-{first.sha256[:12]}", f"2-{second.sha256[:12]}"]
    )


def test_a_label_that_changes_makes_another_snapshot(project, label):
    item = label("a")
    first = cut_snapshot(project=project)
    row = submitting.ImportedAnnotation(
        item.pk, factories.rater(project, "jonas"), [0, 1], {"preference": {"choice": "a"}}
    )
    submitting.record_imported(project=project, rows=[row])
    assert cut_snapshot(project=project).pk != first.pk


def test_every_row_can_be_traced_to_its_annotations(project, label):
    item = label("b")
    judge = factories.rater(project, "gpt", Rater.JUDGE)
    unsure = factories.rater(project, "jonas")
    extra = [
        submitting.ImportedAnnotation(item.pk, judge, [0, 1], {"preference": {"choice": "a"}}),
        submitting.ImportedAnnotation(item.pk, unsure, [0, 1], {"preference": {"choice": "unsure"}}),
    ]
    submitting.record_imported(project=project, rows=extra)
    snapshot = cut_snapshot(project=project)
    member = SnapshotItem.objects.get(snapshot=snapshot)
    deciding = item.annotations.get(rater__name="mira")
    assert (member.item, member.split, member.annotations) == (item, split_of(item.prompt), [deciding.pk])
    trace = json.loads((snapshots.folder_of(snapshot) / "trace.jsonl").read_text())
    assert trace["annotations"] == [deciding.pk]


def test_the_manifest_names_every_file(project, label):
    label()
    folder = snapshots.folder_of(cut_snapshot(project=project))
    manifest = json.loads((folder / "manifest.json").read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == there - {"manifest.json"}
    assert not list(folder.parent.parent.glob(".unfinished*"))


def test_nothing_to_cut_is_said_clearly(project, label):
    with pytest.raises(SnapshotError, match="There are no settled preferences yet: label items or import a file."):
        cut_snapshot(project=project)
    label("tie")
    with pytest.raises(SnapshotError, match="There are 1 labels, but none says"):
        cut_snapshot(project=project)
    assert Snapshot.objects.count() == 0


@pytest.mark.parametrize("wrong", [{"source": "cats"}, {"min_probability": 0.3}, {"colour": "red"}])
def test_settings_that_cannot_be_are_refused(project, label, wrong):
    label()
    with pytest.raises(SnapshotError):
        cut_snapshot(project=project, settings=wrong)


def test_lost_files_are_said_and_can_be_cut_again(project, label, artifacts):
    import shutil

    label()
    snapshot = cut_snapshot(project=project)
    shutil.rmtree(artifacts)
    with pytest.raises(SnapshotError, match="The files of snapshot 1 are missing"):
        snapshot_file(snapshot, "train")
    assert cut_snapshot(project=project) == snapshot
    assert len(all_rows(snapshot)) == 1


def test_the_number_of_queries_does_not_grow_with_a_page(project, label, django_assert_num_queries):
    for _ in range(4):
        label()
    question = project.questions.first()
    with django_assert_num_queries(5):  # ids, facts, items, responses; and the page that is empty
        assert len([row for page in settled_pages(question) for row in page]) == 4


def test_pages_join_without_a_gap(project, label, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.settled.PAGE", 3)
    for _ in range(8):
        label()
    assert cut_snapshot(project=project).counts["rows"] == 8


def test_the_card_says_how_the_labels_were_made(project, label):
    label("a", is_sample=True)
    label("a")
    label("b", by="gpt", kind=Rater.JUDGE)
    label("tie")
    project.description = "Everyday questions."
    project.agreement = {"alpha": 0.71, "low": 0.68, "high": 0.74, "units": 120}
    project.save()
    snapshot = cut_snapshot(project=project)
    text = (snapshots.format_folder(snapshot) / "README.md").read_text()
    for part in (
        "# Everyday help: snapshot 1",
        "Of the pairs people decided 2 (67%), judges decided 1 (33%).",
        "alpha 0.71, 95% interval 0.68 to 0.74, on 120 items",
        "not collected: 1 pairs (33%)",
        "Left out: 1 ties.",
        "| person 1 | person | 2 |",
        "| gpt | judge | 1 |",
        snapshot.sha256,
        "license: …",
        "Guidelines in version 1",
    ):
        assert part in text
    assert "mira" not in text
    assert "| person 1 |" in snapshots.read_card(snapshot)
    assert not snapshots.read_card(snapshot).startswith("---")


@pytest.mark.django_db(transaction=True)
def test_two_cuts_at_once_make_one_snapshot(project, label):
    for _ in range(5):
        label()
    made = []

    def work():
        made.append(cut_snapshot(project=project).pk)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert made[0] == made[1]
    assert Snapshot.objects.count() == 1


# --- Leaving the house ----------------------------------------------------------------------------------------
def test_an_export_is_whole_or_not_there(project, label, tmp_path):
    label()
    snapshot = cut_snapshot(project=project)
    out = tmp_path / "out"
    names = exporting.export_snapshot(snapshot=snapshot, out=out)
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert {"README.md", "train.jsonl", "train.parquet", "manifest.json"} <= set(names)
    with pytest.raises(SnapshotError, match="is not empty: name a folder that is"):
        exporting.export_snapshot(snapshot=snapshot, out=out)
    empty = tmp_path / "empty"
    empty.mkdir()
    exporting.export_snapshot(snapshot=snapshot, out=empty)
    assert (empty / "manifest.json").exists()
    with pytest.raises(SnapshotError, match="cannot be written"):
        exporting.export_snapshot(snapshot=snapshot, out=out / "README.md" / "below-a-file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "empty", "out"]


def test_the_zip_holds_the_dataset(project, label):
    label()
    snapshot = cut_snapshot(project=project)
    data = b"".join(exporting.zip_stream(snapshot))
    assert data == b"".join(exporting.zip_stream(snapshot))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        inside = f"{project.slug}-snapshot-1"
        assert sorted(archive.namelist()) == sorted(
            f"{inside}/{path.name}" for path in snapshots.format_folder(snapshot).iterdir()
        )
        assert archive.read(f"{inside}/train.jsonl") == snapshot_file(snapshot, "train").read_bytes()
