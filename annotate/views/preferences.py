"""What users choose for themselves: the keys of the workbench, how they read, and the language."""

import re

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from annotate import access, preferences
from annotate import keys as workbench_keys
from annotate.models import User

SLUG = re.compile(r"[\w-]{1,80}")


@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """Every action with its key, and a way to give it another."""
    return show_keys(request, access.signed_in(request))


@require_POST
def change_key(request: HttpRequest) -> HttpResponse:
    """Give one action another key; htmx gets the table alone."""
    user = access.signed_in(request)
    action = request.POST.get("action", "")
    try:
        preferences.change_key(user=user, action=action, key=request.POST.get("key", ""))
    except workbench_keys.KeysError as error:
        return show_keys(request, user, action=action, problem=str(error))
    return show_keys(request, user, action=action) if "HX-Request" in request.headers else back_to_keys(request)


@require_POST
def reset_keys(request: HttpRequest) -> HttpResponse:
    preferences.reset_keys(user=access.signed_in(request))
    return back_to_keys(request)


@require_POST
def reading(request: HttpRequest) -> HttpResponse:
    """Remember a reading aid; the page does not wait for it."""
    user = access.signed_in(request)
    preferences.change_reading(user=user, name=request.POST.get("name", ""), on=request.POST.get("on") == "1")
    return HttpResponse(status=204)


@login_not_required
@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Show the pages in another language: kept in this browser, and with the user who is signed in."""
    code, origin = request.POST.get("language", ""), request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(origin, {request.get_host()}, require_https=request.is_secure())
    response = redirect(origin if safe else "home")
    if code in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            code,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            samesite="Lax",
        )
        if isinstance(request.user, User):
            preferences.change_language(user=request.user, code=code)
    return response


def show_keys(request: HttpRequest, user: User, action: str = "", problem: str = "") -> HttpResponse:
    """The page, or the table for htmx; `action` is the one just changed, `problem` why that could not be."""
    own = preferences.own_keys(user)
    rows = [
        {"action": known, "key": key, "is_own": known.name in own, "is_last": known.name == action}
        for known, key in zip(workbench_keys.ACTIONS, workbench_keys.in_force(own).values(), strict=True)
    ]
    context = {"rows": rows, "problem": problem, "changed": bool(own), "from": origin_of(request)}
    fragment = "HX-Request" in request.headers
    template = "annotate/_keys_table.html" if fragment else "annotate/keys.html"
    return render(request, template, context, status=422 if problem else 200)


def back_to_keys(request: HttpRequest) -> HttpResponse:
    """The page of keys once more, with its way back to where the user labels."""
    origin = origin_of(request)
    return redirect(reverse("keys") + (f"?from={origin}" if origin else ""))


def origin_of(request: HttpRequest) -> str:
    """The project that the user came from; empty where neither form nor address names one."""
    said = request.POST.get("from", "") or request.GET.get("from", "")
    return said if SLUG.fullmatch(said) else ""
