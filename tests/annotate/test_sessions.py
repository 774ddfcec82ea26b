"""Who asks is read anew by each request: compiled statements remember nothing of whom they let in."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate.models import Assignment, Membership
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def opened(as_user, project, annotator):
    """Opens the workbench; it was open before."""
    factories.item(project)
    client = as_user(annotator)
    address = reverse("label", args=[project.slug])
    assert client.get(address).status_code == 200
    return lambda: client.get(address).status_code


@pytest.mark.parametrize("ends", ["deleted", "run out"])
def test_a_session_that_ended_lets_nobody_in(opened, ends):
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    if ends == "deleted":
        Session.objects.all().delete()
    assert opened() == 302


def test_an_account_that_was_closed_is_out_at_once(opened, annotator):
    annotator.is_active = False
    annotator.save()
    assert opened() == 302


def test_another_password_ends_the_other_sessions(opened, annotator):
    annotator.set_password("a wholly different one")
    annotator.save()
    assert opened() == 302


def test_somebody_who_is_removed_is_out_at_once(opened, annotator):
    Membership.objects.filter(user=annotator).delete()
    assert opened() == 404


def test_a_submit_with_the_next_item_takes_few_statements(as_user, project, annotator):
    for _ in range(3):
        factories.item(project)
    client = as_user(annotator)
    client.get(reverse("label", args=[project.slug]))
    held = Assignment.objects.get(state=Assignment.LEASED)
    ahead = client.get(reverse("label_ahead", args=[project.slug]), {"on": held.pk}, **HTMX)
    fields = {"answer-preference": "2", "key": "k" * 32, "ahead": ahead["X-Ahead"]}
    address = reverse("label_submit", args=[project.slug, held.pk])
    with CaptureQueriesContext(connection) as asked:
        assert client.post(address, fields, **HTMX).status_code == 200
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    assert len([query for query in asked if not query["sql"].startswith(control)]) <= 28
