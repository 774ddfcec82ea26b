"""Who may see what: the only place that turns a slug or id from a URL into an object of this application.

The wrong user gets 404, as if the thing were not there. Admins may do everything.
"""

from typing import cast

from django.http import Http404, HttpRequest

from annotate.models import Import, Item, Membership, Project, User

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


def project(user: User, slug: str, roles: frozenset[str] = ANY) -> Project:
    """The project, if the user has one of `roles` in it. Raises Http404."""
    found = Project.objects.filter(slug=slug).first()
    if found is None or role_in(user, found) not in roles:
        raise Http404("No such project.")
    return found


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
    found = Item.objects.filter(project=reviewed_project(user, slug), pk=pk).select_related("project").first()
    if found is None:
        raise Http404("No such item.")
    return found


def managed_import(user: User, slug: str, pk: int) -> Import:
    """An import of a project that the user manages. Raises Http404."""
    found = Import.objects.filter(project=managed_project(user, slug), pk=pk).select_related("project").first()
    if found is None:
        raise Http404("No such import.")
    return found
