"""The sole writer of what a member is in a project: role, skills, quotas, a pause, or no longer a member."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from annotate import audit, queue
from annotate.models import Membership, Project, User


class MemberError(Exception):
    """A membership cannot be changed as asked; the message says why."""


def check_manager_left(membership: Membership, role: str | None) -> None:
    """Raise MemberError where the project's only manager would cease to be one."""
    others = membership.project.memberships.filter(role=Membership.MANAGER).exclude(pk=membership.pk)
    if membership.role == Membership.MANAGER and role != Membership.MANAGER and not others.exists():
        raise MemberError(f"{membership.user} is the only manager: make somebody else one first.")


@transaction.atomic
def change_role(*, membership: Membership, role: str, by: User | None = None) -> None:
    """Raises MemberError for the only manager."""
    check_manager_left(membership, role)
    former = Membership.objects.select_for_update().get(pk=membership.pk).role
    Membership.objects.filter(pk=membership.pk).update(role=role)
    membership.role = role
    record_change(membership, by, {"role": former}, {"role": role})


def record_change(membership: Membership, by: User | None, old: dict[str, Any], new: dict[str, Any]) -> None:
    audit.record_change(
        project=membership.project,
        by=by,
        kind="member",
        object_id=membership.user_id,
        words=str(membership.user),
        old=old,
        new=new,
    )


@transaction.atomic
def change_work(
    *, membership: Membership, skills: Iterable[str], is_paused: bool, by: User | None = None, **quotas: Any
) -> None:
    """What a member gets from the queue. Somebody paused gives back what they hold; their drafts stay."""
    fields = ["skills", "is_paused", "daily_quota", "total_quota"]
    old = Membership.objects.filter(pk=membership.pk).values(*fields).get()
    membership.skills, membership.is_paused = list(skills), is_paused
    membership.daily_quota, membership.total_quota = quotas["daily_quota"], quotas["total_quota"]
    membership.save(update_fields=fields)
    new = {"skills": membership.skills, "is_paused": is_paused}
    record_change(membership, by, old, {**new, **{name: quotas[name] for name in ("daily_quota", "total_quota")}})
    if is_paused:
        queue.release_all(user=membership.user, project=membership.project)


@transaction.atomic
def remove(*, membership: Membership, by: User | None = None) -> None:
    """Their annotations stay, and what they hold goes back to the queue. Raises MemberError for the only manager."""
    check_manager_left(membership, None)
    audit.record(
        project=membership.project,
        by=by,
        verb=audit.REMOVED,
        kind="member",
        object_id=membership.user_id,
        words=str(membership.user),
        before={"role": membership.role},
    )
    membership.delete()
    queue.release_all(user=membership.user, project=membership.project)


def restore(*, project: Project, rows: Sequence[Mapping[str, Any]]) -> None:
    """The members that an export names, where they have an account here; whoever is a member already is changed."""
    users = {user.username: user for user in User.objects.filter(username__in=[row["name"] for row in rows])}
    for row in rows:
        if row["name"] in users:
            values = {name: value for name, value in row.items() if name != "name"}
            Membership.objects.update_or_create(project=project, user=users[row["name"]], defaults=values)
