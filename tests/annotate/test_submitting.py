"""What is submitted is kept: revisions, late submits, judges' verdicts and files' annotations."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import tallies
from annotate.models import Annotation, Assignment, Change, Item, Label, Rater
from annotate.questions import AnswerError
from annotate.submitting import ImportedAnnotation, record_imported, record_judgment, submit_annotation
from tests import factories

A = {"preference": {"choice": "a", "strength": 2}}
B = {"preference": {"choice": "b", "strength": 1}}

pytestmark = pytest.mark.django_db


def lease(item, rater, order=(0, 1), **fields) -> Assignment:
    """A live lease that holds one of the item's places."""
    Item.objects.filter(pk=item.pk).update(slots_open=0)
    expires = timezone.now() + timedelta(minutes=30)
    return Assignment.objects.create(item=item, rater=rater, order=list(order), expires_at=expires, **fields)


def test_a_submit_keeps_the_answer_its_versions_and_its_time(project):
    project.guideline_version = 3
    project.save()
    item = factories.item(project)
    assignment = lease(item, factories.rater(project), order=[1, 0], draft={"q-preference": "2"})
    made = submit_annotation(assignment=assignment, answers={**A, "helpful": [4, None]}, reason="kinder", seconds=41.5)
    assert (made.answers, made.reason, made.seconds) == ({**A, "helpful": [4, None]}, "kinder", 41.5)
    assert (made.order_key, made.guideline_version, made.rubric_version, made.revision) == ("1-0", 3, 1, 0)
    assignment.refresh_from_db()
    assert (assignment.state, assignment.draft, assignment.active_seconds) == ("submitted", {}, 41.5)
    change = Change.objects.get()
    assert (change.kind, change.item, change.annotation) == ("submitted", item, made)
    assert tallies.read(project.pk) == {"annotations_human": 1, "labels_human": 1}
    item.refresh_from_db()
    assert (item.state, item.slots_open) == ("labelled", 0)


def test_an_answer_that_does_not_fit_changes_nothing(project):
    assignment = lease(factories.item(project), factories.rater(project))
    with pytest.raises(AnswerError, match="still needs an answer"):
        submit_annotation(assignment=assignment, answers={"helpful": [1, 1]})
    with pytest.raises(AnswerError, match="strength is 4"):
        submit_annotation(assignment=assignment, answers={"preference": {"choice": "a", "strength": 4}})
    assert not Annotation.objects.exists()
    assert Assignment.objects.get().state == "leased"


def test_the_same_key_twice_counts_once(project):
    assignment = lease(factories.item(project), factories.rater(project))
    first = submit_annotation(assignment=assignment, answers=A, idempotency_key="page-1")
    again = submit_annotation(assignment=assignment, answers=B, idempotency_key="page-1")
    assert again == first
    assert Annotation.objects.get().answers == A
    assert tallies.read(project.pk)["annotations_human"] == 1


def test_a_second_submit_is_a_revision_and_the_label_follows_it(project):
    item = factories.item(project)
    assignment = lease(item, factories.rater(project))
    first = submit_annotation(assignment=assignment, answers=A)
    second = submit_annotation(assignment=assignment, answers=B)
    assert (second.revision, second.replaces, second.counted) == (1, first, True)
    assert Annotation.objects.get(pk=first.pk).answers == A
    label = Label.objects.get(item=item)
    assert (label.value, label.votes) == ("b", 1)
    assert tallies.read(project.pk) == {"annotations_human": 1, "labels_human": 1}


def test_a_late_submit_counts_only_where_a_place_is_open(project):
    early, late = factories.item(project, slots_open=1), factories.item(project, slots_open=0)
    rater = factories.rater(project)
    for item, counted in ((early, True), (late, False)):
        expired = Assignment.objects.create(
            item=item, rater=rater, order=[0, 1], expires_at=timezone.now(), state=Assignment.EXPIRED
        )
        assert submit_annotation(assignment=expired, answers=A).counted is counted
        item.refresh_from_db()
        assert item.slots_open == 0
    assert [label.item for label in Label.objects.all()] == [early]


def test_a_revision_of_an_uncounted_submit_takes_a_place_that_opened(project):
    item = factories.item(project, slots_open=0)
    expired = Assignment.objects.create(
        item=item, rater=factories.rater(project), order=[0, 1], expires_at=timezone.now(), state=Assignment.EXPIRED
    )
    assert not submit_annotation(assignment=expired, answers=A).counted
    Item.objects.filter(pk=item.pk).update(slots_open=1)
    assert submit_annotation(assignment=expired, answers=A).counted
    item.refresh_from_db()
    assert (item.slots_open, item.state) == (0, "labelled")


def test_an_item_is_labelled_when_nobody_else_is_waited_for(project):
    item = factories.item(project, overlap=2, slots_open=2)
    for name, state in (("mira", "open"), ("jonas", "labelled")):
        submit_annotation(assignment=lease(item, factories.rater(project, name)), answers=A)
        item.refresh_from_db()
        assert item.state == state
    assert tallies.read(project.pk)["labels_human"] == 1


def test_an_item_with_one_response_is_asked_its_ratings_only(project):
    item = factories.item(project, responses=("Only this.",))
    assignment = lease(item, factories.rater(project), order=[0])
    made = submit_annotation(assignment=assignment, answers={"helpful": [3]})
    assert made.answers == {"helpful": [3]}


def test_a_judges_verdict_is_kept_once_for_each_order(project):
    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    judge = factories.rater(project, "judge", Rater.JUDGE)
    first = record_judgment(item=item, rater=judge, order=[0, 1], answers=A, confidence=0.9, metadata={"call": 1})
    assert first is not None
    assert (first.confidence, first.metadata, first.order_key) == (0.9, {"call": 1}, "0-1")
    assert record_judgment(item=item, rater=judge, order=[0, 1], answers=A) is None
    assert record_judgment(item=item, rater=judge, order=[1, 0], answers=B) is not None
    label = Label.objects.get()
    assert (label.value, label.votes, label.decided_by) == ("tie", 1, "judge")
    changed = record_judgment(item=item, rater=judge, order=[0, 1], answers=B)
    assert changed.replaces == first
    assert Label.objects.get().value == "b"
    assert tallies.read(project.pk) == {"annotations_judge": 2, "labels_judge": 1}


def test_a_judges_verdict_that_does_not_fit_is_refused(project):
    item, judge = factories.item(project), factories.rater(project, "judge", Rater.JUDGE)
    with pytest.raises(AnswerError):
        record_judgment(item=item, rater=judge, order=[0, 1], answers={"preference": {"choice": "left"}})
    with pytest.raises(AnswerError):
        record_judgment(item=item, rater=judge, order=[0, 1], answers={"helpful": [9, 1]})


def imported(item, rater, answers=A, **fields) -> ImportedAnnotation:
    return ImportedAnnotation(item_id=item.pk, rater=rater, order=[0, 1], answers=answers, **fields)


def test_a_files_annotations_come_in_once(project):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    people = [factories.rater(project, f"annotator{n}") for n in (1, 2, 3)]
    judge = factories.rater(project, "gpt-4", Rater.JUDGE)
    rows = [imported(item, rater, answers) for rater, answers in zip(people, (A, B, A), strict=True)]
    rows.append(imported(item, judge, {"preference": {"choice": "unparsable"}}, reason="?", confidence=0.5))
    assert record_imported(project=project, rows=rows) == 4
    assert record_imported(project=project, rows=rows) == 0
    item.refresh_from_db()
    assert item.state == "labelled"
    assert Label.objects.get().distribution == {"a": 3 / 7, "b": 2 / 7, "tie": 1 / 7, "both_bad": 1 / 7}
    assert tallies.read(project.pk) == {"annotations_human": 3, "annotations_judge": 1, "labels_human": 1}
    assert list(Change.objects.values_list("kind", "item")) == [("imported", item.pk)]


def test_a_files_revisions_replace_one_another(project):
    item, rater = factories.item(project), factories.rater(project, "ann-2")
    rows = [imported(item, rater, B, revision=1), imported(item, rater, A, revision=0, guideline_version=2)]
    assert record_imported(project=project, rows=rows) == 2
    first, second = Annotation.objects.order_by("revision")
    assert (second.replaces, second.answers, first.guideline_version) == (first, B, 2)
    assert Label.objects.get().value == "b"
    assert tallies.read(project.pk)["annotations_human"] == 1


def test_a_files_people_take_the_places_of_an_item_that_is_with_people(project):
    item = factories.item(project, overlap=2, slots_open=2)
    record_imported(project=project, rows=[imported(item, factories.rater(project, "ann-1"))])
    item.refresh_from_db()
    assert (item.slots_open, item.state) == (1, "open")
    late = imported(item, factories.rater(project, "ann-2"), counted=False)
    record_imported(project=project, rows=[late])
    item.refresh_from_db()
    assert item.slots_open == 1
