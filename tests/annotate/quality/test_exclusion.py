"""Leaving a rater out: the preview says exactly what happens, it happens, and undoing it is whole."""

import pytest
from django.urls import reverse

from annotate import exporting, queue, skills, slots, tallies
from annotate.importing.whole import import_project
from annotate.models import Annotation, Change, Exclusion, Item, Label, Rater, Suspicion
from annotate.quality import exclusion
from annotate.submitting import submit_annotation
from pipeline.datasets.settled import settled_pages
from tests import factories
from tests.annotate.quality.conftest import A, B

pytestmark = pytest.mark.django_db
FIELDS = ("item", "question", "value", "probability", "distribution", "votes", "method")


@pytest.fixture
def scene(project, annotator, second_annotator, reviewer):
    """Three items: decided 2 to 1 with mira among the two; by mira alone; without her."""
    answers = [(A, A, B), (A,), (None, B)]
    for given in answers:
        people = [user for user, answer in zip((annotator, second_annotator, reviewer), given, strict=False) if answer]
        item = factories.item(project, overlap=len(people), slots_open=len(people))
        for user, answer in zip((annotator, second_annotator, reviewer), given, strict=False):
            if answer:
                held = queue.next_assignment(user=user, project=project)
                assert held.item == item
                submit_annotation(assignment=held, answers=answer)
    return Rater.objects.get(user=annotator)


def facts() -> tuple[list, list]:
    labels = Label.objects.order_by("item", "question").values_list(*FIELDS)
    return list(labels), list(Item.objects.order_by("pk").values_list("pk", "state", "slots_open", "review_value"))


def test_the_preview_changes_nothing_and_says_what_would(scene, project):
    before, counts, changes = facts(), tallies.read(project.pk), Change.objects.count()
    found = exclusion.preview(scene)
    assert facts() == before
    assert (tallies.read(project.pk), Change.objects.count()) == (counts, changes)
    assert Rater.objects.get(pk=scene.pk).excluded_at is None
    first, second, _third = Item.objects.order_by("pk")
    assert (found.annotations, found.items, found.changed, found.lost, found.reopened) == (2, 2, 1, 1, 2)
    assert [(row["item"], row["before"], row["after"]) for row in found.labels] == [
        (first.pk, "a", "tie"),
        (second.pk, "a", None),
    ]


def test_what_happens_is_what_the_preview_said_and_undoing_it_is_whole(scene, project, manager):
    before, counts = facts(), tallies.read(project.pk)
    made = exclusion.exclude(rater=scene, by=manager, reason="Random answers.")
    exclusion.work(made.pk)
    labels = dict(Label.objects.values_list("item", "value"))
    first, second, third = Item.objects.order_by("pk")
    assert labels == {first.pk: "tie", third.pk: "b"}
    assert [(item.state, item.slots_open) for item in (first, second, third)] == [
        ("open", 1), ("open", 1), ("labelled", 0),
    ]  # fmt: skip
    assert queue.recount(project=project) == 0
    assert tallies.read(project.pk)["labels_human"] == counts["labels_human"] - 2
    made.refresh_from_db()
    assert (made.state, made.done, made.total) == (Exclusion.EXCLUDED, 2, 2)
    exclusion.undo(exclusion=made, by=manager)
    exclusion.work(made.pk)
    assert facts() == before
    assert tallies.read(project.pk) == counts
    assert queue.recount(project=project) == 0
    made.refresh_from_db()
    assert made.state == Exclusion.UNDONE


def test_annotations_are_never_touched(scene, manager):
    before = list(Annotation.objects.order_by("pk").values())
    made = exclusion.exclude(rater=scene, by=manager)
    exclusion.work(made.pk)
    assert list(Annotation.objects.order_by("pk").values()) == before


def test_a_worker_that_died_is_followed_by_another(scene, project, manager, monkeypatch):
    monkeypatch.setattr(exclusion, "BATCH", 1)
    made = exclusion.exclude(rater=scene, by=manager)
    assert exclusion.step(made.pk)
    assert exclusion.unfinished() == [made.pk]
    made.refresh_from_db()
    assert made.done == 1
    exclusion.work(made.pk)
    assert exclusion.unfinished() == []
    assert slots.drifted(list(Item.objects.values_list("pk", flat=True))) == []


def test_who_is_left_out_gets_no_items_and_gives_back_what_they_hold(scene, project, annotator, manager):
    item = factories.item(project)
    held = queue.next_assignment(user=annotator, project=project)
    assert held.item == item
    exclusion.exclude(rater=scene, by=manager)
    assert Item.objects.get(pk=item.pk).slots_open == 1
    assert queue.next_assignment(user=annotator, project=project) is None
    with pytest.raises(exclusion.ExclusionError):
        exclusion.exclude(rater=scene, by=manager)


def test_fits_and_snapshots_leave_them_out_too(scene, project, manager):
    kinds = {scene.pk: "human"}
    assert len(list(skills.answers_of(kinds))) == 2
    made = exclusion.exclude(rater=scene, by=manager)
    exclusion.work(made.pk)
    assert list(skills.answers_of(kinds)) == []
    votes = [
        rater for page in settled_pages(project.questions.get(name="preference")) for s in page for _, rater in s.votes
    ]
    assert scene.pk not in votes


def test_a_manager_sees_the_preview_does_it_and_undoes_it(scene, project, manager, as_user):
    Suspicion.objects.create(rater=scene, signal="gold", value=0.2, low=0.1, high=0.5, n=9, threshold=0.7)
    client = as_user(manager)
    address = reverse("exclude", args=[project.slug, scene.pk])
    page = client.get(address).content.decode()
    assert "<del>a</del>" in page
    assert "Nothing has changed yet." in page
    client.post(address, {"reason": "Random answers."})
    made = Exclusion.objects.get()
    assert Suspicion.objects.get().state == "excluded"
    exclusion.work(made.pk)
    page = client.get(reverse("exclusion", args=[project.slug, made.pk])).content.decode()
    assert "2 of 2 items" in page
    client.post(reverse("exclusion_undo", args=[project.slug, made.pk]))
    assert Rater.objects.get(pk=scene.pk).excluded_at is None
    assert (
        "They stand in no snapshot."
        in client.get(reverse("rater_pipeline", args=[project.slug, scene.pk])).content.decode()
    )


def test_an_export_taken_in_elsewhere_leaves_out_the_same_people(scene, project, manager, tmp_path):
    made = exclusion.exclude(rater=scene, by=manager)
    exclusion.work(made.pk)
    exporting.write_project(project=project, folder=tmp_path / "out")
    copy, _taken = import_project(folder=tmp_path / "out", by=manager, name="Elsewhere")
    values = ("question__name", "value", "votes", "method")
    there = Label.objects.filter(item__project=copy).order_by("item").values_list(*values)
    assert list(there) == list(Label.objects.filter(item__project=project).order_by("item").values_list(*values))
    theirs = Rater.objects.get(project=copy, excluded_at__isnull=False)
    assert theirs.annotations.count() == 2
    exclusion.undo(exclusion=theirs.exclusions.get(), by=manager)
    exclusion.work(theirs.exclusions.get().pk)
    assert Label.objects.filter(item__project=copy).count() == 3
