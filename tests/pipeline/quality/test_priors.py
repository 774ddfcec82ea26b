"""What calibrated judges say goes into labels: once, at its worth, and only where no person has answered."""

import pytest

from annotate.aggregation import label_items
from annotate.models import Item, Label, Prior
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline.models import Calibration, Judge, PriorWork
from pipeline.quality import measuring, priors
from tests import factories
from tests.pipeline.quality.conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def calibrated(audited, judge):
    """A judge that is right on 24 of 30 at a confidence of .95."""
    audited(24, confidence=0.95)
    audited(6, people="b", confidence=0.95)
    measuring.measure(judge.rater)
    return judge


@pytest.fixture
def judged(project, judge, said):
    """An item that only the judge has answered, the same in both orders."""

    def make(choice="a", confidence=0.95, **more):
        item = factories.item(project, route="judge", overlap=0, slots_open=0)
        for order in ("0-1", "1-0"):
            said(judge.rater, item, choice, order=order, confidence=confidence, **more)
        label_items([item.pk])
        return item

    return make


def labels_of(items):
    return Label.objects.filter(item__in=items).order_by("item").values("item", "value", "distribution")


def test_a_label_is_as_sure_as_the_judge_has_proved_and_not_surer(calibrated, judged, project):
    item = judged("b")
    assert Label.objects.get(item=item).method == "majority"
    assert priors.write_priors(project) == 1
    prior = Prior.objects.get()
    label = Label.objects.get(item=item)
    # what the map says of what falls on a side at all; ties and both bad take (0 + 5 · 1/34) / 35 each
    side, first = 1 - 2 * (5 / 34) / 35, float(measuring.map_of(Calibration.objects.get())([-2.944439])[0])
    assert 25 / 32 < 1 - first < 0.95
    assert label.probability == pytest.approx(side * (1 - first), abs=1e-4)
    assert (label.value, label.votes, label.decided_by, label.method) == ("b", 1, "judge", "calibrated judges")
    assert label.distribution == pytest.approx(prior.probabilities)
    assert prior.version == str(Calibration.objects.get().pk)
    assert Item.objects.get(pk=item.pk).state == Item.LABELLED


def test_items_that_people_answered_get_none_and_a_person_who_answers_later_is_not_outvoted(
    calibrated, judged, project, person
):
    item = judged("b")
    priors.write_priors(project)
    assert list(Prior.objects.values_list("item", flat=True)) == [item.pk]  # none for the thirty audits
    answer = ImportedAnnotation(item.pk, person, [0, 1], {"preference": {"choice": "a", "strength": 1}})
    record_imported(project=project, rows=[answer])
    label = Label.objects.get(item=item)
    assert (label.value, label.decided_by, label.method) == ("a", "human", "majority")
    assert label.probability == pytest.approx(0.4)  # as if there were no judge
    item.annotations.filter(rater=person).update(submitted_at=NOW)
    priors.write_priors(project)
    assert not Prior.objects.exists()


def test_thrown_away_and_written_again_it_is_the_same_and_nothing_changes_twice(calibrated, judged, project):
    items = [judged("ab"[n % 2], confidence=0.6 + n / 100).pk for n in range(7)]
    assert priors.write_priors(project) == 7
    assert priors.write_priors(project) == 0
    rows = list(Prior.objects.order_by("item").values("item", "probabilities", "version"))
    labels = list(labels_of(items))
    Prior.objects.all().delete()
    Label.objects.filter(item__in=items).delete()
    PriorWork.objects.all().delete()
    assert priors.write_priors(project) == 7
    assert list(Prior.objects.order_by("item").values("item", "probabilities", "version")) == rows
    assert (
        list(Label.objects.filter(item__in=items).order_by("item").values("item", "value", "distribution")) == labels
    )


def test_a_pass_goes_on_where_it_was_stopped(calibrated, judged, project, monkeypatch):
    monkeypatch.setattr(priors, "BATCH", 20)
    for _ in range(5):
        judged()
    assert priors.write_priors(project, most=1) == 0  # the first twenty are audits
    stopped_at = PriorWork.objects.get().item
    assert stopped_at
    assert priors.write_priors(project) == 5
    item = judged()
    assert priors.write_priors(project) == 1  # only what is new
    assert Prior.objects.filter(item=item).exists()


def test_an_item_that_the_label_model_knows_is_left_to_it(calibrated, judged, project):
    item = judged()
    question = project.questions.get(kind="preference")
    Prior.objects.create(item=item, question=question, source="label model", version="1", probabilities={"a": 0.9})
    assert priors.write_priors(project) == 0
    assert Prior.objects.get().source == "label model"


def test_a_judge_that_is_no_longer_calibrated_loses_its_priors(calibrated, judged, project, judge):
    item = judged()
    priors.write_priors(project)
    Judge.objects.filter(pk=judge.pk).update(prompt_version="other")
    assert priors.write_priors(project) == 1
    assert not Prior.objects.exists()
    assert Label.objects.get(item=item).method == "majority"
