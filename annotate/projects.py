"""The sole writer of projects, their questions and their versions."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from annotate import audit, questions
from annotate.models import Annotation, Membership, Project, Question, User, Version


class ProjectError(Exception):
    """A project cannot be made or changed as asked; the message says why."""


DEFAULT_QUESTIONS: list[dict[str, Any]] = [
    {"name": "preference", "kind": "preference", "title": "Which answer is better?", "config": {"points": 7}},
    {
        "name": "helpful",
        "kind": "rating",
        "title": "Helpful",
        "required": False,
        "config": {
            "min": 1,
            "max": 5,
            "anchors": {
                "1": "Wrong, harmful, or beside the question",
                "3": "Partly helps; something is missing or unclear",
                "5": "Right, complete, clear, and no longer than it needs to be",
            },
        },
    },
]


def free_slug(name: str) -> str:
    """The name as an address that no project has yet."""
    stem = slugify(name)[:70] or "project"
    taken = set(Project.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    return next(slug for slug in [stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))] if slug not in taken)


@transaction.atomic
def create_project(
    *,
    name: str,
    by: User | None,
    slug: str = "",
    description: str = "",
    guidelines: str = "",
    asked: Iterable[Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Project:
    """A new project with its questions; `by` becomes its manager. Raises ProjectError for a slug that is taken."""
    if slug and Project.objects.filter(slug=slug).exists():
        raise ProjectError(f"There is a project {slug!r} already: choose another name.")
    project = Project.objects.create(
        name=name,
        slug=slug or free_slug(name),
        description=description,
        guidelines=guidelines,
        created_by=by,
        **settings,
    )
    Version.objects.create(project=project, kind=Version.GUIDELINES, number=1, body=guidelines, created_by=by)
    write_questions(project, DEFAULT_QUESTIONS if asked is None else asked)
    Version.objects.create(project=project, kind=Version.RUBRIC, number=1, body=rubric_body(project), created_by=by)
    if by:
        Membership.objects.create(project=project, user=by, role=Membership.MANAGER)
    audit.record(project=project, by=by, verb=audit.CREATED, kind="project", object_id=project.pk, words=project.name)
    return project


@transaction.atomic
def change_settings(*, project: Project, by: User, **values: Any) -> Project:
    """Change fields of a project that SettingsForm has checked."""
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    old = {name: getattr(locked, name) for name in values}
    for name, value in values.items():
        setattr(locked, name, value)
    locked.save(update_fields=list(values))
    audit.record_change(project=locked, by=by, kind="settings", object_id=locked.pk, old=old, new=values)
    return locked


QUESTION_FIELDS = ("name", "kind", "title", "description", "required", "weight", "is_veto", "config")


def write_questions(project: Project, asked: Iterable[Mapping[str, Any]]) -> None:
    """All questions of a new project. Raises questions.QuestionError, naming the question."""
    made = [question_from(spec, position) for position, spec in enumerate(asked)]
    questions.check_together(made)
    for question in made:
        question.project = project
        question.save()


def question_from(spec: Mapping[str, Any], position: int) -> Question:
    """A question as plain data describes it, checked but not saved."""
    if not isinstance(spec, Mapping) or not {"name", "kind"} <= set(spec) <= set(QUESTION_FIELDS):
        raise questions.QuestionError(
            f"Question {position + 1} cannot be read: give name, kind and perhaps {', '.join(QUESTION_FIELDS[2:])}."
        )
    name = str(spec["name"])
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,60}", name):
        raise questions.QuestionError(f"The name {name[:60]!r} cannot be used: letters, digits, - and _, at most 60.")
    try:
        config = questions.check_config(spec["kind"], spec.get("config", {}))
    except questions.QuestionError as error:
        raise questions.QuestionError(f"Question “{name}”: {error}") from None
    return Question(
        name=name,
        kind=spec["kind"],
        title=str(spec.get("title") or name)[:160],
        description=str(spec.get("description", "")),
        position=position,
        required=bool(spec.get("required", True)),
        weight=float(spec.get("weight", 1.0)),
        is_veto=bool(spec.get("is_veto", False)),
        config=config,
    )


@transaction.atomic
def restore_versions(
    *, project: Project, versions: Iterable[Mapping[str, Any]], guideline_version: int, rubric_version: int
) -> None:
    """The versions of a project that comes from an export, in place of those that making it made."""
    made = [
        Version(project=project, created_at=datetime.fromisoformat(version["created_at"]),
                **{name: version[name] for name in ("kind", "number", "body")})
        for version in versions
    ]  # fmt: skip
    if made:
        project.versions.all().delete()
        Version.objects.bulk_create(made)
    project.guideline_version, project.rubric_version = guideline_version, rubric_version
    project.save(update_fields=["guideline_version", "rubric_version"])


def rubric_body(project: Project) -> list[dict[str, Any]]:
    """The project's questions as plain data, in order."""
    return list(project.questions.values(*QUESTION_FIELDS))


@transaction.atomic
def change_guidelines(*, project: Project, text: str, by: User) -> int:
    """A new version of the guidelines, unless the text is the same; returns the version in force."""
    locked = Project.objects.select_for_update().get(pk=project.pk)
    if locked.guidelines == text:
        return locked.guideline_version
    locked.guidelines, locked.guideline_version = text, locked.guideline_version + 1
    locked.save(update_fields=["guidelines", "guideline_version"])
    Version.objects.create(
        project=locked, kind=Version.GUIDELINES, number=locked.guideline_version, body=text, created_by=by
    )
    audit.record(
        project=locked,
        by=by,
        verb=audit.CHANGED,
        kind="guidelines",
        before={"version": locked.guideline_version - 1},
        after={"version": locked.guideline_version},
    )
    return locked.guideline_version


@transaction.atomic
def change_question(*, project: Project, name: str, by: User, **values: Any) -> Question:
    """Make or change one question and keep the rubric as it now stands under a new version."""
    locked = Project.objects.select_for_update().get(pk=project.pk)
    defaults = {**values, "config": questions.check_config(values["kind"], values["config"])}
    others = list(locked.questions.exclude(name=name))
    questions.check_together([*others, Question(project=locked, name=name, **defaults)])
    create = {**defaults, "position": locked.questions.count()}
    old = locked.questions.filter(name=name).values(*defaults).first()
    question, is_new = Question.objects.update_or_create(
        project=locked, name=name, defaults=defaults, create_defaults=create
    )
    keep_rubric(locked, by)
    before, after = audit.difference(old or {}, defaults)
    audit.record(
        project=locked,
        by=by,
        verb=audit.CREATED if is_new else audit.CHANGED,
        kind="question",
        object_id=question.pk,
        words=question.title,
        before=before if old else {},
        after=after,
    )
    return question


@transaction.atomic
def add_questions(*, project: Project, asked: Iterable[Mapping[str, Any]], by: User) -> list[Question]:
    """Ask these too, after those that are there; one whose name is taken is left as it stands.

    Raises questions.QuestionError where they do not fit with what is asked already.
    """
    locked = Project.objects.select_for_update().get(pk=project.pk)
    there = list(locked.questions.all())
    names = {question.name for question in there}
    new = [spec for spec in asked if spec["name"] not in names]
    made = [question_from(spec, len(there) + place) for place, spec in enumerate(new)]
    questions.check_together([*there, *made])
    for question in made:
        question.project = locked
        question.save()
        audit.record(
            project=locked, by=by, verb=audit.CREATED, kind="question", object_id=question.pk, words=question.title
        )
    if made:
        keep_rubric(locked, by)
    return made


@transaction.atomic
def move_question(*, question: Question, by: User, up: bool) -> None:
    """Ask a question one place earlier or later."""
    locked = Project.objects.select_for_update().get(pk=question.project_id)
    order = list(locked.questions.all())
    place = next(place for place, other in enumerate(order) if other.pk == question.pk)
    other = place - 1 if up else place + 1
    if not 0 <= other < len(order):
        return
    order[place], order[other] = order[other], order[place]
    for position, each in enumerate(order):
        each.position = position
    Question.objects.bulk_update(order, ["position"])
    keep_rubric(locked, by)
    audit.record(
        project=locked,
        by=by,
        verb=audit.CHANGED,
        kind="question",
        object_id=question.pk,
        words=question.title,
        before={"position": place},
        after={"position": other},
    )


@transaction.atomic
def remove_question(*, question: Question, by: User) -> None:
    """Take a question away. What was answered to it stays on its annotations and its words in the rubric's versions.

    Refused once it has labels, which would lose their meaning, and while another question depends on it.
    """
    locked = Project.objects.select_for_update().get(pk=question.project_id)
    if question.labels.exists():
        raise ProjectError(f"“{question.title}” has answers already, so it stays: make it optional instead.")
    try:
        questions.check_together([other for other in locked.questions.all() if other.pk != question.pk])
    except questions.QuestionError as error:
        raise ProjectError(str(error)) from None
    audit.record(
        project=locked, by=by, verb=audit.REMOVED, kind="question", object_id=question.pk, words=question.title
    )
    question.delete()
    keep_rubric(locked, by)


def is_answered(question: Question) -> bool:
    """Has anybody answered it: it has a label, or one of the project's newest thousand annotations answers it."""
    if question.labels.exists():
        return True
    newest = Annotation.objects.filter(item__project_id=question.project_id).order_by("-pk")
    return any(question.name in answers for answers in newest.values_list("answers", flat=True)[:1000])


def keep_rubric(project: Project, by: User) -> None:
    project.rubric_version += 1
    project.save(update_fields=["rubric_version"])
    Version.objects.create(
        project=project,
        kind=Version.RUBRIC,
        number=project.rubric_version,
        body=rubric_body(project),
        created_by=by,
    )
