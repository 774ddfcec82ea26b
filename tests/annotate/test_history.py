"""My last items with what I said of them, and the problems I reported with what was answered."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate import flags, history, queue
from annotate.models import Act, Annotation, Assignment, Flag, Question
from annotate.submitting import submit_annotation
from tests import factories

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def client(as_user, annotator):
    return as_user(annotator)


def lease(project, user) -> Assignment:
    factories.item(project)
    return queue.next_assignment(user=user, project=project)


def answered(project, user, **answers) -> Assignment:
    assignment = lease(project, user)
    submit_annotation(assignment=assignment, answers=answers or {"preference": {"choice": "a"}}, reason="so")
    return assignment


def test_the_last_comes_first_and_each_says_what_was_answered_as_it_was_presented(project, annotator):
    first = answered(project, annotator, preference={"choice": "b", "strength": 2}, helpful=[4, 2])
    second = lease(project, annotator)
    queue.skip(assignment=second, reason="not my field")
    lease(project, annotator)  # held now: not among what is done
    rows = history.finished(project, annotator.pk)
    assert [row.assignment.pk for row in rows] == [second.pk, first.pk]
    letter = "AB"[first.order.index(1)]
    ratings = "A 4 · B 2" if first.order == [0, 1] else "A 2 · B 4"
    assert rows[1].said == f"{letter} clearly · Helpful: {ratings}"
    assert rows[1].reason == "so"
    assert rows[0].said == ""


@pytest.mark.parametrize(
    ("kind", "config", "answer", "words"),
    [
        ("ranking", {}, [2, 1, 2], "B > A = C"),
        ("rating", {"min": 1, "max": 5}, [4, None, 2], "A 2 · B – · C 4"),
        ("step", {}, [["good", "bad"], None, ["bad"]], "A ✗ · B – · C ✓✗"),
        ("choice", {}, ["too_long", "rude"], "too long, rude"),
        ("critique", {}, {"text": "Terse.", "reasons": ["tone"]}, "tone: Terse."),
        ("span", {}, [{"response": 2, "start": 0, "end": 3, "text": "Yes", "tag": "wrong"}], "a wrong “Yes”"),
    ],
)
def test_every_kind_of_answer_has_words_in_presented_order(kind, config, answer, words):
    question = Question(name="q", kind=kind, title="Q", config=config)
    assert history.words(Annotation(answers={"q": answer}), [question], [2, 1, 0]) == f"Q: {words}"


def test_a_revision_shows_what_holds_now(project, annotator):
    assignment = answered(project, annotator, preference={"choice": "a"})
    submit_annotation(assignment=assignment, answers={"preference": {"choice": "both_bad"}})
    (row,) = history.finished(project, annotator.pk)
    assert row.said == "Both bad"


def test_only_one_s_own_and_only_so_many(project, annotator, second_annotator):
    for _ in range(3):
        answered(project, annotator)
    answered(project, second_annotator)
    assert len(history.finished(project, annotator.pk)) == 3
    assert len(history.finished(project, annotator.pk, most=2)) == 2


def test_the_list_takes_as_many_queries_whatever_is_in_it(client, project, annotator):
    counts = []
    for size in (2, 6):
        for _ in range(size):
            flags.raise_flag(assignment=answered(project, annotator), kind=Flag.BROKEN)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse("label_history", args=[project.slug]), **HTMX).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] <= 9


def test_a_flag_leaves_the_item_with_its_annotator(client, project, annotator):
    assignment = lease(project, annotator)
    address = reverse("label_flag", args=[project.slug, assignment.pk])
    assert client.post(address, {"kind": "harmful", "comment": "see turn 2"}, **HTMX).status_code == 200
    assignment.refresh_from_db()
    assert assignment.state == Assignment.LEASED
    flag = Flag.objects.get()
    assert (flag.kind, flag.comment, flag.item_id, flag.rater_id, flag.project_id) == (
        "harmful", "see turn 2", assignment.item_id, assignment.rater_id, project.pk,
    )  # fmt: skip


def test_a_flag_needs_a_kind(client, project, annotator):
    assignment = lease(project, annotator)
    response = client.post(reverse("label_flag", args=[project.slug, assignment.pk]), {"comment": "?"}, **HTMX)
    assert response.status_code == 422
    assert not Flag.objects.exists()


def test_flagging_again_changes_the_open_flag_and_opens_a_new_one_once_it_is_answered(project, annotator, manager):
    assignment = lease(project, annotator)
    first = flags.raise_flag(assignment=assignment, kind=Flag.UNCLEAR)
    again = flags.raise_flag(assignment=assignment, kind=Flag.BROKEN, comment="the end is missing")
    assert again.pk == first.pk
    assert Flag.objects.get().comment == "the end is missing"
    assert flags.resolve(flag=first, by=manager, resolution="Mended.")
    assert flags.raise_flag(assignment=assignment, kind=Flag.BROKEN).pk != first.pk


def test_a_flag_is_answered_once(project, annotator, manager, reviewer):
    flag = flags.raise_flag(assignment=lease(project, annotator), kind=Flag.UNCLEAR)
    assert flags.resolve(flag=flag, by=manager, resolution="first")
    assert not flags.resolve(flag=flag, by=reviewer, resolution="second")
    flag.refresh_from_db()
    assert (flag.resolution, flag.resolved_by) == ("first", manager)
    act = Act.objects.get(kind="flag")
    assert (act.by, act.after) == (manager, {"resolution": "first"})


def test_reviewers_see_open_flags_with_a_count_and_the_annotator_sees_the_answer(
    client, as_user, project, annotator, reviewer
):
    assignment = answered(project, annotator)
    flag = flags.raise_flag(assignment=assignment, kind=Flag.UNCLEAR, comment="which of the two?")
    looker = as_user(reviewer)
    page = looker.get(reverse("flags", args=[project.slug])).content.decode()
    assert "which of the two?" in page
    assert '<span class="badge warn num">1</span>' in page
    looker.post(reverse("flag_resolve", args=[project.slug, flag.pk]), {"resolution": "The second one."})
    assert "badge warn num" not in looker.get(reverse("flags", args=[project.slug])).content.decode()
    mine = client.get(reverse("label_history", args=[project.slug]), **HTMX).content.decode()
    assert "The second one." in mine
    assert reverse("label_again", args=[project.slug, assignment.pk]) in mine


def test_the_page_of_the_item_shows_its_flags_with_their_answers(as_user, project, annotator, reviewer):
    assignment = lease(project, annotator)
    flag = flags.raise_flag(assignment=assignment, kind=Flag.PERSONAL, comment="a telephone number")
    flags.resolve(flag=flag, by=reviewer, resolution="Taken out.")
    page = as_user(reviewer).get(reverse("item", args=[project.slug, assignment.item_id])).content.decode()
    for words in ("personal data", "a telephone number", "Taken out."):
        assert words in page


def test_an_answer_to_a_flag_is_not_empty(as_user, project, annotator, reviewer):
    flag = flags.raise_flag(assignment=lease(project, annotator), kind=Flag.UNCLEAR)
    as_user(reviewer).post(reverse("flag_resolve", args=[project.slug, flag.pk]), {"resolution": "  "})
    assert Flag.objects.get().resolved_at is None


def test_a_chip_skips_with_its_reason(client, project, annotator):
    assignment = lease(project, annotator)
    body = "skip_reason=&skip_reason=not+my+field"  # as the browser sends the empty text and the pressed chip
    client.post(
        reverse("label_skip", args=[project.slug, assignment.pk]),
        body,
        content_type="application/x-www-form-urlencoded",
    )
    assignment.refresh_from_db()
    assert assignment.skip_reason == "not my field"
