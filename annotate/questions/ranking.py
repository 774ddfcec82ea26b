"""Ranking: two to ten responses in an order, ties allowed. 1 is the best; ranks are dense: 1, 2, 2, 3."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from annotate.questions.asking import AnswerError, Asked, Kind, Subject, check_names, per_response

MOST = 10


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`ties`: may responses share a rank."""
    check_names(config, "ties")
    return {"ties": bool(config.get("ties", True))}


def dense(ranks: Sequence[int]) -> list[int]:
    """The same order with no rank left out: 2, 5, 5 → 1, 2, 2."""
    places = {rank: place for place, rank in enumerate(sorted(set(ranks)), start=1)}
    return [places[rank] for rank in ranks]


def answer_of(question: Asked, answer: Any, subject: Subject) -> list[int]:
    """One rank for each response, dense."""
    if not 2 <= subject.responses <= MOST:
        raise AnswerError(
            _("“%(title)s” ranks 2 to %(most)s answers, but the item has %(answers)s.")
            % {"title": question.title, "most": MOST, "answers": subject.responses}
        )
    ranks = per_response(question, answer, subject)
    for rank in ranks:
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= subject.responses:
            raise AnswerError(
                _("“%(title)s”: %(rank)s is not a rank from 1 to %(answers)s.")
                % {"title": question.title, "rank": repr(rank), "answers": subject.responses}
            )
    if not question.config.get("ties", True) and len(set(ranks)) != len(ranks):
        raise AnswerError(
            _("“%(title)s” allows no ties: give each answer a rank of its own.") % {"title": question.title}
        )
    return dense(ranks)


KIND = Kind("ranking", config_of, answer_of, least=2, most=MOST)
