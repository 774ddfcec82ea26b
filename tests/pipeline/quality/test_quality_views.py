"""The judge's Quality page, from nothing measured to a calibrated judge."""

import pytest
from django.urls import reverse

from annotate.models import Item
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline.models import Route
from tests import factories

pytestmark = pytest.mark.django_db


def page(client, judge):
    return client.get(reverse("judge_quality", args=[judge.project.slug, judge.pk])).content.decode()


def test_from_nothing_to_a_calibrated_judge(as_user, manager, judge, audited):
    client = as_user(manager)
    assert "Not measured yet" in page(client, judge)
    audited(12, confidence=0.9)
    measure = reverse("judge_measure", args=[judge.project.slug, judge.pk])
    client.post(measure)
    assert "Too few to calibrate: 8 more audits are needed" in page(client, judge)
    audited(6, people="b", confidence=0.7)
    audited(6, confidence=0.7)
    client.post(measure)
    text = page(client, judge)
    assert "Temperature: P = σ(margin /" in text
    assert "24 drawn by lot" in text
    own = client.get(reverse("judge", args=[judge.project.slug, judge.pk])).content.decode()
    assert "calibrated on 24 audits (calibration 1) · not tried on attacks" in own


def test_items_that_people_labelled_are_drawn_for_the_judge_and_nobody_else_is_asked(
    as_user, manager, judge, person, project
):
    items = [factories.item(project, route="", overlap=0, slots_open=0) for _ in range(5)]
    answer = {"preference": {"choice": "a", "strength": 1}}
    record_imported(project=project, rows=[ImportedAnnotation(item.pk, person, [0, 1], answer) for item in items])
    assert "drawn by lot from 5" in page(as_user(manager), judge)
    as_user(manager).post(reverse("judge_audit", args=[project.slug, judge.pk]), {"count": 3})
    routes = Route.objects.filter(item__in=items)
    assert {(route.decision, route.policy, route.propensity) for route in routes} == {("both", "audit_draw", 0.6)}
    drawn = Item.objects.filter(route="both")
    assert {item.slots_open for item in drawn} == {0}
    assert [item.state for item in drawn] == ["labelled"] * 3
