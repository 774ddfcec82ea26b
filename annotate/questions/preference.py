"""Preference: which of two responses is better, by how much, or neither. How its scale maps onto stored order.

Answers are always in stored order (`a` is the first response, `b` the second); only the scale that a person
presses is in presented order. A project may ask several, each on one `criterion`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import (
    AnswerError,
    Asked,
    Kind,
    QuestionError,
    Subject,
    check_names,
    whole_number,
    words,
)

CHOICES = ("a", "b", "tie", "both_bad", "unsure", "unparsable")
SILENT = frozenset({"unsure", "unparsable"})  # recorded, but not votes


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`points` 2 to 9; an even number has no tie. `tie`, `both_bad`, `unsure` say which ways out are offered.

    `criterion` says what is compared, where it is not the whole: “which is safer”. `reasons` are kept for files.
    """
    check_names(config, "points", "tie", "both_bad", "unsure", "reasons", "criterion")
    points = whole_number(config, "points", 7, 2, 9)
    tie = bool(config.get("tie", points % 2 == 1))
    if tie and points % 2 == 0:
        raise QuestionError(f"A scale of {points} points has no middle: choose an odd number of points, or no tie.")
    return {
        "points": points,
        "tie": tie,
        "both_bad": bool(config.get("both_bad", True)),
        "unsure": bool(config.get("unsure", False)),
        "criterion": str(config.get("criterion", "")).strip(),
        "reasons": words(config, "reasons", 40, 80),
    }


def steps(points: int) -> int:
    """How many steps of strength a scale has on either side of its centre."""
    return points // 2


def answer_of(question: Asked, answer: Any, subject: Subject) -> dict[str, Any]:
    if not isinstance(answer, Mapping) or answer.get("choice") not in CHOICES:
        raise AnswerError(
            _("“%(title)s”: choose one of %(options)s.") % {"title": question.title, "options": ", ".join(CHOICES)}
        )
    if subject.responses != 2:
        raise AnswerError(
            _("“%(title)s” compares two answers, but the item has %(answers)s.")
            % {"title": question.title, "answers": subject.responses}
        )
    choice, strength = answer["choice"], answer.get("strength")
    if choice not in ("a", "b") or strength is None:
        return {"choice": choice}
    most = steps(question.config.get("points", 7))
    if isinstance(strength, bool) or not isinstance(strength, int) or not 1 <= strength <= most:
        raise AnswerError(
            _("“%(title)s”: the strength is %(strength)s, and must be from 1 to %(most)s.")
            % {"title": question.title, "strength": repr(strength), "most": most}
        )
    return {"choice": choice, "strength": strength}


def answer_at_level(level: int, points: int, order: Sequence[int]) -> dict[str, Any]:
    """What pressing point `level` (1 is the left end) of a scale means in stored order.

    `order` is the presented order, left to right. Level 6 of 7 shown as [1, 0]: the right one, so `a`, strength 2.
    """
    if not 1 <= level <= points:
        raise AnswerError(
            _("%(level)s is not a point of a scale from 1 to %(points)s.") % {"level": level, "points": points}
        )
    centre = (points + 1) / 2
    if level == centre:
        return {"choice": "tie"}
    shown = order[0] if level < centre else order[1]
    distance = abs(level - centre)
    return {"choice": "ab"[shown], "strength": int(distance + 0.5)}


def level_of_answer(answer: Mapping[str, Any], points: int, order: Sequence[int]) -> int | None:
    """The point of the scale that shows this answer; None where the scale has no point for it."""
    choice = answer.get("choice")
    if choice == "tie":
        return (points + 1) // 2 if points % 2 else None
    if choice not in ("a", "b"):
        return None
    distance = int(answer.get("strength") or 1)
    left = "ab"[order[0]] == choice
    centre = (points + 1) / 2
    away = distance if points % 2 else distance - 0.5
    return int(centre - away) if left else int(centre + away)


SCALE_WORDS = ["slightly", "clearly", "much", "very much"]


def scale_points(points: int) -> list[dict[str, Any]]:
    """The points of a preference scale from left to right: number, word, and which side it favours."""
    centre = (points + 1) / 2
    shown = []
    for level in range(1, points + 1):
        distance = int(abs(level - centre) + 0.5) if level != centre else 0
        side = "" if not distance else ("left" if level < centre else "right")
        word = "equal" if not distance else ("better" if points < 4 else SCALE_WORDS[distance - 1])
        shown.append({"level": level, "word": word, "side": side})
    return shown


KIND = Kind("preference", config_of, answer_of, least=2, most=2)
