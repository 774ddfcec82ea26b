"""A raw export taken in: the project itself, then its items with all their annotations, whole or not at all."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import transaction

from annotate import attachments, members, pools, projects
from annotate.attachments import Incoming
from annotate.exporting import BESIDE, MEMBER, PICTURES, SETTINGS
from annotate.imaging import ImageError, as_kept
from annotate.importing import beside
from annotate.importing.errors import RowError
from annotate.importing.native import NativeItem
from annotate.importing.taking_in import TakenIn, take_in_rows
from annotate.models import Project, Question, User, Version
from annotate.quality import exclusion


class ExportError(Exception):
    """The folder is no raw export; the message says what is missing."""


@transaction.atomic
def import_project(*, folder: Path, by: User | None, name: str = "", slug: str = "") -> tuple[Project, TakenIn]:
    """A new project from the folder. Raises ExportError, ProjectError, QuestionError and RowError."""
    body = read_body(folder / "project.json")
    settings = {key: value for key, value in body.get("settings", {}).items() if key in SETTINGS}
    project = projects.create_project(
        name=name or str(body["name"]),
        slug=slug,
        by=by,
        description=str(body.get("description", "")),
        guidelines=str(body.get("guidelines", "")),
        asked=body["questions"],
        **settings,
    )
    projects.restore_versions(
        project=project,
        versions=body.get("versions", []),
        guideline_version=body.get("guideline_version", 1),
        rubric_version=body.get("rubric_version", 1),
    )
    attachments.keep(rows=attachments.with_files(project=project, incoming=pictures_in(folder)))
    exclusion.restore(project=project, by=by, left_out=body.get("left_out", []))
    members.restore(project=project, rows=listed(body, "members", {"name", *MEMBER}))
    for pool in listed(body, "pools", {"name", "people", "skills"}):
        pools.save_pool(project=project, by=by, **pool)
    rows = rows_in(folder / "items.jsonl")
    taken = take_in_rows(project=project, rows=rows, earlier=earlier_questions(project))
    if (folder / BESIDE).exists():
        beside.take_in(project=project, rows=rows_in(folder / BESIDE), by=by)
    return project, taken


def earlier_questions(project: Project) -> dict[int, dict[str, Question]]:
    """The questions of each earlier rubric by name: what was answered then must fit what was asked then."""
    versions = project.versions.filter(kind=Version.RUBRIC).exclude(number=project.rubric_version)
    return {
        number: {spec["name"]: projects.question_from(spec, position) for position, spec in enumerate(asked)}
        for number, asked in versions.values_list("number", "body")
    }


def read_body(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read: {error}.") from None
    if not isinstance(body, dict) or not {"name", "questions"} <= set(body):
        raise ExportError(f"{path} holds no project: it needs a name and questions.")
    return body


def listed(body: dict[str, Any], name: str, fields: set[str]) -> list[dict[str, Any]]:
    """A list of project.json whose entries have exactly these fields; empty where there is none."""
    rows = body.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) == fields for row in rows):
        raise ExportError(f"“{name}” in project.json cannot be read: each needs {', '.join(sorted(fields))}.")
    return rows


def rows_in(path: Path) -> Iterator[tuple[int, NativeItem]]:
    """The rows by their line numbers. Raises ExportError and RowError."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, row_in(line, number)
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} cannot be read: {error}.") from None


def pictures_in(folder: Path) -> Iterator[Incoming]:
    """The pictures of the export, byte for byte, so that their hashes stay the same. Raises ExportError."""
    if not (folder / PICTURES).exists():
        return
    for number, row in rows_in(folder / PICTURES):
        name = row.get("sha256") if isinstance(row, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[0-9a-f]{64}", name):
            raise ExportError(f"{PICTURES}, line {number}, names no picture: it needs a “sha256” of 64 digits.")
        path = folder / attachments.file_name(name)
        try:
            picture = as_kept(path.read_bytes())
        except (OSError, ImageError) as error:
            raise ExportError(f"The picture {path}: {error}") from None
        if picture.sha256 != name:
            raise ExportError(f"The picture {path} is not what its name says: export the project again.")
        yield Incoming(picture, str(row.get("original", ""))[:64], str(row.get("source", "")))


def row_in(line: str, number: int) -> NativeItem:
    try:
        return json.loads(line)
    except ValueError as error:
        raise RowError(number, f"the line is no JSON: {error}.") from None
