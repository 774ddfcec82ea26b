"""Who may come in: invitations, members and their roles."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access, accounts, members, pools
from annotate.forms import AcceptForm, InviteForm, MemberForm, PoolForm, RoleForm
from annotate.models import Invitation, Membership, Pool, Project, User


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind an invitation's link: somebody new makes an account, a signed-in user just accepts."""
    try:
        opened = accounts.open_invitation(token)
    except accounts.InvitationError as error:
        return render(request, "account/invitation.html", {"problem": str(error)}, status=410)
    form = AcceptForm(request.POST or None)
    if request.method == "POST" and (request.user.is_authenticated or form.is_valid()):
        try:
            with transaction.atomic():
                user = access.signed_in(request) if request.user.is_authenticated else new_user(form, opened)
                accounts.accept(invitation=opened, user=user)
        except accounts.InvitationError as error:
            return render(request, "account/invitation.html", {"problem": str(error)}, status=410)
        if not request.user.is_authenticated:
            login(request, user, backend="annotate.sessions.ByName")
        return redirect("project", opened.project.slug) if opened.project else redirect("home")
    status = 422 if form.is_bound else 200
    return render(request, "account/invitation.html", {"invitation": opened, "form": form}, status=status)


def new_user(form: AcceptForm, opened: Invitation) -> User:
    if User.objects.filter(email__iexact=opened.email).exists():
        raise accounts.InvitationError(
            _("%(email)s has an account already: sign in, then open this link again.") % {"email": opened.email}
        )
    return User.objects.create_user(
        username=form.cleaned_data["username"], email=opened.email, password=form.cleaned_data["password"]
    )


@require_safe
def people(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.managed_project(access.signed_in(request), slug)
    return render(request, "annotate/people.html", people_context(project, InviteForm()))


def people_context(project: Project, form: InviteForm) -> dict[str, Any]:
    return {
        "project": project,
        "form": form,
        "memberships": project.memberships.select_related("user").order_by("user__username"),
        "invitations": project.invitations.filter(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()),
        "roles": Membership.ROLES,
        "pools": pools.rows(project),
    }


@require_POST
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    user = access.signed_in(request)
    project = access.managed_project(user, slug)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return render(request, "annotate/people.html", people_context(project, form), status=422)
    sent = accounts.invite(email=form.cleaned_data["email"], role=form.cleaned_data["role"], project=project, by=user)
    link = request.build_absolute_uri(accounts.link(sent))
    messages.success(
        request, _("Invited %(email)s. The link, good for 7 days: %(link)s") % {"email": sent.email, "link": link}
    )
    return redirect("people", slug)


@require_POST
def role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change a member's role, or take the membership away."""
    user = access.signed_in(request)
    membership = access.managed_member(user, slug, pk)
    form = RoleForm(request.POST)
    try:
        if request.POST.get("role") == "remove":
            members.remove(membership=membership, by=user)
            messages.success(
                request, _("%(user)s is no longer a member. Their annotations stay.") % {"user": membership.user}
            )
        elif form.is_valid():
            members.change_role(membership=membership, role=form.cleaned_data["role"], by=user)
            messages.success(
                request, _("%(user)s is now %(role)s.") % {"user": membership.user, "role": membership.role}
            )
    except members.MemberError as error:
        messages.error(request, str(error))
    return redirect("people", slug)


@require_http_methods(["GET", "HEAD", "POST"])
def member(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What one member gets from the queue: skills, quotas, a pause."""
    membership = access.managed_member(access.signed_in(request), slug, pk)
    form = MemberForm(request.POST or None, instance=membership)
    if request.method == "POST" and form.is_valid():
        members.change_work(membership=membership, by=access.signed_in(request), **form.cleaned_data)
        messages.success(request, _("Saved what %(user)s gets.") % {"user": membership.user})
        return redirect("people", slug)
    context = {"project": membership.project, "membership": membership, "form": form}
    return render(request, "annotate/member.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def pool_new(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.managed_project(access.signed_in(request), slug)
    return pool_form(request, project, None)


@require_http_methods(["GET", "HEAD", "POST"])
def pool(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Who may label the items of one pool; it can be removed once it has none."""
    found = access.managed_pool(access.signed_in(request), slug, pk)
    if request.method == "POST" and "remove" in request.POST:
        try:
            pools.remove_pool(pool=found, by=access.signed_in(request))
            messages.success(request, _("“%(found)s” is removed.") % {"found": found})
        except pools.PoolError as error:
            messages.error(request, str(error))
        return redirect("people", slug)
    return pool_form(request, found.project, found)


def pool_form(request: HttpRequest, project: Project, found: Pool | None) -> HttpResponse:
    form = PoolForm(request.POST or None, initial=as_initial(found))
    if request.method == "POST" and form.is_valid():
        try:
            saved = pools.save_pool(project=project, pool=found, by=access.signed_in(request), **form.cleaned_data)
            messages.success(request, _("“%(saved)s” is saved.") % {"saved": saved})
            return redirect("people", project.slug)
        except pools.PoolError as error:
            form.add_error(None, str(error))
    context = {"project": project, "pool": found, "form": form}
    return render(request, "annotate/pool.html", context, status=422 if form.errors else 200)


def as_initial(found: Pool | None) -> dict[str, Any]:
    return {"name": found.name, "skills": found.skills, "people": found.people} if found else {}


@require_POST
def withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = access.signed_in(request)
    project = access.managed_project(user, slug)
    waiting = get_object_or_404(Invitation, project=project, pk=pk, accepted_at=None)
    accounts.withdraw(invitation=waiting, by=user)
    messages.success(request, _("The invitation of %(email)s is withdrawn.") % {"email": waiting.email})
    return redirect("people", slug)
