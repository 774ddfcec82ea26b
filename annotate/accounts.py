"""Sign-in and invitations: sign-up is closed, a signed and expiring invitation is the only way in."""

from datetime import timedelta

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import audit
from annotate.models import Invitation, Membership, Project, User

SALT = "plumbline.invitation"
VALID_FOR = timedelta(days=7)


class InvitationError(Exception):
    """The invitation cannot be used; the message says why and what to do."""


class ClosedSignUp(DefaultAccountAdapter):
    """allauth without its sign-up page."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


@transaction.atomic
def invite(*, email: str, role: str, project: Project | None, by: User) -> Invitation:
    """Make an invitation and send it by e-mail; the address of the page is `link(invitation)`."""
    invitation = Invitation.objects.create(
        email=email.strip().lower(),
        role=role,
        project=project,
        invited_by=by,
        expires_at=timezone.now() + VALID_FOR,
    )
    record(invitation, audit.INVITED, by)
    where = project.name if project else "Plumbline"
    words = {
        "who": by,
        "where": where,
        "role": invitation.get_role_display(),
        "days": VALID_FOR.days,
        "link": f"{settings.SITE_URL}{link(invitation)}",
    }
    subject = _("You are invited to %(where)s") % words
    text = (
        _("%(who)s invites you to %(where)s as %(role)s.\n\nOpen this page within %(days)s days:\n%(link)s\n") % words
    )
    # The inviter also sees the link and can pass it on.
    transaction.on_commit(lambda: send_mail(subject, text, None, [invitation.email], fail_silently=True))
    return invitation


def record(invitation: Invitation, verb: str, by: User | None) -> None:
    audit.record(
        project=invitation.project,
        by=by,
        verb=verb,
        kind="invitation",
        object_id=invitation.pk,
        words=invitation.email,
        after={"role": invitation.role},
    )


@transaction.atomic
def withdraw(*, invitation: Invitation, by: User) -> None:
    """Take an invitation back that nobody has accepted; again adds nothing."""
    open_one = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if open_one.update(revoked_at=timezone.now()):
        record(invitation, audit.WITHDRAWN, by)


def link(invitation: Invitation) -> str:
    """The path of the invitation's page, with its signed token."""
    return reverse("invitation", args=[signing.dumps(invitation.pk, salt=SALT)])


def open_invitation(token: str) -> Invitation:
    """The invitation that a token names, if it can still be used. Raises InvitationError."""
    try:
        pk = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.SignatureExpired:
        raise InvitationError(_("This invitation has run out: ask for a new one.")) from None
    except signing.BadSignature:
        raise InvitationError(_("This invitation is not valid: open the link exactly as it was sent.")) from None
    invitation = Invitation.objects.filter(pk=pk).select_related("project").first()
    if invitation is None or invitation.revoked_at:
        raise InvitationError(_("This invitation was withdrawn: ask for a new one."))
    if invitation.accepted_at:
        raise InvitationError(_("This invitation has been used: sign in instead."))
    if invitation.expires_at < timezone.now():
        raise InvitationError(_("This invitation has run out: ask for a new one."))
    return invitation


@transaction.atomic
def accept(*, invitation: Invitation, user: User) -> None:
    """Give the user what the invitation promises, once. Raises InvitationError where it was used meanwhile."""
    claimed = Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(accepted_at=timezone.now())
    if not claimed:
        raise InvitationError(_("This invitation has been used: sign in instead."))
    if invitation.role == "admin":
        User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    elif invitation.project:
        Membership.objects.get_or_create(project=invitation.project, user=user, defaults={"role": invitation.role})
    record(invitation, audit.ACCEPTED, user)
