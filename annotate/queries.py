"""Reads that the annotate pages need, each a fixed number of queries whatever the tables hold."""

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from annotate import compiled, tallies
from annotate.models import (
    Annotation,
    Flag,
    Import,
    Item,
    Measurement,
    Membership,
    Project,
    Question,
    RaterSkill,
    Response,
    User,
)

ROLE_WORDS = {**dict(Membership.ROLES), "admin": gettext_lazy("admin")}
PAGE = 50  # items on a page of a list


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
            "role": (role := "admin" if user.is_admin else roles.get(project.pk, "")),
            "role_words": ROLE_WORDS.get(role, ""),
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


def item_facts(item: Item) -> dict[str, Any]:
    """Everything that is known about one item: its responses, who said what, and what that adds up to."""
    said = Annotation.objects.filter(item=item).select_related("rater", "replaced_by")
    return {
        "item": item,
        "responses": list(item.responses.all()),
        "annotations": list(said.order_by("rater__kind", "rater__name", "order_key", "revision")),
        "labels": list(item.labels.select_related("question").order_by("question__position")),
        "questions": {question.name: question for question in item.project.questions.all()},
        "flags": list(item.flags.select_related("rater", "resolved_by").order_by("-created_at")),
    }


def recent_imports(project: Project, most: int = 30) -> list[Import]:
    """The last files that came to a project, newest first, without their errors."""
    return list(Import.objects.filter(project=project).select_related("created_by").defer("errors")[:most])


def open_flags(project: Project) -> QuerySet[Flag]:
    """The reported problems that wait for an answer."""
    return Flag.objects.filter(project=project, resolved_at__isnull=True)


def flags_of(project: Project, most: int = 100) -> dict[str, list[Flag]]:
    """Problems that wait, the oldest first, and those answered last, the newest first."""
    waiting = open_flags(project).select_related("item", "rater").defer("item__prompt", "item__metadata")
    answered = Flag.objects.filter(project=project, resolved_at__isnull=False)
    answered = answered.select_related("item", "rater", "resolved_by").defer("item__prompt", "item__metadata")
    return {
        "waiting": list(waiting.order_by("created_at")[:most]),
        "answered": list(answered.order_by("-resolved_at")[:20]),
    }


def agreement_report(project: Project) -> dict[str, Any]:
    """The worker's last report on agreement; empty before the first."""
    found = Measurement.objects.filter(project=project).values_list("report", flat=True).first()
    return found or {}


def rater_skills(question: Question) -> list[RaterSkill]:
    """What the fit in force knows of each rater on one question: people first, those with most votes first."""
    found = RaterSkill.objects.filter(question=question).select_related("rater")
    return list(found.order_by("rater__kind", "-n", "rater__name"))


def question_with_fit(project: Project, name: str) -> Question | None:
    """One question of a project, together with the fit of its raters."""
    return Question.objects.filter(project=project, name=name).select_related("fit").first()


def responses_of(item: Item) -> list[Response]:
    """The item's responses in stored order, read once for each item that was loaded."""
    if item.responses_read is None:
        item.responses_read = compiled.run("responses", responses, item.pk)
    return item.responses_read


def responses(item_id: int) -> QuerySet[Response]:
    return Response.objects.filter(item=item_id).order_by("position")
