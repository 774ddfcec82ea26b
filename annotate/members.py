"""The sole writer of what a member is in a project: role, skills, quotas, a pause, or no longer a member."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from annotate import queue
from annotate.models import Membership


class MemberError(Exception):
    """A membership cannot be changed as asked; the message says why."""


def check_manager_left(membership: Membership, role: str | None) -> None:
    """Raise MemberError where the project's only manager would cease to be one."""
    others = membership.project.memberships.filter(role=Membership.MANAGER).exclude(pk=membership.pk)
    if membership.role == Membership.MANAGER and role != Membership.MANAGER and not others.exists():
        raise MemberError(f"{membership.user} is the only manager: make somebody else one first.")


@transaction.atomic
def change_role(*, membership: Membership, role: str) -> None:
    """Raises MemberError for the only manager."""
    check_manager_left(membership, role)
    Membership.objects.filter(pk=membership.pk).update(role=role)
    membership.role = role


@transaction.atomic
def change_work(*, membership: Membership, skills: Iterable[str], is_paused: bool, **quotas: Any) -> None:
    """What a member gets from the queue. Somebody paused gives back what they hold; their drafts stay."""
    membership.skills, membership.is_paused = list(skills), is_paused
    membership.daily_quota, membership.total_quota = quotas["daily_quota"], quotas["total_quota"]
    membership.save(update_fields=["skills", "is_paused", "daily_quota", "total_quota"])
    if is_paused:
        queue.release_all(user=membership.user, project=membership.project)


@transaction.atomic
def remove(*, membership: Membership) -> None:
    """Their annotations stay, and what they hold goes back to the queue. Raises MemberError for the only manager."""
    check_manager_left(membership, None)
    membership.delete()
    queue.release_all(user=membership.user, project=membership.project)
