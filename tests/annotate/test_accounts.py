"""The ways in: sign-in, invitations, password reset; and that there is no other."""

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from annotate import accounts
from annotate.models import Invitation, Membership, User
from tests import factories


@pytest.fixture
def invitation(project, manager, django_capture_on_commit_callbacks) -> Invitation:
    with django_capture_on_commit_callbacks(execute=True):
        return accounts.invite(email="New@Example.org", role="annotator", project=project, by=manager)


def accept(client, invitation, username="nora", password="correct horse battery"):
    return client.post(accounts.link(invitation), {"username": username, "password": password})


def test_an_invited_person_makes_an_account_and_is_a_member(client, invitation, project):
    assert accept(client, invitation).status_code == 302
    user = User.objects.get(username="nora")
    assert (user.email, user.is_admin) == ("new@example.org", False)
    assert Membership.objects.get(project=project, user=user).role == "annotator"
    assert client.get(reverse("label", args=[project.slug])).status_code == 200


def test_an_invitation_is_sent_and_its_link_works(client, invitation):
    assert mail.outbox[0].to == ["new@example.org"]
    path = accounts.link(invitation).rsplit(":", 2)[0]
    assert path in mail.outbox[0].body
    assert client.get(accounts.link(invitation)).status_code == 200


def test_an_invitation_works_once(client, invitation):
    accept(client, invitation)
    client.logout()
    shown = accept(client, invitation, username="second")
    assert shown.status_code == 410
    assert "has been used" in shown.content.decode()
    assert not User.objects.filter(username="second").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "has run out"),
        ({"revoked_at": timezone.now()}, "was withdrawn"),
    ],
)
def test_an_invitation_that_is_over_says_why(client, invitation, change, message):
    Invitation.objects.filter(pk=invitation.pk).update(**change)
    shown = client.get(accounts.link(invitation))
    assert shown.status_code == 410
    assert message in shown.content.decode()


def test_a_forged_token_is_refused(client, invitation):
    shown = client.get(reverse("invitation", args=[f"{invitation.pk}:forged"]))
    assert shown.status_code == 410
    assert "not valid" in shown.content.decode()


def test_a_signed_in_user_accepts_with_one_press(as_user, outsider, invitation, project):
    as_user(outsider).post(accounts.link(invitation))
    assert Membership.objects.get(project=project, user=outsider).role == "annotator"


def test_a_weak_password_is_refused_and_nothing_is_made(client, invitation):
    shown = accept(client, invitation, password="password")
    assert shown.status_code == 422
    assert not User.objects.filter(username="nora").exists()


def test_there_is_no_sign_up():
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")
    assert accounts.ClosedSignUp().is_open_for_signup(None) is False


def test_sign_in_works_by_name_and_by_address(client, project):
    user = User.objects.create_user("nora", "nora@example.org", "correct horse battery")
    for login in ("nora", "nora@example.org"):
        shown = client.post(reverse("account_login"), {"login": login, "password": "correct horse battery"})
        assert shown.status_code == 302
        assert client.session["_auth_user_id"] == str(user.pk)
        client.logout()


def test_password_reset_sends_a_link(client, db):
    User.objects.create_user("nora", "nora@example.org", "correct horse battery")
    client.post(reverse("account_reset_password"), {"email": "nora@example.org"})
    assert "/accounts/password/reset/key/" in mail.outbox[0].body


def test_the_only_manager_cannot_leave_the_project_without_one(as_user, admin, project):
    only = Membership.objects.get(project=project, user=admin)
    as_user(admin).post(reverse("people_role", args=[project.slug, only.pk]), {"role": "annotator"})
    only.refresh_from_db()
    assert only.role == "manager"


@pytest.mark.parametrize(
    ("code", "words"), [("en", "Open this page to set one"), ("de", "Öffne diese Seite"), ("ar", "افتح هذه الصفحة")]
)
def test_the_letter_with_a_new_password_speaks_the_reader_s_language(code, words, annotator, client, mailoutbox):
    headers = {"Accept-Language": code}
    client.post(reverse("account_reset_password"), {"email": annotator.email}, headers=headers)
    client.post(reverse("account_reset_password"), {"email": "nobody@example.org"}, headers=headers)
    assert [letter.to for letter in mailoutbox] == [[annotator.email]]
    assert words in mailoutbox[0].body
    assert "/accounts/password/reset/key/" in mailoutbox[0].body


def test_asking_for_a_password_of_no_account_tells_nothing(client, db):
    known = factories.user("nora")
    pages = [
        client.post(reverse("account_reset_password"), {"email": email}).url
        for email in (known.email, "nobody@example.org")
    ]
    assert pages == [reverse("account_reset_password_done")] * 2
