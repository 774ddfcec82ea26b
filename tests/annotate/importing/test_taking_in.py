"""Items into the database: everything or nothing, and nothing twice."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import DatabaseError, connection

from annotate import submitting, tallies
from annotate.importing import RowError, TakenIn, take_in
from annotate.importing import taking_in as module
from annotate.models import Annotation, Change, Import, Item, Label, Rater, Response
from tests import factories

pytestmark = pytest.mark.django_db

ROW = {
    "id": "one",
    "tags": ["t"],
    "metadata": {"k": 1},
    "prompt": [{"role": "user", "content": "Hi?"}],
    "responses": [
        {"model": "m-1", "messages": [{"role": "assistant", "content": "Hello there."}], "metadata": {"seed": 4}},
        {"model": "m-2", "messages": [{"role": "assistant", "content": "No."}]},
    ],
    "annotations": [
        {"rater": "mira", "kind": "human", "order": [1, 0], "answers": {"preference": {"choice": "a"}}, "seconds": 4},
        {
            "rater": "gpt",
            "kind": "judge",
            "answers": {"preference": {"choice": "b"}},
            "confidence": 0.9,
            "reason": "r",
            "reference": "ref",
        },
    ],
}


def simple(n, **more):
    return {"id": f"i-{n}", "prompt": f"Question {n}?", "responses": ["Yes.", "No."], **more}


def test_an_item_its_responses_and_its_annotations_are_stored_as_given(project):
    source = Import.objects.create(project=project, file_name="x", path="")
    taken = take_in(project=project, items=[ROW], source=source, is_sample=True)

    assert taken == TakenIn(1, 0, 2, 0)
    item = Item.objects.get()
    assert (item.external_id, item.title, item.tags, item.metadata) == ("one", "Hi?", ["t"], {"k": 1})
    assert (item.is_sample, item.source, item.route, item.slots_open) == (True, source, "", 0)
    assert list(item.responses.values_list("position", "model", "words", "metadata")) == [
        (0, "m-1", 2, {"seed": 4}),
        (1, "m-2", 1, {}),
    ]
    human, judge = Annotation.objects.select_related("rater").order_by("id")
    assert (human.rater.name, human.rater.kind, human.rater.is_sample, human.order) == ("mira", "human", True, [1, 0])
    assert (judge.rater.name, judge.order_key, judge.confidence, judge.reference) == ("gpt", "0-1", 0.9, "ref")


def test_what_follows_from_imported_annotations_is_there_too(project):
    take_in(project=project, items=[ROW, simple(1)])

    label = Label.objects.get()
    assert (label.value, label.decided_by) == ("a", "human")  # people outvote judges
    assert list(Item.objects.order_by("id").values_list("state", flat=True)) == ["labelled", "open"]
    assert list(Change.objects.values_list("kind", "item__external_id")) == [("imported", "one")]
    counts = tallies.read(project.pk)
    assert counts["items"] == 2
    assert (counts["annotations_human"], counts["annotations_judge"], counts["labels_human"]) == (1, 1, 1)


def test_the_same_items_again_add_nothing(project):
    first = take_in(project=project, items=[ROW, simple(1)])
    again = take_in(project=project, items=[ROW, simple(1)])

    assert (first, again) == (TakenIn(2, 0, 2, 0), TakenIn(0, 2, 0, 2))
    assert (Item.objects.count(), Response.objects.count(), Annotation.objects.count()) == (2, 4, 2)
    assert tallies.read(project.pk)["items"] == 2
    assert Rater.objects.count() == 2


def test_equal_content_is_one_item_whatever_its_ids(project):
    rows = [simple(1), {**simple(1), "id": "other"}, {**simple(1), "id": None}]

    assert take_in(project=project, items=rows) == TakenIn(1, 2, 0, 0)
    assert Item.objects.get().external_id == "i-1"


def test_new_annotations_reach_an_item_that_is_there(project):
    take_in(project=project, items=[{**ROW, "annotations": []}])
    taken = take_in(project=project, items=[ROW])

    assert taken == TakenIn(0, 1, 2, 0)
    assert Item.objects.get().state == "labelled"


def test_other_projects_may_have_the_same_items(project, admin):
    other = factories.project(by=admin, name="Other")
    take_in(project=project, items=[ROW])

    assert take_in(project=other, items=[ROW]) == TakenIn(1, 0, 2, 0)


def test_an_id_that_belongs_to_another_item_is_refused_with_its_row(project):
    take_in(project=project, items=[simple(1)])

    with pytest.raises(RowError) as refused:
        take_in(project=project, items=[simple(2), {**simple(3), "id": "i-1"}])
    assert str(refused.value) == "Row 2: the project has another item with the id “i-1”: give this row another id."
    assert Item.objects.count() == 1


def test_one_bad_row_keeps_everything_out(project):
    with pytest.raises(RowError, match="Row 3: there is no response"):
        take_in(project=project, items=[ROW, simple(1), {"prompt": "x"}])

    assert (Item.objects.count(), Annotation.objects.count(), Rater.objects.count()) == (0, 0, 0)
    assert tallies.read(project.pk) == {}


def test_a_failure_in_a_later_batch_undoes_the_earlier_ones(project, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ITEMS", 2)
    calls = []

    def fail_on_the_second(*, project, rows):
        calls.append(len(rows))
        if len(calls) == 2:
            raise DatabaseError("gone")
        return submitting.record_imported(project=project, rows=rows)

    monkeypatch.setattr(module.submitting, "record_imported", fail_on_the_second)
    said = [{"rater": "mira", "answers": {"preference": {"choice": "a"}}}]
    with pytest.raises(DatabaseError):
        take_in(project=project, items=[simple(n, annotations=said) for n in range(4)])

    assert len(calls) == 2
    assert (Item.objects.count(), Annotation.objects.count(), Change.objects.count()) == (0, 0, 0)
    assert tallies.read(project.pk) == {}


def test_batches_are_small_in_number_and_in_text():
    class Sized:
        def __init__(self, size):
            self.size = size

    rows = [(n, Sized(5_000_000)) for n in range(4)] + [(n, Sized(1)) for n in range(700)]

    assert [len(batch) for batch in module.batches(rows)] == [2, 2, 500, 200]


def test_counts_are_added_once_at_the_end(project, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ITEMS", 2)
    added = []
    monkeypatch.setattr(tallies, "add_one", lambda *args: added.append(args[1]))
    said = [{"rater": "mira", "answers": {"preference": {"choice": "a"}}}]
    take_in(project=project, items=[simple(n, annotations=said) for n in range(6)])

    assert sorted(added) == ["annotations_human", "items", "labels_human"]


def test_the_number_of_queries_grows_with_batches_and_not_with_rows(project, django_assert_max_num_queries):
    with django_assert_max_num_queries(80):  # SQLite takes some 60 items in a statement, PostgreSQL all
        take_in(project=project, items=[{**ROW, "id": n, "prompt": f"Question {n}?"} for n in range(300)])


def test_edits_of_one_annotation_come_back_as_a_chain(project):
    said = [
        {"rater": "mira", "id": "1", "answers": {"preference": {"choice": "a"}}},
        {"rater": "mira", "id": "2", "replaces": "1", "answers": {"preference": {"choice": "b"}}},
    ]
    take_in(project=project, items=[simple(1, annotations=said)])

    old, new = Annotation.objects.order_by("revision")
    assert (new.replaces, new.answers["preference"]["choice"]) == (old, "b")
    assert Label.objects.get().value == "b"


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_the_same_items_at_once_add_them_once(project):
    rows = [simple(n, annotations=[{"rater": "mira", "answers": {"preference": {"choice": "a"}}}]) for n in range(40)]
    begin = Barrier(2)

    def import_all(_):
        begin.wait()
        try:
            return take_in(project=project, items=rows)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(import_all, range(2)), key=lambda taken: taken.items_created)

    assert outcomes == [TakenIn(0, 40, 0, 40), TakenIn(40, 0, 40, 0)]
    assert tallies.read(project.pk)["items"] == 40


def test_an_item_whose_answer_the_file_tells_is_gold_from_the_start(project):
    expected = {"answers": {"preference": {"choice": "a"}, "helpful": [5, None]}, "tolerance": {"helpful": 1}}
    take_in(project=project, items=[simple(1, gold={**expected, "explanation": "It says yes.", "use": "quiz"})])
    item = Item.objects.select_related("gold").get()
    assert (item.state, item.slots_open, item.gold.use) == (Item.GOLD, 0, "quiz")
    assert (item.gold.answers, item.gold.tolerance) == (expected["answers"], {"helpful": 1.0})
    assert item.gold.explanation == "It says yes."
    counts = tallies.read(project.pk)
    assert (counts.get("items", 0), counts["gold"]) == (0, 1)


@pytest.mark.parametrize(
    ("gold", "words"),
    [
        ([], "is not a JSON object"),
        ({"answers": {}}, "no “answers”"),
        ({"answers": {"preference": {"choice": "x"}}}, "choose one of"),
        ({"answers": {"preference": {"choice": "a"}}, "use": "exam"}, "write one of gold, attention, training, quiz"),
        ({"answers": {"preference": {"choice": "a"}}, "tolerance": {"nope": 1}}, "does not fit"),
        ({"answers": {"preference": {"choice": "a"}}, "why": "x"}, "has a field “why”"),
    ],
)
def test_gold_that_cannot_be_meant_is_refused(project, gold, words):
    with pytest.raises(RowError, match=words):
        take_in(project=project, items=[simple(1, gold=gold)])
