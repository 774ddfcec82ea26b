"""The judge's Quality page, from nothing measured to a calibrated judge."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.models import Annotation, Item, Question
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline import tasks
from pipeline.models import Judge, JudgeReport, Route
from pipeline.quality import measuring
from pipeline.routing import audit_draw
from tests import factories

pytestmark = pytest.mark.django_db


def page(client, judge):
    return client.get(reverse("judge_quality", args=[judge.project.slug, judge.pk])).content.decode()


def live(client, judge, question=""):
    address = reverse("judge_measured", args=[judge.project.slug, judge.pk])
    return client.get(address, {"question": question} if question else {})


def test_from_nothing_to_a_calibrated_judge(as_user, manager, judge, audited):
    client = as_user(manager)
    assert "Not measured yet" in page(client, judge)
    audited(12, confidence=0.9)
    measuring.measure(judge.rater)
    assert "Too few to calibrate: 8 more audits are needed" in page(client, judge)
    audited(14, people="b", confidence=0.9)
    audited(6, confidence=0.9)
    measuring.measure(judge.rater)
    text = page(client, judge)
    assert "Temperature: P = σ(margin /" in text
    assert "32 drawn by lot" in text
    assert "a 95% bootstrap over prompts" in text
    own = client.get(reverse("judge", args=[judge.project.slug, judge.pk])).content.decode()
    assert "calibrated on 32 audits (calibration 1) · not yet attacked" in own


def test_a_judge_whose_own_numbers_do_best_is_used_as_it_says_and_the_page_says_so(as_user, manager, judge, audited):
    audited(19, confidence=0.9)
    audited(1, people="b", confidence=0.9)
    measuring.measure(judge.rater)
    text = page(as_user(manager), judge)
    assert "Used as it says:" in text
    assert "No fit did better on prompts that it had not seen." in text


def test_measuring_is_asked_for_and_a_worker_does_it_once(as_user, manager, judge, audited):
    client = as_user(manager)
    audited(22, confidence=0.9)
    client.post(reverse("judge_measure", args=[judge.project.slug, judge.pk]))
    assert measuring.wanted() == [judge.rater_id]
    waiting = live(client, judge)
    assert (waiting.status_code, "A worker measures it" in waiting.content.decode()) == (200, True)
    assert not JudgeReport.objects.get().report  # nothing was measured inside the request
    tasks.measure_judge(judge.rater_id)
    assert measuring.wanted() == []
    done = live(client, judge)
    assert (done.status_code, "Calibration 1" in done.content.decode()) == (286, True)
    assert not measuring.measure_wanted(judge.rater_id)


def test_another_worker_takes_over_only_when_the_first_is_gone_and_a_crash_is_told(judge, audited, monkeypatch):
    measuring.ask(judge.rater)
    JudgeReport.objects.update(began_at=timezone.now())
    assert not measuring.measure_wanted(judge.rater_id)
    JudgeReport.objects.update(began_at=timezone.now() - measuring.PATIENCE - timedelta(seconds=1))
    assert measuring.wanted() == [judge.rater_id]
    monkeypatch.setattr(measuring.audits, "material_of", lambda rater: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measuring.measure_wanted(judge.rater_id)
    kept = JudgeReport.objects.get()
    assert (kept.wanted_at, kept.error) == (None, "It could not be measured: the worker's log says why.")


def test_every_question_has_its_row_and_its_page(as_user, manager, judge, audited, project):
    options = [{"value": value, "label": value} for value in ("yes", "no")]
    safe = {"project": project, "name": "safe", "kind": "choice", "title": "Is it safe?", "position": 9}
    Question.objects.create(**safe, config={"options": options})
    why = {"project": project, "name": "why", "kind": "critique", "title": "Tell why", "position": 10}
    Question.objects.create(**why)
    for item in audited(25):
        for annotation in item.annotations.all():
            annotation.answers["safe"] = ["yes"]
            Annotation.objects.filter(pk=annotation.pk).update(answers=annotation.answers)
    measuring.measure(judge.rater)
    client = as_user(manager)
    text = page(client, judge)
    assert "Is it safe?" in text
    assert "not calibrated: words are neither right nor wrong" in text
    own = live(client, judge, "safe").content.decode()
    assert "Only what concerns “Is it safe?”" in own
    assert "the log-probabilities of a plain vote" in own
    assert "Leanings" not in own


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


def test_with_another_prompt_what_it_answered_before_can_be_drawn_again(judge, audited, project):
    audited(5)
    assert audit_draw.candidates(project, judge.rater).count() == 0
    Judge.objects.filter(pk=judge.pk).update(prompt_version="prompt-2")
    assert audit_draw.candidates(project, judge.rater).count() == 5
