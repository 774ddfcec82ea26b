"""The questions of a project as they stand, remembered by each process while their version is in force.

Every change of a question makes a new version of the rubric (`annotate.projects`), so a version's questions never
change. What is remembered is shared between threads: read it, never write it.
"""

from datetime import datetime
from functools import lru_cache

from annotate.models import Project, Question


def questions_of(project: Project) -> list[Question]:
    """The project's questions in order; no query where this version was read before."""
    # The moment of its making tells a project from one in another database that had the same id.
    return list(of_version(project.pk, project.created_at, project.rubric_version))


@lru_cache(maxsize=256)
def of_version(project_id: int, _made: datetime, _version: int) -> tuple[Question, ...]:
    return tuple(Question.objects.filter(project=project_id))
