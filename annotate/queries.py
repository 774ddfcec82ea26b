"""Reads that the annotate pages need, each a fixed number of queries whatever the tables hold."""

from typing import Any

from django.db.models import QuerySet

from annotate import tallies
from annotate.models import Membership, Project, User


def projects_of(user: User) -> QuerySet[Project]:
    """The projects a user may open, by name; all of them for an admin."""
    found = Project.objects.exclude(state=Project.ARCHIVED)
    return found if user.is_admin else found.filter(memberships__user=user)


def roles_of(user: User) -> dict[int, str]:
    """Project id → the user's role there."""
    return dict(Membership.objects.filter(user=user).values_list("project_id", "role"))


def project_rows(user: User) -> list[dict[str, Any]]:
    """What the list of projects shows: each with the user's role and its kept counts."""
    roles = roles_of(user)
    found = list(projects_of(user))
    counts = tallies.read_many([project.pk for project in found])
    return [
        {
            "project": project,
            "role": "admin" if user.is_admin else roles.get(project.pk, ""),
            "counts": counts.get(project.pk, {}),
        }
        for project in found
    ]


def progress(project: Project) -> dict[str, Any]:
    """The numbers at the top of a project's page, all from kept counts."""
    counts = tallies.read(project.pk)
    items = counts.get(tallies.ITEMS, 0)
    people, judge = counts.get(tallies.LABELS["human"], 0), counts.get(tallies.LABELS["judge"], 0)
    return {
        "items": items,
        "labelled": people + judge,
        "people": people,
        "judge": judge,
        "people_percent": 100 * people / items if items else 0,
        "judge_percent": 100 * judge / items if items else 0,
        "annotations_human": counts.get(tallies.ANNOTATIONS["human"], 0),
        "annotations_judge": counts.get(tallies.ANNOTATIONS["judge"], 0),
        "unrouted": items - sum(counts.get(name, 0) for name in tallies.ROUTED.values()),
        "routed": {route: counts.get(name, 0) for route, name in tallies.ROUTED.items()},
        "agreement": project.agreement,
    }
