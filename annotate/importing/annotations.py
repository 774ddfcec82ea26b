"""The annotations in a native row: who said what, in which presented order, checked against the questions asked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotate.importing.errors import ItemError
from annotate.questions import AnswerError, Asked, Subject, check_answer

FIELDS = frozenset(
    {
        "rater", "kind", "order", "answers", "reason", "reference", "confidence", "seconds", "metadata",
        "id", "replaces", "guideline_version", "rubric_version", "submitted_at", "counted", "verdict",
    }
)  # fmt: skip
KINDS = ("human", "judge")
Earlier = Mapping[int, Mapping[str, Asked]]  # version of the rubric → its questions by name
NO_EARLIER: Earlier = {}
RATER_NAME = 200  # characters, as the table has them


@dataclass(frozen=True, slots=True)
class CheckedAnnotation:
    """One annotation as it will be stored. `revision` counts the edits before it; None is what was not said."""

    rater: str
    kind: str
    order: tuple[int, ...]
    answers: dict[str, Any]
    reason: str = ""
    reference: str = ""
    confidence: float | None = None
    seconds: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    guideline_version: int = 1
    rubric_version: int = 1
    submitted_at: datetime | None = None
    counted: bool = True
    verdict: str = ""  # of a reviewer: "in force" or "withdrawn"

    @property
    def place(self) -> tuple[str, str, tuple[int, ...], bool, int]:
        """What is unique within an item."""
        return self.kind, self.rater, self.order, bool(self.verdict), self.revision


def check_annotations(
    value: Any, asked: Mapping[str, Asked], subject: Subject, earlier: Earlier = NO_EARLIER
) -> tuple[CheckedAnnotation, ...]:
    """All annotations of a row; `subject` is its responses. Raises ItemError.

    An annotation that names an earlier rubric of `earlier` must fit the questions of that one.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ItemError("“annotations” is not a list: write it as [{…}, …].")
    revisions: dict[Any, int] = {}
    places: dict[tuple[str, str, tuple[int, ...], bool, int], None] = {}
    checked = []
    for row in value:
        version = row.get("rubric_version") if isinstance(row, dict) else None
        then = earlier.get(version, asked) if isinstance(version, int) else asked
        annotation = check_annotation(row, then, subject, revisions)
        if annotation.place in places:
            raise ItemError(f"{annotation.rater} answers twice in one order: keep one, or say which one it replaces.")
        places[annotation.place] = None
        if row.get("id") is not None:
            revisions[str(row["id"])] = annotation.revision
        checked.append(annotation)
    return tuple(checked)


def check_annotation(
    row: Any, asked: Mapping[str, Asked], subject: Subject, revisions: Mapping[str, int]
) -> CheckedAnnotation:
    """One annotation; `revisions` is the revision of those before it in the row, by their id."""
    if not isinstance(row, dict):
        raise ItemError('an annotation is not a JSON object: write {"rater": …, "answers": {…}}.')
    for name in row:
        if name not in FIELDS:
            raise ItemError(f"an annotation has a field “{name[:60]}”, which annotations do not have: remove it.")
    metadata = row.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise ItemError('the “metadata” of an annotation is not a JSON object: write it as {"name": value}.')
    return CheckedAnnotation(
        rater=rater_of(row.get("rater")),
        kind=kind_of(row.get("kind", "human")),
        order=order_of(row.get("order"), subject.responses),
        answers=answers_of(row.get("answers"), asked, subject),
        reason=text_of(row.get("reason"), "reason"),
        reference=text_of(row.get("reference"), "reference"),
        confidence=number_of(row.get("confidence"), "confidence", 1.0),
        seconds=number_of(row.get("seconds"), "seconds", math.inf),
        metadata=metadata or {},
        revision=revision_of(row.get("replaces"), revisions),
        guideline_version=version_of(row.get("guideline_version"), "guideline_version"),
        rubric_version=version_of(row.get("rubric_version"), "rubric_version"),
        submitted_at=moment_of(row.get("submitted_at")),
        counted=counted_of(row.get("counted", True)),
        verdict=verdict_of(row.get("verdict")),
    )


def rater_of(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > RATER_NAME:
        raise ItemError(f"an annotation has no rater: name one as text of {RATER_NAME} characters at most.")
    return value.strip()


def kind_of(value: Any) -> str:
    if value not in KINDS:
        raise ItemError(f"an annotation's kind is {str(value)[:40]!r}: use human or judge.")
    return str(value)


def order_of(value: Any, responses: int) -> tuple[int, ...]:
    """The presented order, left to right; where none is given, the stored one."""
    if value is None:
        return tuple(range(responses))
    whole = isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    if not whole or sorted(value) != list(range(responses)):
        wanted = ", ".join(str(n) for n in range(responses))
        raise ItemError(f"an annotation's “order” is {str(value)[:40]}: list each of {wanted} once.")
    return tuple(value)


def answers_of(value: Any, asked: Mapping[str, Asked], subject: Subject) -> dict[str, Any]:
    """Answers by question. Files may leave questions out; what they answer must fit."""
    if not isinstance(value, dict) or not value:
        raise ItemError('an annotation has no “answers”: write {"preference": {"choice": "a"}}.')
    checked = {}
    for name, answer in value.items():
        if name not in asked:
            known = ", ".join(asked) or "none"
            raise ItemError(f"the project asks no question “{name[:60]}” (it asks {known}): add it there, or rename.")
        try:
            checked[name] = check_answer(asked[name], answer, subject)
        except AnswerError as error:
            raise ItemError(str(error)) from None
    return checked


def text_of(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise ItemError(f"an annotation's “{name}” is not text: write it as text.")
    return str(value)


def number_of(value: Any, name: str, most: float) -> float | None:
    """A number from 0 to `most`; None where none is given."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value > 1e300:
        span = f"from 0 to {most:g}" if math.isfinite(most) else "of 0 or more"
        raise ItemError(f"an annotation's “{name}” is {str(value)[:40]}: write a number {span}.")
    return float(value)


def version_of(value: Any, name: str) -> int:
    """A version of the guidelines or the rubric; where none is given, the first."""
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise ItemError(f"an annotation's “{name}” is {str(value)[:40]}: write a whole number from 1.")
    return value


def moment_of(value: Any) -> datetime | None:
    """ISO 8601 with a time zone: 2025-01-31T09:30:00+00:00."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ItemError(f"“submitted_at” is {str(value)[:40]!r}: write it as 2025-01-31T09:30:00+00:00.")
    return moment


def counted_of(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ItemError(f"an annotation's “counted” is {str(value)[:40]!r}: write true or false.")
    return value


def revision_of(replaces: Any, revisions: Mapping[str, int]) -> int:
    if replaces is None:
        return 0
    if str(replaces) not in revisions:
        raise ItemError(f"an annotation replaces {str(replaces)[:40]!r}, which does not stand before it in the row.")
    return revisions[str(replaces)] + 1


def verdict_of(value: Any) -> str:
    if value not in (None, "", "in force", "withdrawn"):
        raise ItemError(f"an annotation's “verdict” is {str(value)[:40]!r}: write “in force” or “withdrawn”.")
    return str(value or "")
