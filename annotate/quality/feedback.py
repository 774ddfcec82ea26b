"""What a training or quiz item teaches: what was said, what was expected, and why. Read only."""

from dataclasses import dataclass

from annotate.models import Assignment, Gold, GoldAnswer, Item, Membership, Project, Question
from annotate.quality import phases
from annotate.quality.answering import in_words


@dataclass(frozen=True)
class Lesson:
    """One answer beside the expected one, in words, as the item was presented."""

    title: str
    is_right: bool
    said: str
    expected: str
    explanation: str
    missed: list[str]


def of_training(assignment: Assignment) -> Lesson | None:
    """What the rater learns from their answer to a training item; None for any other item."""
    if assignment.item.state != Item.GOLD:
        return None
    given = GoldAnswer.objects.filter(
        gold__item=assignment.item_id, gold__use=Gold.TRAINING, rater=assignment.rater_id
    )
    latest = given.select_related("gold__item", "annotation").order_by("-attempt").first()
    questions = list(assignment.item.project.questions.all()) if latest else []
    return lesson(latest, questions) if latest else None


def of_quiz(member: Membership, project: Project) -> list[Lesson]:
    """What was missed in the quiz."""
    questions = list(project.questions.all())
    return [lesson(given, questions) for given in phases.missed_in_quiz(member)]


def lesson(given: GoldAnswer, questions: list[Question]) -> Lesson:
    gold, order = given.gold, given.annotation.order
    return Lesson(
        title=gold.item.title,
        is_right=given.is_right,
        said=in_words(given.annotation.answers, questions, order),
        expected=in_words(gold.answers, questions, order),
        explanation=gold.explanation,
        missed=[question.title for question in questions if question.name in given.missed],
    )
