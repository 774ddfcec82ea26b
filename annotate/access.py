"""Who may see what: the only place that turns a slug or id from a URL into an object of this application.

The wrong user gets 404, as if the thing were not there. Admins may do everything.
"""

from typing import cast

from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from annotate import compiled
from annotate.models import (
    Assignment,
    Attachment,
    BulkAct,
    Exclusion,
    Flag,
    Import,
    Item,
    Membership,
    Pool,
    Project,
    Rater,
    Return,
    SavedView,
    Suspicion,
    User,
)

MANAGER, REVIEWER, ANNOTATOR = Membership.MANAGER, Membership.REVIEWER, Membership.ANNOTATOR
ANY = frozenset({MANAGER, REVIEWER, ANNOTATOR})
REVIEWERS = frozenset({MANAGER, REVIEWER})
MANAGERS = frozenset({MANAGER})


def signed_in(request: HttpRequest) -> User:
    """The user of a request that the login middleware has let through."""
    return cast(User, request.user)


def role_in(user: User, project: Project) -> str | None:
    """The user's role in a project: manager for admins, None for outsiders."""
    if user.is_admin:
        return MANAGER
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


def entered(user: User, slug: str) -> tuple[Project, str] | None:
    """The project and the user's role in it, in one query for members; None where either is missing."""
    user.member = compiled.first("entered", membership, slug, user.pk)
    if user.member is not None:
        return user.member.project, MANAGER if user.is_admin else user.member.role
    found = Project.objects.filter(slug=slug).first() if user.is_admin else None
    return (found, MANAGER) if found else None


def membership(slug: str, user_id: int) -> QuerySet[Membership]:
    """What a user is in the project of this slug, with the project, and whether it has any pools."""
    own = Membership.objects.filter(project__slug=slug, user=user_id).select_related("project")
    pools = Pool.objects.filter(project=OuterRef("project"))
    return own.annotate(has_pools=Exists(pools))  # type: ignore[no-redef]


def project(user: User, slug: str, roles: frozenset[str] = ANY) -> Project:
    """The project, if the user has one of `roles` in it. Raises Http404."""
    user.opened = entered(user, slug)
    if user.opened is None or user.opened[1] not in roles:
        raise Http404("No such project.")
    return user.opened[0]


def managed_project(user: User, slug: str) -> Project:
    """The project, if the user manages it. Raises Http404."""
    return project(user, slug, MANAGERS)


def reviewed_project(user: User, slug: str) -> Project:
    """The project, if the user manages or reviews it. Raises Http404."""
    return project(user, slug, REVIEWERS)


def admin(user: User) -> User:
    """The user, if an admin. Raises Http404."""
    if not user.is_admin:
        raise Http404("No such page.")
    return user


def reviewed_item(user: User, slug: str, pk: int) -> Item:
    """An item of a project that the user manages or reviews. Raises Http404."""
    mine = Item.objects.filter(project=reviewed_project(user, slug), pk=pk)
    return get_object_or_404(mine.select_related("project", "source__created_by"))


def managed_item(user: User, slug: str, pk: int) -> Item:
    """An item of a project that the user manages. Raises Http404."""
    managed_project(user, slug)
    return reviewed_item(user, slug, pk)


def managed_member(user: User, slug: str, pk: int) -> Membership:
    """A membership of a project that the user manages. Raises Http404."""
    found = Membership.objects.filter(project=managed_project(user, slug), pk=pk).select_related("project", "user")
    return get_object_or_404(found)


def managed_pool(user: User, slug: str, pk: int) -> Pool:
    """A pool of a project that the user manages. Raises Http404."""
    return get_object_or_404(Pool.objects.select_related("project"), project=managed_project(user, slug), pk=pk)


def own_view(user: User, slug: str, pk: int) -> SavedView:
    """A saved view of the user's own, or a shared one of a project that the user manages. Raises Http404."""
    found_project = reviewed_project(user, slug)
    found = SavedView.objects.filter(project=found_project, pk=pk).first()
    manages = role_in(user, found_project) == MANAGER
    if found is None or not (found.owner_id == user.pk or (found.shared and manages)):
        raise Http404("No such view.")
    return found


def managed_bulk_act(user: User, slug: str, pk: int) -> BulkAct:
    """An act on many items of a project that the user manages. Raises Http404."""
    found = BulkAct.objects.filter(project=managed_project(user, slug), pk=pk)
    return get_object_or_404(found.select_related("project", "by", "undone_by"))


def reviewed_rater(user: User, slug: str, pk: int) -> Rater:
    """A rater of a project that the user manages or reviews. Raises Http404."""
    return get_object_or_404(
        Rater.objects.select_related("project", "user"), project=reviewed_project(user, slug), pk=pk
    )


def managed_import(user: User, slug: str, pk: int) -> Import:
    """An import of a project that the user manages. Raises Http404."""
    return get_object_or_404(Import.objects.select_related("project"), project=managed_project(user, slug), pk=pk)


def attachment(user: User, slug: str, sha256: str) -> Attachment:
    """A picture of a project that the user is a member of. Raises Http404."""
    return get_object_or_404(Attachment, project=project(user, slug), sha256=sha256)


def own_assignment(user: User, slug: str, pk: int) -> Assignment:
    """An assignment of the user's own, in a project that the user is still a member of. Raises Http404."""
    opened = project(user, slug)
    found = compiled.first("own assignment", assignment, pk, user.pk, opened.pk)
    if found is None:
        raise Http404("No such assignment.")
    found.rater.project = opened
    return found


def assignment(pk: int, user_id: int, project_id: int) -> QuerySet[Assignment]:
    """A person's assignment in a project, with its item and its rater."""
    own = Assignment.objects.filter(pk=pk, rater__user=user_id, rater__project=project_id)
    return own.exclude(state=Assignment.EXCLUDED).select_related("item", "rater")


def reviewed_flag(user: User, slug: str, pk: int) -> Flag:
    """A reported problem in a project that the user manages or reviews. Raises Http404."""
    return get_object_or_404(
        Flag.objects.select_related("project", "item"), project=reviewed_project(user, slug), pk=pk
    )


def discussed_item(user: User, slug: str, pk: int) -> tuple[Item, str]:
    """An item and the user's role, for those who look after its project or have labelled it. Raises Http404."""
    opened = project(user, slug)
    role = user.opened[1] if user.opened else ANNOTATOR
    found = Item.objects.filter(project=opened, pk=pk).select_related("project").first()
    done = Assignment.objects.filter(item=pk, rater__user=user, state=Assignment.SUBMITTED)
    if found is None or (role == ANNOTATOR and not done.exists()):
        raise Http404("No such item.")
    return found, role


def own_return(user: User, slug: str, pk: int) -> Return:
    """An item that came back to the user, in a project that they are still a member of. Raises Http404."""
    return get_object_or_404(Return, pk=pk, rater__user=user, item__project=project(user, slug))


def managed_rater(user: User, slug: str, pk: int) -> Rater:
    """A rater of a project that the user manages. Raises Http404."""
    return get_object_or_404(
        Rater.objects.select_related("project", "user"), project=managed_project(user, slug), pk=pk
    )


def managed_exclusion(user: User, slug: str, pk: int) -> Exclusion:
    """An exclusion of a project that the user manages. Raises Http404."""
    found = Exclusion.objects.filter(rater__project=managed_project(user, slug), pk=pk)
    return get_object_or_404(found.select_related("rater__project", "created_by"))


def reviewed_suspicion(user: User, slug: str, pk: int) -> Suspicion:
    """A suspicion in a project that the user manages or reviews. Raises Http404."""
    found = Suspicion.objects.filter(rater__project=reviewed_project(user, slug), pk=pk)
    return get_object_or_404(found.select_related("rater__project", "rater__user"))
