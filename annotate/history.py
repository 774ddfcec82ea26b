"""What somebody did last in a project: read only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Annotation, Assignment, Flag, Project, Question
from annotate.presenting.preference import LETTERS, WORDS
from annotate.questions import level_of_answer, scale_points
from annotate.templatetags import answers

MOST = 50


@dataclass(frozen=True)
class Done:
    """One item that somebody finished: their answer in words, as it was presented, and their flags on it."""

    assignment: Assignment
    said: str
    reason: str
    flags: list[Flag]


def finished(project: Project, user_id: int, most: int = MOST) -> list[Done]:
    """The user's last submitted and skipped items, the newest first; a fixed number of queries.

    The item that is held now is not among them, whatever was answered there before.
    """
    own = Assignment.objects.filter(rater__user=user_id, rater__project=project, finished_at__isnull=False)
    newest: list[Assignment] = []
    for state in (Assignment.SUBMITTED, Assignment.SKIPPED):  # each a range of one index
        rows = own.filter(state=state).select_related("item").defer("item__prompt", "item__metadata", "draft")
        newest += rows.order_by("-finished_at")[:most]
    shown = sorted(newest, key=attrgetter("finished_at"), reverse=True)[:most]
    said = answers_to(shown)
    flags = flags_on(shown)
    questions = list(project.questions.all())
    return [
        Done(
            assignment,
            words(said[assignment.item_id], questions, assignment.order) if assignment.item_id in said else "",
            said[assignment.item_id].reason if assignment.item_id in said else "",
            flags.get(assignment.item_id, []),
        )
        for assignment in shown
    ]


def answers_to(shown: Sequence[Assignment]) -> dict[int, Annotation]:
    """Item → the answer in force of the one person whose assignments these are."""
    if not shown:
        return {}
    items = [assignment.item_id for assignment in shown if assignment.state == Assignment.SUBMITTED]
    chain = Annotation.objects.filter(item__in=items, rater=shown[0].rater_id).order_by("revision")
    return {annotation.item_id: annotation for annotation in chain}  # the last revision wins


def flags_on(shown: Sequence[Assignment]) -> dict[int, list[Flag]]:
    """Item → the person's flags on it, the oldest first."""
    found: dict[int, list[Flag]] = {}
    if shown:
        items = [assignment.item_id for assignment in shown]
        for flag in Flag.objects.filter(item__in=items, rater=shown[0].rater_id).order_by("created_at"):
            found.setdefault(flag.item_id, []).append(flag)
    return found


def words(annotation: Annotation, questions: Sequence[Question], order: Sequence[int]) -> str:
    """Answers as the person gave them: A is what stood on the left. Each but a lone preference says its question."""
    given = [question for question in questions if annotation.answers.get(question.name) is not None]
    preferences = [question for question in questions if question.kind == Question.PREFERENCE]
    parts = []
    for question in given:
        said = in_words(annotation.answers[question.name], question, order)
        lone = preferences == [question]
        parts.append(said if lone else f"{question.title}: {said}")
    return " · ".join(parts)


def in_words(answer: Any, question: Question, order: Sequence[int]) -> str:
    if question.kind == Question.PREFERENCE:
        return preference(answer, question, order)
    shown = as_presented(answer, question, order)
    if question.kind == Question.RANKING:
        return answers.ranked(shown).upper()
    return (
        answers.answer(shown).upper() if question.kind in (Question.RATING, Question.STEP) else answers.answer(shown)
    )


def as_presented(answer: Any, question: Question, order: Sequence[int]) -> Any:
    """What is said of each response, in the order in which they stood on the screen."""
    if question.kind == Question.SPAN:
        return [{**passage, "response": order.index(passage["response"])} for passage in answer]
    by_response = isinstance(answer, list) and question.kind != Question.CHOICE and len(answer) == len(order)
    return [answer[position] for position in order] if by_response else answer


def preference(answer: Mapping[str, Any], question: Question, order: Sequence[int]) -> str:
    level = level_of_answer(dict(answer), question.config["points"], order)
    if level is None:
        return {"both_bad": _("Both bad"), "unsure": _("Cannot say")}.get(answer["choice"], str(answer["choice"]))
    if answer["choice"] in ("a", "b") and "strength" not in answer:  # an expected answer or a verdict, of any strength
        side = "left" if "ab"[order[0]] == answer["choice"] else "right"
        return _("%(letter)s is better") % {"letter": LETTERS[side].strip()}
    point = next(point for point in scale_points(question.config["points"]) if point["level"] == level)
    word, _spoken = WORDS[point["word"]]
    return f"{LETTERS[point['side']]} {word}".strip()
