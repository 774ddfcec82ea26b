"""Somebody's own page: true numbers, gold that stays untold, and a leaderboard for those who choose it."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate import queue
from annotate.models import Gold, GoldAnswer, Membership, Project, Rater, Trust, WorkHour
from annotate.quality import own, watching
from annotate.submitting import submit_annotation
from tests import factories
from tests.annotate.quality.conftest import A, B

pytestmark = pytest.mark.django_db


def answered_gold(rater, annotation, project, right: list[bool]) -> None:
    for is_right in right:
        item = factories.item(project, state="gold", slots_open=0)
        known = Gold.objects.create(item=item, answers=A)
        GoldAnswer.objects.create(gold=known, rater=rater, annotation=annotation, is_right=is_right)


@pytest.fixture
def shared(project, annotator, second_annotator):
    """Three items that both labelled; on the last they differ, so that its label is a tie."""
    for answers in ((A, A), (B, B), (A, B)):
        factories.item(project, overlap=2, slots_open=2)
        for user, answer in zip((annotator, second_annotator), answers, strict=True):
            submit_annotation(assignment=queue.next_assignment(user=user, project=project), answers=answer, seconds=30)
    return Rater.objects.get(user=annotator)


def test_agreement_by_week_counts_items_that_others_labelled_too(project, shared, annotator):
    factories.item(project)
    submit_annotation(assignment=queue.next_assignment(user=annotator, project=project), answers=A)
    (week,) = own.figures(shared, project)["weeks"]
    assert (week["n"], week["share"]) == (3, pytest.approx(2 / 3))
    assert week["low"] < week["share"] < week["high"]


def test_gold_is_told_in_whole_tens_only(project, shared):
    annotation = shared.annotations.first()
    answered_gold(shared, annotation, project, [True] * 9)
    assert own.figures(shared, project)["gold"] is None
    answered_gold(shared, annotation, project, [False] * 6)
    told = own.figures(shared, project)["gold"]
    assert (told["n"], told["right"]) == (10, 9)


def test_amounts_are_those_that_the_worker_keeps(project, shared):
    now = timezone.now()
    WorkHour.objects.create(rater=shared, hour=now, answers=4, seconds=120)
    WorkHour.objects.create(rater=shared, hour=now - timedelta(days=40), answers=6, seconds=60)
    found = own.amount(shared)
    assert found["today"] == {"answers": 4, "seconds": 120}
    assert found["ever"] == {"answers": 10, "seconds": 180}


def test_the_page_shows_it_and_an_empty_one_says_so(project, shared, annotator, reviewer, as_user):
    WorkHour.objects.create(rater=shared, hour=timezone.now(), answers=3, seconds=90)
    page = as_user(annotator).get(reverse("mine", args=[project.slug])).content.decode()
    assert "1 min 30 s" in page
    assert "67%" in page
    assert "You have not begun yet" in as_user(reviewer).get(reverse("mine", args=[project.slug])).content.decode()


def test_the_leaderboard_is_off_by_default_and_shows_those_only_who_joined(
    project, shared, annotator, second_annotator, as_user
):
    client, address = as_user(annotator), reverse("mine", args=[project.slug])
    join = reverse("mine_leaderboard", args=[project.slug])
    client.post(join, {"joins": "1"})
    assert not Membership.objects.get(user=annotator).on_leaderboard
    assert "Leaderboard" not in client.get(address).content.decode()
    Project.objects.filter(pk=project.pk).update(has_leaderboard=True)
    assert "Nobody is on it yet." in client.get(address).content.decode()
    client.post(join, {"joins": "1"})
    assert [row["name"] for row in own.leaderboard(project)] == ["mira"]
    client.post(join, {"joins": ""})
    assert own.leaderboard(project) == []


def test_points_are_answers_times_the_lower_bound(project, shared, annotator):
    Membership.objects.filter(user=annotator).update(on_leaderboard=True)
    WorkHour.objects.create(rater=shared, hour=timezone.now(), answers=100, seconds=90)
    assert own.leaderboard(project)[0]["points"] == 0
    Trust.objects.create(rater=shared, agreed=70, shared=80)
    Rater.objects.filter(pk=shared.pk).update(gold_right=20, gold_seen=20)
    assert own.leaderboard(project)[0]["points"] == 83  # Wilson's lower bound of 90 of 100 is 0.826


def test_the_worker_keeps_how_often_they_agree(project, shared):
    watching.look(project)
    kept = Trust.objects.get(rater=shared)
    assert (kept.agreed, kept.shared) == (2, 3)
