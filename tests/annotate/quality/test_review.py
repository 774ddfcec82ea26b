"""Disagreements in order of worth, the verdict that wins, what it teaches, and the discussion."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate import aggregation, exporting, queue, tallies
from annotate.deciding import Opinion, aggregate_question
from annotate.importing import take_in
from annotate.models import Annotation, Comment, Item, Label, Membership, Question, Return
from annotate.quality import doubt, review
from annotate.submitting import submit_annotation
from tests import factories
from tests.annotate.quality.conftest import A, B

pytestmark = pytest.mark.django_db


@pytest.fixture
def disputed(project, annotator, second_annotator, reviewer):
    """Makes an item that people answered as given, one answer each."""

    def make(*answers, **fields) -> Item:
        item = factories.item(project, overlap=len(answers), slots_open=len(answers), **fields)
        for user, answer in zip((annotator, second_annotator, reviewer), answers, strict=False):
            held = queue.next_assignment(user=user, project=project)
            assert held.item == item
            submit_annotation(assignment=held, answers=answer)
        item.refresh_from_db()
        return item

    return make


def preference() -> Question:
    return Question(pk=1, name="preference", kind="preference", config={"points": 7, "both_bad": True})


@pytest.mark.parametrize(
    ("answers", "priority", "worth"),
    [
        ("a", 0, 0),  # one voice contradicts nobody
        ("aa", 0, 0),
        ("ab", 0, 0.833),  # a tie at 1/6
        ("aab", 0, 0.571),  # a at 3/7
        ("aab", 1, 0.968),  # times 1 + ln 2
        ("aab", -3, 0.571),
    ],
)
def test_what_a_look_is_worth(answers, priority, worth):
    question = preference()
    said = [Opinion(n, "human", {"preference": {"choice": choice}}) for n, choice in enumerate(answers)]
    label = {1: aggregate_question(question, said)}
    assert doubt.worth([question], said, label, priority) == worth


def test_ratings_far_apart_are_a_doubt_and_silence_is_none():
    rating = Question(pk=2, name="helpful", kind="rating", config={"min": 1, "max": 5})
    said = [Opinion(n, "human", {"helpful": given}) for n, given in enumerate([[5, 2], [1, 2]])]
    assert doubt.worth([rating], said, {2: aggregate_question(rating, said)}, 0) == 0.5
    silent = [Opinion(n, "human", {"preference": {"choice": c}}) for n, c in enumerate(["a", "unsure"])]
    assert doubt.worth([preference()], silent, {1: aggregate_question(preference(), silent)}, 0) == 0


def test_the_queue_is_in_order_of_worth_and_waits_for_everybody(project, disputed, annotator):
    close, split = disputed(A, A, B), disputed(A, B)
    urgent = disputed(A, A, B, priority=5.0)
    disputed(A, A)
    half = factories.item(project, overlap=2, slots_open=2)
    submit_annotation(assignment=queue.next_assignment(user=annotator, project=project), answers=A)
    order, after = [], None
    while (item := review.next_item(project, after)) is not None:
        order.append(item)
        after = (item.review_value, item.pk)
    assert order == [urgent, split, close]
    assert half not in order


def test_the_next_disagreement_is_one_indexed_query(project, disputed, django_assert_num_queries):
    disputed(A, B), disputed(A, B)
    with django_assert_num_queries(1):
        assert review.next_item(project) is not None


@pytest.mark.parametrize("answer", [A, B])
def test_what_a_review_is_worth_is_written_with_the_items_state(project, annotator, second_annotator, answer):
    """A submit that ends a disagreement costs no statement more than one that ends in agreement."""
    factories.item(project, overlap=2, slots_open=2)
    submit_annotation(assignment=queue.next_assignment(user=annotator, project=project), answers=A)
    held = queue.next_assignment(user=second_annotator, project=project)
    with CaptureQueriesContext(connection) as seen:
        submit_annotation(assignment=held, answers=answer)
    writes = [query["sql"] for query in seen if query["sql"].startswith('UPDATE "annotate_item"')]
    assert len(writes) == 1
    assert (Item.objects.get().review_value > 0) == (answer == B)


def test_the_verdict_wins_and_can_be_taken_back(project, disputed, reviewer):
    item = disputed(A, A, B)
    before = Label.objects.values("value", "probability", "distribution", "method").get(item=item)
    verdict = review.decide(item=item, by=reviewer, answers={"preference": {"choice": "b", "strength": 2}})
    label = Label.objects.get(item=item)
    assert (label.value, label.probability, label.method, label.decided_by) == ("b", 1.0, "reviewer", "human")
    assert label.distribution["b"] == 1.0
    item.refresh_from_db()
    assert (item.review_value, item.verdict, verdict.counted) == (0, verdict, False)
    aggregation.label_items([item.pk])
    assert Label.objects.get(item=item).value == "b"
    review.withdraw(item=item, by=reviewer)
    assert Label.objects.values("value", "probability", "distribution", "method").get(item=item) == before
    item.refresh_from_db()
    assert item.review_value > 0
    assert not Return.objects.exists()


def test_a_verdict_on_an_open_item_closes_it_for_the_queue(project, annotator, reviewer):
    item = factories.item(project, overlap=3, slots_open=3)
    tallies.add(project_id=project.pk, counts={"items": 1})
    review.decide(item=item, by=reviewer, answers=A)
    item.refresh_from_db()
    assert (item.state, item.slots_open) == (Item.LABELLED, 0)
    assert queue.next_assignment(user=annotator, project=project) is None
    assert queue.recount(project=project) == 0
    assert tallies.read(project.pk)["labels_human"] == 1
    review.withdraw(item=item, by=reviewer)
    item.refresh_from_db()
    assert (item.state, item.slots_open) == (Item.OPEN, 3)
    assert tallies.read(project.pk)["labels_human"] == 0


def test_a_question_that_the_reviewer_leaves_out_stays_as_people_decided_it(project, disputed, reviewer):
    item = disputed({**A, "helpful": [4, 2]}, {**B, "helpful": [2, 2]})
    review.decide(item=item, by=reviewer, answers=A)
    assert dict(Label.objects.values_list("question__name", "value")) == {"preference": "a", "helpful": [3, 2]}
    assert dict(Label.objects.values_list("question__name", "method"))["helpful"] == "mean"


def test_the_reviewers_own_vote_stays_a_vote(project, disputed, reviewer):
    item = disputed(A, A, B)  # the third is the reviewer's
    review.decide(item=item, by=reviewer, answers=A)
    assert Annotation.objects.filter(item=item, counted=True).count() == 3


def test_it_comes_back_to_those_who_answered_otherwise_and_to_nobody_else(
    project, disputed, annotator, second_annotator, reviewer, as_user
):
    item = disputed(A, B)
    client = as_user(reviewer)
    page = client.get(reverse("review", args=[project.slug])).content.decode()
    assert "mira" in page
    assert "model-0" not in page
    sent = client.post(
        reverse("review_item", args=[project.slug, item.pk]),
        {"answer-preference": "2", "comment": "Look at the date.", "asks_again": "on"},
    )
    assert sent.status_code == 302
    assert list(Return.objects.values_list("rater__user", flat=True)) == [second_annotator.pk]
    theirs = as_user(second_annotator).get(reverse("mine", args=[project.slug])).content.decode()
    assert "Look at the date." in theirs
    assert "Look at it again" in theirs
    assert "rita" not in theirs
    assert "Look at the date." not in as_user(annotator).get(reverse("mine", args=[project.slug])).content.decode()
    held = item.assignments.get(rater__user=second_annotator)
    submit_annotation(assignment=held, answers=A)
    page = as_user(second_annotator).get(reverse("mine", args=[project.slug])).content.decode()
    assert "You have changed it" in page
    assert Label.objects.get(item=item).method == "reviewer"


def test_the_label_can_stand_as_it_is(project, disputed, reviewer, as_user):
    item = disputed({**A, "helpful": [4, 2]}, {**B, "helpful": [1, 2]})
    as_user(reviewer).post(reverse("review_item", args=[project.slug, item.pk]), {"stands": "1"})
    assert dict(Label.objects.values_list("question__name", "value")) == {"preference": "tie", "helpful": [2.5, 2]}
    assert set(Label.objects.values_list("method", flat=True)) == {"reviewer"}


def test_nothing_decided_is_no_verdict(project, disputed, reviewer, as_user):
    item = disputed(A, B)
    response = as_user(reviewer).post(reverse("review_item", args=[project.slug, item.pk]), {"comment": "Hm."})
    assert response.status_code == 422
    assert "Answer at least one question." in response.content.decode()
    assert "Hm." in response.content.decode()


def test_those_who_labelled_it_discuss_it_without_names(
    project, disputed, annotator, second_annotator, reviewer, as_user
):
    item = disputed(A, B)
    outside = factories.member(project, "nora", Membership.ANNOTATOR)
    address = reverse("discussion", args=[project.slug, item.pk])
    assert as_user(outside).get(address).status_code == 404
    as_user(annotator).post(address, {"body": "Is the date wrong?"})
    first = Comment.objects.get()
    as_user(reviewer).post(address, {"body": "It is.", "parent": first.pk})
    as_user(second_annotator).post(address, {"body": "  "})
    theirs = as_user(second_annotator).get(address).content.decode()
    assert "Annotator 1" in theirs
    assert "Reviewer" in theirs
    assert not [name for name in ("mira", "rita", "model-0", "model-1") if name in theirs]
    assert "mira (annotator)" in as_user(reviewer).get(address).content.decode()
    assert Comment.objects.count() == 2
    assert Comment.objects.get(body="It is.").parent == first
    assert "Is the date wrong?" in as_user(second_annotator).get(reverse("mine", args=[project.slug])).content.decode()


def test_a_snapshot_traces_a_verdict_to_the_reviewer(project, disputed, reviewer):
    from pipeline.datasets.settled import settled_pages

    item = disputed(A, A, B)
    verdict = review.decide(item=item, by=reviewer, answers=B)
    (settled,) = next(settled_pages(project.questions.get(name="preference")))
    assert (settled.value, settled.votes) == ("b", [(verdict.pk, verdict.rater_id)])


def test_an_export_taken_in_elsewhere_has_the_same_verdicts(project, disputed, reviewer, admin):
    decided, undone = disputed(A, A, B), disputed(A, B, A)
    review.decide(item=decided, by=reviewer, answers=B, comment="See the date.")
    review.decide(item=undone, by=reviewer, answers=B)
    review.withdraw(item=undone, by=reviewer)
    other = factories.project(by=admin, name="Elsewhere")
    take_in(project=other, items=list(exporting.item_rows(project, {})))
    copies = {item.title: item for item in Item.objects.filter(project=other)}
    first, second = copies[decided.title], copies[undone.title]
    assert (first.verdict.answers, first.verdict.reason) == (B, "See the date.")
    assert second.verdict is None
    fields = ("question__name", "value", "probability", "method")
    for item, copy in ((decided, first), (undone, second)):
        assert list(copy.labels.values_list(*fields)) == list(item.labels.values_list(*fields))
    assert Annotation.objects.filter(item__project=other).count() == 8
