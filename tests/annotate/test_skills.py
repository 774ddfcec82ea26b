"""Fitting raters in the product: when it is done, what labels become, and that they can be computed again."""

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate import aggregation, skills, tallies, tasks
from annotate.models import Annotation, Fit, Item, Label, Measurement, Project, Question, Rater, RaterSkill
from annotate.statistics.dawid_skene import dawid_skene
from annotate.statistics.votes import votes_of
from annotate.submitting import ImportedAnnotation, record_imported
from tests import factories

pytestmark = pytest.mark.django_db
OPTIONS = ["a", "b", "tie", "both_bad"]
ACCURACIES = {"ann": 0.95, "ben": 0.9, "eve": 0.3}


def bare_items(project, n: int) -> list[Item]:
    rows = [
        Item(project=project, external_id=f"bare-{i}", prompt=[], prompt_hash=str(i), content_hash=str(i))
        for i in range(n)
    ]
    return Item.objects.bulk_create(rows)


def answers(project, n: int, seed: int = 1) -> list[Item]:
    """Items on which ann and ben are good, eve mostly guesses, and a judge answered every third."""
    draw = np.random.default_rng(seed)
    items = bare_items(project, n)
    truth = draw.integers(0, 2, n)
    people = {factories.rater(project, name): accuracy for name, accuracy in ACCURACIES.items()}
    judge = factories.rater(project, "j", Rater.JUDGE)
    rows = []
    for item, side in zip(items, truth, strict=True):
        for rater, accuracy in people.items():
            choice = "ab"[side] if draw.random() < accuracy else "ab"[draw.integers(0, 2)]
            rows.append(ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choice}}))
        if item.pk % 3 == 0:
            rows.append(ImportedAnnotation(item.pk, judge, [0, 1], {"preference": {"choice": "ab"[side]}}))
    record_imported(project=project, rows=rows)
    return items


def contents() -> list[tuple]:
    return list(Label.objects.order_by("item", "question").values_list("item", "question", *aggregation.FIELDS))


def choose(project, method: str) -> Project:
    Project.objects.filter(pk=project.pk).update(aggregation_method=method)
    return Project.objects.get(pk=project.pk)


@pytest.fixture
def crowd(project) -> list[Item]:
    return answers(project, 220)


def test_without_enough_the_majority_stands_and_says_so(project):
    answers(project, 30)
    before = contents()
    project = choose(project, Project.DAWID_SKENE)
    assert skills.refresh(project)
    assert contents() == before
    fit = Fit.objects.get(question__name="preference")
    assert (fit.method, fit.items, fit.raters) == ("majority", 30, 3)
    assert "There are 30 such items and 3 such people, so the majority stands" in skills.advice(project, fit.question)


def test_under_majority_raters_are_measured_and_labels_left_alone(project, crowd):
    before = contents()
    assert tasks.fit_raters() == 1
    assert tasks.fit_raters() == 0
    assert contents() == before
    eve, ann = (RaterSkill.objects.get(rater__name=name, question__name="preference") for name in ("eve", "ann"))
    assert eve.accuracy < ann.low < ann.accuracy < ann.high
    judge = RaterSkill.objects.get(rater__name="j")
    assert judge.n == sum(item.pk % 3 == 0 for item in crowd)


def test_labels_are_the_posterior_of_the_fit(project, crowd):
    project = choose(project, Project.DAWID_SKENE)
    assert skills.refresh(project)
    rows = Label.objects.order_by("item")
    people = {rater.pk: n for n, rater in enumerate(Rater.objects.filter(kind="human"))}
    place = {item.pk: n for n, item in enumerate(crowd)}
    said = [
        (place[item], people[rater], OPTIONS.index(answer["preference"]["choice"]))
        for item, rater, answer in skills.answers_of({**dict.fromkeys(people, "human")})
    ]
    expected = dawid_skene(votes_of(said, 4)).posterior
    found = np.array([[label.distribution[option] for option in OPTIONS] for label in rows])
    assert found == pytest.approx(expected, abs=1e-4)
    assert {label.method for label in rows} == {"Dawid–Skene, fit 1"}
    assert "Weighed by fit 1" in skills.advice(project, project.questions.get(name="preference"))


def test_labels_and_fits_thrown_away_and_made_again_are_the_same(project, crowd):
    project = choose(project, Project.DAWID_SKENE)
    skills.refresh(project)
    before = contents()
    Label.objects.all().delete()
    aggregation.label_items([item.pk for item in crowd])
    assert contents() == before  # from the stored fit
    for table in (Label, RaterSkill, Fit, Measurement):
        table.objects.all().delete()
    skills.refresh(project)
    assert contents() == before  # from the annotations alone


def test_back_to_the_majority(project, crowd):
    before = contents()
    skills.refresh(choose(project, Project.SKILL_WEIGHTED))
    assert {label.method for label in Label.objects.all()} == {"skill-weighted, fit 1"}
    skills.refresh(choose(project, Project.MAJORITY))
    assert contents() == before


def test_one_more_answer_is_weighed_at_once_with_one_more_query(project, crowd):
    def queries(item) -> int:
        with CaptureQueriesContext(connection) as caught:
            aggregation.relabel([item.pk])
        return len(caught)

    plain = queries(crowd[0])
    skills.refresh(choose(project, Project.DAWID_SKENE))
    assert queries(crowd[1]) == plain + 1
    late = factories.rater(project, "zoe")
    before = Label.objects.get(item=crowd[2]).distribution
    row = ImportedAnnotation(crowd[2].pk, late, [0, 1], {"preference": {"choice": "b"}})
    record_imported(project=project, rows=[row])
    after = Label.objects.get(item=crowd[2])
    assert after.distribution["b"] > before["b"]
    assert after.method == "Dawid–Skene, fit 1"


def test_a_fit_is_made_anew_when_a_tenth_more_was_said(project, crowd):
    project = choose(project, Project.DAWID_SKENE)
    skills.refresh(project)
    many = Measurement.objects.get().annotations
    tallies.add(project_id=project.pk, counts={"annotations_human": many // 10 - 1})
    assert not skills.refresh(project)
    tallies.add(project_id=project.pk, counts={"annotations_human": 2})
    assert skills.refresh(project)
    assert Fit.objects.get(question__name="preference").version == 2


def test_a_worker_that_dies_on_the_way_leaves_the_rest_to_the_next(project, crowd, monkeypatch):
    monkeypatch.setattr(skills, "BATCH", 100)
    project = choose(project, Project.DAWID_SKENE)
    label_items, calls = aggregation.label_items, []

    def die_at_the_second(ids):
        calls.append(ids)
        if len(calls) == 2:
            raise KeyboardInterrupt
        label_items(ids)

    monkeypatch.setattr(aggregation, "label_items", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        skills.refresh(project)
    assert Label.objects.filter(method="Dawid–Skene, fit 1").count() == 100
    monkeypatch.setattr(aggregation, "label_items", label_items)
    assert skills.refresh(project)
    assert Fit.objects.get(question__name="preference").version == 1
    assert set(Label.objects.values_list("method", flat=True)) == {"Dawid–Skene, fit 1"}
    assert Measurement.objects.get().relabel_after is None


def test_two_workers_do_not_fit_one_project(project, crowd):
    measurement = Measurement.objects.create(project=project)
    assert skills.claim(measurement)
    assert not skills.refresh(project)
    assert not Fit.objects.exists()


def test_ratings_lose_the_leanings_of_their_raters(project):
    items = bare_items(project, 12)
    kind, strict = factories.rater(project, "kind"), factories.rater(project, "strict")
    rows = [
        ImportedAnnotation(item.pk, rater, [0, 1], {"helpful": [base + lean, 3 + lean]})
        for base, item in zip([2, 3, 4] * 4, items, strict=True)
        for rater, lean in ((kind, 1), (strict, -1))
    ]
    rows += [ImportedAnnotation(items[0].pk, factories.rater(project, "rare"), [0, 1], {"helpful": [5, 5]})]
    record_imported(project=project, rows=rows)
    extra = Item.objects.create(project=project, external_id="x", prompt=[], prompt_hash="x", content_hash="x")
    record_imported(project=project, rows=[ImportedAnnotation(extra.pk, kind, [0, 1], {"helpful": [4, 2]})])
    skills.refresh(choose(project, Project.SKILL_WEIGHTED))
    assert RaterSkill.objects.get(rater=kind).parameters["bias"] == pytest.approx(1.0, abs=0.12)
    assert RaterSkill.objects.get(rater__name="rare").parameters == {}
    label = Label.objects.get(item=extra, question__name="helpful")
    assert label.value == pytest.approx([3.0, 1.0], abs=0.12)
    assert label.details["raw"] == [4, 2]


def test_single_choices_are_weighed_too(project, admin):
    config = {"options": ["x", "y"]}
    Question.objects.create(project=project, name="topic", kind="choice", title="Topic", config=config)
    items = bare_items(project, 200)
    people = [factories.rater(project, name) for name in ("p", "q")]
    rows = [ImportedAnnotation(item.pk, rater, [0, 1], {"topic": ["x"]}) for item in items for rater in people]
    record_imported(project=project, rows=rows)
    skills.refresh(choose(project, Project.DAWID_SKENE))
    label = Label.objects.filter(question__name="topic").first()
    assert (label.value, label.method) == (["x"], "Dawid–Skene, fit 1")


def test_a_manager_chooses_the_method_and_reads_what_weighs_now(project, manager, as_user):
    answers(project, 30)
    client, address = as_user(manager), reverse("project_settings", args=[project.slug])
    page = client.get(address)
    assert "until the worker" not in page.content.decode()
    values = {name: value for name, value in page.context["form"].initial.items() if value is not None}
    assert client.post(address, {**values, "aggregation_method": "dawid_skene"}).status_code == 302
    assert "until the worker has fitted it, the majority stands" in client.get(address).content.decode()
    tasks.fit_raters()
    assert "There are 30 such items and 3 such people" in client.get(address).content.decode()


def test_the_same_votes_in_another_order_give_the_same_labels(project, admin, crowd):
    """What a project exports and another takes in lies in another order there, under other ids."""
    other = factories.project(by=admin, name="Taken in")
    annotations = list(Annotation.objects.select_related("item", "rater").order_by("?"))
    raters = {
        rater.pk: factories.rater(other, rater.name, rater.kind)
        for rater in Rater.objects.filter(project=project).order_by("-pk")
    }
    items = {item.external_id: item for item in reversed(bare_items(other, len(crowd)))}
    rows = [
        ImportedAnnotation(items[a.item.external_id].pk, raters[a.rater_id], [0, 1], a.answers) for a in annotations
    ]
    record_imported(project=other, rows=rows)

    def labels_of(of: Project, method: str) -> dict:
        skills.refresh(choose(of, method))
        fields = ("item__external_id", "value", "distribution", "method")
        return {row[0]: row[1:] for row in Label.objects.filter(item__project=of).values_list(*fields)}

    for method in (Project.DAWID_SKENE, Project.SKILL_WEIGHTED):
        assert labels_of(other, method) == labels_of(project, method)
