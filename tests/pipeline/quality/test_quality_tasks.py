"""What the worker does by itself: studies that are due, and judges that have something new."""

import pytest
from django.utils import timezone

from annotate.models import Label, Project
from pipeline import tasks
from pipeline.models import Calibration, JudgeReport, Study
from pipeline.quality import studies
from tests import factories
from tests.pipeline import stand_ins
from tests.pipeline.quality.conftest import NOW

pytestmark = pytest.mark.django_db


def test_a_study_is_due_until_a_worker_has_it_and_again_when_that_is_gone(project):
    study = stand_ins.study(project)
    assert studies.due() == [study.pk]
    token = studies.take_lease(study.pk)
    assert studies.due() == []
    Study.objects.filter(pk=study.pk).update(lease_until=timezone.now())
    assert studies.due() == [study.pk]
    studies.give_back(study.pk, token)
    Study.objects.filter(pk=study.pk).update(due_at=factories.later())
    assert studies.due() == []  # the endpoint asked for a rest
    Study.objects.filter(pk=study.pk).update(due_at=None)
    Project.objects.update(state=Project.PAUSED)
    assert studies.due() == []


def test_the_worker_measures_calibrates_and_labels_where_something_is_new(project, judge, audited, said):
    audited(22, confidence=0.9)
    item = factories.item(project, route="judge", overlap=0, slots_open=0)
    said(judge.rater, item, "b", confidence=0.9, at=NOW)
    tasks.measure_judges()
    assert Calibration.objects.get().fitted_on["sided"] == 22
    assert Label.objects.get(item=item).method == "calibrated judges"
    first = JudgeReport.objects.get().measured_at
    tasks.measure_judges()
    assert JudgeReport.objects.get().measured_at == first  # nothing new, and it rests
