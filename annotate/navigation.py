"""The frame of every page: where one is, and where one can go from there."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from annotate import access, queries

# url name, words, roles, and the start of the url names that count as being there
PROJECT_PAGES = [
    ("project", gettext_lazy("Project"), access.REVIEWERS, ("project", "guidelines", "questions", "agreement")),
    ("label", gettext_lazy("Label"), access.ANY, ("label",)),
    ("items", gettext_lazy("Items"), access.REVIEWERS, ("item",)),
    ("flags", gettext_lazy("Flags"), access.REVIEWERS, ("flag",)),
    ("review", gettext_lazy("Review"), access.REVIEWERS, ("review", "discussion")),
    ("mine", gettext_lazy("My page"), frozenset({access.ANNOTATOR}), ("mine", "discussion")),
    ("trust", gettext_lazy("Trust"), access.REVIEWERS, ("trust", "exclu")),
    ("quality", gettext_lazy("Quality"), access.MANAGERS, ("quality",)),
    ("pay", gettext_lazy("Pay"), access.MANAGERS, ("pay",)),
    ("raters", gettext_lazy("Raters"), access.REVIEWERS, ("rater",)),
    ("import_new", gettext_lazy("Import"), access.MANAGERS, ("import",)),
    ("judges", gettext_lazy("Judges"), access.REVIEWERS, ("judge",)),
    ("routing", gettext_lazy("Routing"), access.REVIEWERS, ("routing",)),
    ("datasets", gettext_lazy("Datasets"), access.REVIEWERS, ("dataset", "snapshot")),
    ("runs", gettext_lazy("Runs"), access.REVIEWERS, ("run", "train", "generate")),
    ("models", gettext_lazy("Models"), access.REVIEWERS, ("model",)),
    ("loops", gettext_lazy("Loops"), access.MANAGERS, ("loop",)),
    ("people", gettext_lazy("People"), access.MANAGERS, ("people", "pool")),
    ("acts", gettext_lazy("Log"), access.MANAGERS, ("acts",)),
    ("project_settings", gettext_lazy("Settings"), access.MANAGERS, ("project_settings",)),
]
# They stand behind “More”: the line of links must fit a usual screen.
SELDOM = {"pay", "import_new", "routing", "datasets", "loops", "people", "acts", "project_settings"}
NAMES = {name for name, *_ in PROJECT_PAGES}


def frame(request: HttpRequest) -> dict[str, Any]:
    """The project that the page belongs to and the links that this user has there; empty outside a project."""
    match = request.resolver_match
    if match is None or "slug" not in match.kwargs or not request.user.is_authenticated:
        return {}
    user, slug = access.signed_in(request), match.kwargs["slug"]
    # The view has opened the project already, as a rule.
    opened = user.opened if user.opened and user.opened[0].slug == slug else access.entered(user, slug)
    if opened is None:
        return {}
    project, role = opened
    if is_fragment(request):
        return {"frame_project": project, "frame_role": role}
    here = match.url_name or ""
    links = [
        {"name": name, "words": words, "here": here == name or (here.startswith(starts) and here not in NAMES)}
        for name, words, roles, starts in PROJECT_PAGES
        if role in roles
    ]
    # The workbench must come quickly, and is not where flags are answered.
    counts = role in access.REVIEWERS and not here.startswith("label")
    waiting = queries.open_flags(project).count() if counts else 0
    return {
        "frame_project": project,
        "frame_role": role,
        "frame_links": [link for link in links if link["name"] not in SELDOM],
        "frame_more": [link for link in links if link["name"] in SELDOM],
        "frame_flags": waiting,
    }


def is_fragment(request: HttpRequest) -> bool:
    """Does htmx ask for a part of a page, which has no frame?"""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
