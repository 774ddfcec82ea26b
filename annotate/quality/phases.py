"""What an annotator goes through before the real queue: training with feedback, then the qualification quiz.

The sole writer of how far a member has come in it. Managers and reviewers go straight to the queue. A quiz that was
failed may be tried again as often as the project allows: the same items are asked anew, and each attempt's answers
are kept as revisions.
"""

import math
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from annotate import audit
from annotate.models import Assignment, Gold, GoldAnswer, Membership, Project, Rater, User
from annotate.quality import gold

REAL, TRAINING, QUIZ, FAILED = "real", "training", "quiz", "failed"
USES = {TRAINING: Gold.TRAINING, QUIZ: Gold.QUIZ}


def phase_of(member: Membership, project: Project) -> str:
    """Where the member stands; needs no query."""
    if member.role != Membership.ANNOTATOR:
        return REAL
    if project.has_training and member.trained_at is None:
        return TRAINING
    if project.has_quiz and member.quiz_state != Membership.PASSED:
        return FAILED if member.quiz_state == Membership.FAILED else QUIZ
    return REAL


def next_item(rater: Rater, phase: str) -> int | None:
    """The next training or quiz item that the rater has not answered, by position."""
    left = gold.unseen(rater, [USES[phase]]).order_by("position", "pk")
    return left.values_list("item", flat=True).first()


@transaction.atomic
def end(*, member: Membership, project: Project, rater: Rater, phase: str) -> None:
    """All of a phase's items are done: on to the next one, or the quiz's result."""
    if phase == TRAINING:
        member.trained_at = timezone.now()
        member.save(update_fields=["trained_at"])
        return
    asked = Gold.objects.filter(item__project=project, use=Gold.QUIZ).count()
    answers = GoldAnswer.objects.filter(rater=rater, gold__use=Gold.QUIZ, attempt=member.quiz_attempt)
    right = answers.filter(is_right=True).count()
    passed = right >= needed(project, asked)
    member.quiz_state = Membership.PASSED if passed else Membership.FAILED
    member.quiz_version, member.quiz_right, member.quiz_asked = project.guideline_version, right, asked
    member.quiz_ended = asked > 0  # an empty quiz is passed without a word
    member.save(update_fields=["quiz_state", "quiz_version", "quiz_right", "quiz_asked"])


def needed(project: Project, asked: int) -> int:
    """How many right answers pass a quiz of so many items. 80% of 7 is 6."""
    return math.ceil(asked * project.quiz_pass_mark / 100 - 1e-9)


def may_try_again(member: Membership, project: Project) -> bool:
    return member.quiz_state == Membership.FAILED and attempts_left(member, project) > 0


def attempts_left(member: Membership, project: Project) -> int:
    return max(0, project.quiz_attempts - (member.quiz_attempt - member.quiz_first + 1))


@transaction.atomic
def try_again(*, member: Membership, project: Project) -> bool:
    """Begin another attempt, if one is left; False otherwise."""
    locked = Membership.objects.select_for_update().get(pk=member.pk)
    if not may_try_again(locked, project):
        return False
    begin(locked, locked.quiz_attempt + 1)
    return True


@transaction.atomic
def reset(*, member: Membership, by: User | None) -> None:
    """Let a member take training and quiz from the start, with all attempts again; what they answered is kept."""
    locked = Membership.objects.select_for_update().get(pk=member.pk)
    locked.trained_at, locked.quiz_first = None, locked.quiz_attempt + 1
    locked.save(update_fields=["trained_at", "quiz_first"])
    begin(locked, locked.quiz_first, USES.values())
    audit.record(
        project=member.project, by=by, verb=audit.UNDONE, kind="quiz", object_id=member.pk, words=str(member.user)
    )
    member.refresh_from_db()


def begin(member: Membership, attempt: int, uses: Iterable[str] = (Gold.QUIZ,)) -> None:
    """The items are asked anew: they are open to the rater again, in the order in which they were shown."""
    own = Assignment.objects.filter(rater__user=member.user_id, rater__project=member.project_id)
    done = own.filter(item__gold__use__in=list(uses)).exclude(state=Assignment.EXCLUDED)
    done.update(state=Assignment.EXPIRED, draft={}, active_seconds=0.0)
    member.quiz_state, member.quiz_attempt, member.quiz_version = Membership.NOT_TAKEN, attempt, None
    member.quiz_right = member.quiz_asked = 0
    member.save(update_fields=["quiz_state", "quiz_attempt", "quiz_version", "quiz_right", "quiz_asked"])


def missed_in_quiz(member: Membership) -> list[GoldAnswer]:
    """What the member answered otherwise than expected in the attempt that runs or ran last."""
    given = GoldAnswer.objects.filter(
        rater__user=member.user_id, rater__project=member.project_id, gold__use=Gold.QUIZ, attempt=member.quiz_attempt
    )
    wrong = given.filter(is_right=False).select_related("gold__item", "annotation")
    return list(wrong.order_by("gold__position", "gold"))


def report(member: Membership, project: Project) -> dict[str, Any]:
    """The quiz's result in numbers."""
    return {
        "passed": member.quiz_state == Membership.PASSED,
        "right": member.quiz_right,
        "asked": member.quiz_asked,
        "needed": needed(project, member.quiz_asked),
        "pass_mark": project.quiz_pass_mark,
        "attempts_left": attempts_left(member, project),
        "may_try_again": may_try_again(member, project),
    }


def progress(rater_id: int | None, project: Project, phase: str) -> dict[str, Any]:
    """Which of how many items of a phase this is, for the strip; asked during the phase only."""
    items = Gold.objects.filter(item__project=project, use=USES[phase])
    finished = [Assignment.SUBMITTED, Assignment.SKIPPED]
    done = items.filter(item__assignments__rater=rater_id, item__assignments__state__in=finished).count()
    total = items.count()
    return {"phase": phase, "phase_at": min(done + 1, total), "phase_of": total}
