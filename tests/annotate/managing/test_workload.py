"""Work rolled up by the hour: each answer once, whatever the order in which workers and imports come."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import queue
from annotate.importing import take_in
from annotate.managing import workload
from annotate.models import Change, Import, RaterPace, Rollup, WorkHour
from annotate.submitting import submit_annotation
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def answer(project):
    """Let somebody answer a new item; the side is the one that was shown first, or second."""

    def answering(user, side="first", seconds=10.0, settled=True):
        factories.item(project)
        held = queue.next_assignment(user=user, project=project)
        place = held.order[0 if side == "first" else 1]
        choice = side if side == "tie" else "ab"[place]
        made = submit_annotation(assignment=held, answers={"preference": {"choice": choice}}, seconds=seconds)
        if settled:
            Change.objects.update(created_at=timezone.now() - 2 * workload.SETTLED)
        return held, made

    return answering


def kept(**of) -> dict:
    rows = WorkHour.objects.filter(**of).values("answers", "seconds", "sided", "left")
    return {name: sum(row[name] for row in rows) for name in ("answers", "seconds", "sided", "left")}


def test_answers_are_counted_with_their_time_and_side(project, annotator, answer):
    answer(annotator, "first", 10)
    answer(annotator, "second", 20)
    answer(annotator, "tie", 30)
    assert workload.refresh(project) is True
    assert kept() == {"answers": 3, "seconds": 60.0, "sided": 2, "left": 1}
    pace = RaterPace.objects.get()
    assert (pace.median_seconds, pace.last_at.date()) == (20.0, timezone.now().date())


def test_each_answer_counts_once_however_often_the_worker_looks(project, annotator, answer):
    answer(annotator)
    workload.refresh(project)
    answer(annotator)
    for _ in range(3):
        workload.refresh(project)
    assert kept()["answers"] == 2
    assert workload.refresh(project) is False


def test_a_revision_is_no_further_answer(project, annotator, answer):
    held, _ = answer(annotator)
    workload.refresh(project)
    held.refresh_from_db()
    submit_annotation(assignment=held, answers={"preference": {"choice": "tie"}}, seconds=99)
    Change.objects.update(created_at=timezone.now() - 2 * workload.SETTLED)
    workload.refresh(project)
    assert kept()["answers"] == 1


def test_an_answer_waits_until_no_earlier_one_can_be_on_its_way(project, annotator, answer):
    answer(annotator)
    workload.refresh(project)
    answer(annotator, settled=False)
    workload.refresh(project)
    assert kept()["answers"] == 1
    Change.objects.update(created_at=timezone.now() - 2 * workload.SETTLED)
    workload.refresh(project)
    assert kept()["answers"] == 2


def test_the_first_look_leaves_what_is_not_settled_to_the_next(project, annotator, answer):
    answer(annotator)
    answer(annotator, settled=False)
    workload.refresh(project)
    assert kept()["answers"] == 1
    Change.objects.update(created_at=timezone.now() - 2 * workload.SETTLED)
    workload.refresh(project)
    assert kept()["answers"] == 2


def test_an_import_is_taken_in_when_it_has_ended_at_the_time_of_its_answers(project, annotator, answer):
    answer(annotator)
    workload.refresh(project)
    said = [{"rater": "gpt", "kind": "judge", "answers": {"preference": {"choice": "a"}}, "seconds": 2,
             "submitted_at": "2026-01-05T10:20:00+00:00"}]  # fmt: skip
    take_in(project=project, items=[{"prompt": "x", "responses": ["a", "b"], "annotations": said}])
    workload.refresh(project)
    assert kept(rater__kind="judge")["answers"] == 0
    Import.objects.create(project=project, file_name="x", path="", state=Import.DONE, annotations_created=1)
    workload.refresh(project)
    assert kept(rater__kind="judge")["answers"] == 1
    assert kept(rater__kind="human")["answers"] == 1


def test_what_is_still_wanted_of_people_is_kept(project, annotator):
    factories.item(project, overlap=3, slots_open=3)
    queue.next_assignment(user=annotator, project=project)
    workload.refresh(project)
    assert Rollup.objects.get().open_places == 3  # two places and a lease


def test_hours_are_read_by_kind_of_rater(project, annotator, answer):
    answer(annotator, seconds=7)
    workload.refresh(project)
    (row,) = workload.of_days(project, timezone.now() - timedelta(days=1))
    assert (row["people"], row["judges"], row["time"]) == (1, 0, 7.0)
    assert workload.of_days(project, timezone.now() + timedelta(hours=1)) == []
