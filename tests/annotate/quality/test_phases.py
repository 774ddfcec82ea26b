"""Training with feedback, then the quiz, then the queue."""

import re

import pytest
from django.urls import reverse

from annotate import queue
from annotate.models import Assignment, Gold, GoldAnswer, Item, Membership, Project
from annotate.quality import phases
from annotate.submitting import submit_annotation
from tests import factories
from tests.annotate.quality.conftest import A, B

pytestmark = pytest.mark.django_db


@pytest.fixture
def school(project, golden):
    """Two training items, three of the quiz, one real one; 80% of three is all three."""
    Project.objects.filter(pk=project.pk).update(has_training=True, has_quiz=True, quiz_attempts=2)
    project.refresh_from_db()
    golden(2, Gold.TRAINING), golden(3, Gold.QUIZ)
    return factories.item(project)


def member(user) -> Membership:
    return Membership.objects.get(user=user)


def test_training_comes_first_then_the_quiz_then_the_queue(project, annotator, school, work):
    done = work(annotator, 5)
    uses = [Gold.objects.get(item=held.item).use for held in done]
    assert uses == ["training"] * 2 + ["quiz"] * 3
    assert queue.next_assignment(user=annotator, project=project) is None  # the result is shown first
    assert (member(annotator).quiz_state, member(annotator).quiz_version) == ("passed", 1)
    assert queue.next_assignment(user=annotator, project=project).item == school


def test_managers_and_reviewers_go_straight_to_the_queue(project, manager, school):
    assert queue.next_assignment(user=manager, project=project).item == school


def test_training_shows_right_after_the_answer_what_was_expected_and_why(project, annotator, school, as_user):
    client = as_user(annotator)
    page = client.get(reverse("label", args=[project.slug])).content.decode()
    assert "Training 1 / 2" in page
    held = Assignment.objects.get()
    wrong = str(2 if held.order == [1, 0] else 6)  # b
    sent = client.post(
        reverse("label_submit", args=[project.slug, held.pk]), {"answer-preference": wrong}, HTTP_HX_REQUEST="true"
    )
    text = sent.content.decode()
    assert "Here we see it differently" in text
    assert "Because <em>a</em> answers the question." in text
    expected, said = ("B", "A") if held.order == [1, 0] else ("A", "B")
    shown = re.sub(r"</?bdi>", "", text)
    assert f"<dt>You said</dt><dd>{said} clearly</dd><dt>Expected</dt><dd>{expected} is better</dd>" in shown
    assert client.get(reverse("label_lesson", args=[project.slug, held.pk])).status_code == 200


def test_a_failed_quiz_is_explained_and_can_be_tried_again_until_the_attempts_are_used_up(
    project, annotator, school, as_user, work
):
    client = as_user(annotator)
    work(annotator, 2)
    for attempt in (1, 2):
        work(annotator, 3, lambda _: B)
        page = client.get(reverse("label", args=[project.slug])).content.decode()
        assert "You answered 0 of 3 as expected; 3 are needed to pass." in page
        assert page.count("Because <em>a</em> answers") == 3
        assert ("Try again" in page) == (attempt == 1)
        client.post(reverse("label_quiz", args=[project.slug]))
    assert (member(annotator).quiz_state, member(annotator).quiz_attempt) == ("failed", 2)
    assert queue.next_assignment(user=annotator, project=project) is None
    assert GoldAnswer.objects.filter(gold__use="quiz").count() == 6


def test_the_second_attempt_can_pass(project, annotator, school, work):
    work(annotator, 2), work(annotator, 3, lambda _: B)
    queue.next_assignment(user=annotator, project=project)
    assert phases.try_again(member=member(annotator), project=project)
    work(annotator, 3)
    queue.next_assignment(user=annotator, project=project)
    assert member(annotator).quiz_state == "passed"
    assert queue.next_assignment(user=annotator, project=project).item == school


def test_an_answer_changed_after_the_result_changes_nothing(project, annotator, school, work):
    work(annotator, 2)
    held = work(annotator, 3, lambda _: B)[0]
    queue.next_assignment(user=annotator, project=project)
    held.refresh_from_db()
    submit_annotation(assignment=held, answers=A)
    assert not GoldAnswer.objects.filter(gold__use="quiz", is_right=True).exists()


def test_a_skipped_quiz_item_is_a_miss(project, annotator, school, work):
    work(annotator, 4)
    queue.skip(assignment=queue.next_assignment(user=annotator, project=project))
    assert queue.next_assignment(user=annotator, project=project) is None
    assert (member(annotator).quiz_state, member(annotator).quiz_right) == ("failed", 2)


def test_a_manager_lets_somebody_start_again_and_keeps_what_was(project, manager, annotator, school, as_user, work):
    work(annotator, 2), work(annotator, 3, lambda _: B)
    queue.next_assignment(user=annotator, project=project)
    as_user(manager).post(reverse("quality_reset", args=[project.slug, member(annotator).pk]))
    assert (member(annotator).quiz_state, phases.attempts_left(member(annotator), project)) == ("", 1)
    assert len(work(annotator, 5)) == 5
    queue.next_assignment(user=annotator, project=project)
    assert member(annotator).quiz_state == "passed"
    assert GoldAnswer.objects.filter(is_right=False).count() == 3


def test_an_empty_quiz_lets_everybody_through(project, annotator):
    Project.objects.filter(pk=project.pk).update(has_training=True, has_quiz=True)
    project.refresh_from_db()
    item = factories.item(project)
    assert queue.next_assignment(user=annotator, project=project).item == item


def test_quiz_items_are_in_no_label_and_not_in_the_queue_of_others(project, reviewer, school):
    assert queue.next_assignment(user=reviewer, project=project).item == school
    assert Item.objects.filter(state=Item.GOLD, slots_open__gt=0).count() == 0


def test_training_and_quiz_do_not_use_up_a_quota(project, annotator, school, work):
    Project.objects.filter(pk=project.pk).update(daily_quota=1)
    project.refresh_from_db()
    assert len(work(annotator, 5)) == 5
    queue.next_assignment(user=annotator, project=project)
    factories.item(project)
    assert [held.item for held in work(annotator, 5)] == [school]


def test_a_page_that_waits_is_told_of_a_quiz_that_was_failed(project, annotator, school, work, as_user):
    work(annotator, 2), work(annotator, 3, lambda _: B)
    queue.next_assignment(user=annotator, project=project)
    page = as_user(annotator).get(reverse("label_waiting", args=[project.slug]), {"standing": "yours_done"})
    assert "The quiz comes first" in page.content.decode()
