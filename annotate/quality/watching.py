"""The worker's look at how people answer: the sole writer of Trust and Suspicion. A suspicion waits for a person."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, Subquery, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotate import audit, members
from annotate.models import (
    Annotation,
    Gold,
    GoldAnswer,
    Label,
    Membership,
    Project,
    Question,
    Rater,
    Response,
    Suspicion,
    Trust,
    User,
)
from annotate.quality import own, trust
from annotate.quality.gold import MIXED_IN

LOOKED_AT = 500  # of a rater's last annotations
AGAIN = 1.5  # a signal that was decided on comes up again once it rests on so many times as many answers

WORDS = {
    trust.FAST: _("answers faster than anybody can read"),
    trust.COPIED: _("reasons repeat earlier ones"),
    trust.SIDE: _("choices that fall on the left side"),
    trust.FLAT: _("items rated with one and the same number"),
    trust.DRIFT: _("recent answers against those before: how many more agree"),
    trust.GOLD: _("gold items answered as expected"),
    trust.ATTENTION: _("attention checks answered as expected"),
}


class SuspicionError(Exception):
    """A suspicion cannot be decided as asked; the message says why."""


# --- Looking --------------------------------------------------------------------------------------------------


def look(project: Project) -> int:
    """Compute the signals of everybody who has said something since; returns of how many."""
    people = Rater.objects.filter(project=project, kind=Rater.HUMAN, excluded_at=None)
    last = Annotation.objects.filter(rater=OuterRef("pk")).order_by("-submitted_at").values("pk")[:1]
    newest = dict(people.annotate(newest=Subquery(last)).exclude(newest=None).values_list("pk", "newest"))
    known = dict(Trust.objects.filter(rater__in=newest).values_list("rater", "newest"))
    due = [pk for pk, last_seen in newest.items() if known.get(pk) != last_seen]
    if not due:
        return 0
    asked = list(project.questions.all())
    times = Annotation.objects.filter(rater__project=project, rater__kind=Rater.HUMAN, seconds__isnull=False)
    seconds = times.order_by("-pk").values_list("seconds", flat=True)[:2000]
    percentile = trust.second_percentile([each for each in seconds if each is not None])
    for pk in due:
        keep(pk, newest[pk], signals(pk, asked, percentile), agreement(pk, project))
    return len(due)


def signals(rater_id: int, asked: Sequence[Question], percentile: float) -> list[trust.Signal]:
    """All signals that a rater's last answers are enough for."""
    fields = ("item", "order", "answers", "reason", "seconds")
    mine = Annotation.objects.filter(rater=rater_id, replaced_by=None)
    said = list(mine.order_by("-pk").values_list(*fields)[:LOOKED_AT])[::-1]
    items = [row[0] for row in said]
    counts = Response.objects.filter(item__in=items).order_by().values_list("item")
    words = dict(counts.annotate(total=Sum("words")))
    known = GoldAnswer.objects.filter(rater=rater_id, gold__use__in=MIXED_IN).order_by("answered_at")
    right = list(known.values_list("annotation__item", "is_right", "gold__use"))
    found = [
        trust.too_fast([(seconds, words.get(item, 0)) for item, *_rest, seconds in said], percentile),
        trust.copied_reasons([reason for *_rest, reason, _seconds in said]),
        trust.side_bias(lefts(said, asked)),
        trust.straight_lining([numbers(answers, asked) for _item, _order, answers, *_rest in said]),
        trust.drift(in_time(said, asked, {item: is_right for item, is_right, _use in right})),
        trust.gold([is_right for _item, is_right, use in right if use == Gold.MIXED]),
        trust.attention([is_right for _item, is_right, use in right if use == Gold.ATTENTION]),
    ]
    return [signal for signal in found if signal is not None]


def agreement(rater_id: int, project: Project) -> tuple[int, int]:
    """How many of a rater's answers say what a label says in which others had a voice, and of how many."""
    alike = own.agreed(own.newest_of(rater_id), project)
    return sum(alike.values()), len(alike)


def lefts(said: Iterable[Sequence[Any]], asked: Iterable[Question]) -> list[bool]:
    names = [question.name for question in asked if question.kind == Question.PREFERENCE][:1]
    sides = [
        trust.chose_left(answers.get(name), order) for _item, order, answers, *_rest in said if order for name in names
    ]
    return [side for side in sides if side is not None]


def numbers(answers: dict[str, Any], asked: Iterable[Question]) -> list[float]:
    """All ratings of one annotation."""
    given = [answers.get(question.name) or [] for question in asked if question.kind == Question.RATING]
    return [rating for ratings in given for rating in ratings if rating is not None]


def in_time(said: Sequence[Sequence[Any]], asked: Sequence[Question], gold: dict[int, bool]) -> list[bool]:
    """In order of time: was it as expected on gold, or as the label says where somebody else had a voice in it?"""
    question = next((each for each in asked if each.kind == Question.PREFERENCE), None)
    items = [row[0] for row in said]
    labels = (
        Label.objects.filter(item__in=items, question=question, votes__gte=2) if question else Label.objects.none()
    )
    values = dict(labels.values_list("item", "value"))
    found = []
    for item, _order, answers, *_rest in said:
        if item in gold:
            found.append(gold[item])
        elif item in values and question and answers.get(question.name):
            found.append(answers[question.name].get("choice") == values[item])
    return found


@transaction.atomic
def keep(rater_id: int, newest: int, found: Sequence[trust.Signal], alike: tuple[int, int]) -> None:
    """Keep the signals, and open a suspicion for each suspicious one that nobody has decided on lately."""
    values = {
        "signals": [asdict(signal) for signal in found],
        "newest": newest,
        "agreed": alike[0],
        "shared": alike[1],
        "computed_at": timezone.now(),
    }
    Trust.objects.update_or_create(rater_id=rater_id, defaults=values)
    for signal in found:
        last = Suspicion.objects.filter(rater=rater_id, signal=signal.name).first()
        is_new = last is None or (last.state != Suspicion.OPEN and signal.n >= AGAIN * last.n)
        if signal.is_suspicious and is_new:
            Suspicion.objects.create(
                rater_id=rater_id,
                signal=signal.name,
                value=signal.value,
                low=signal.low,
                high=signal.high,
                n=signal.n,
                threshold=signal.threshold,
            )


# --- Deciding -------------------------------------------------------------------------------------------------


@transaction.atomic
def restore(*, rows: Iterable[Suspicion]) -> None:
    """The suspicions of an export, decided ones too."""
    Suspicion.objects.bulk_create(rows)


def decide(*, suspicion: Suspicion, by: User, state: str, note: str = "") -> None:
    """A person's decision. Pausing also pauses the member. Raises SuspicionError."""
    if state == Suspicion.DISMISSED and not note.strip():
        raise SuspicionError("Say in a note why it is nothing: the next one who looks will want to know.")
    still_open = Suspicion.objects.filter(pk=suspicion.pk, state=Suspicion.OPEN)
    if not still_open.update(state=state, note=note[:500], decided_by=by, decided_at=timezone.now()):
        raise SuspicionError("Somebody else has decided on this one meanwhile.")
    rater = suspicion.rater
    if state == Suspicion.PAUSED:
        pause(rater, by)
    audit.record(
        project=rater.project, by=by, verb=audit.CHANGED, kind="suspicion", object_id=suspicion.pk, words=rater.name,
        before={"signal": suspicion.signal}, after={"state": state, "note": note},
    )  # fmt: skip


def close_as_excluded(*, rater: Rater, by: User, note: str) -> None:
    """The suspicions about somebody whose answers were left out are decided by that."""
    waiting = Suspicion.objects.filter(rater=rater, state=Suspicion.OPEN)
    waiting.update(state=Suspicion.EXCLUDED, note=note[:500], decided_by=by, decided_at=timezone.now())


def pause(rater: Rater, by: User) -> None:
    member = Membership.objects.filter(project=rater.project_id, user=rater.user_id).first()
    if member is None:
        raise SuspicionError(f"{rater} is no member now, so there is nobody to pause.")
    members.change_work(
        membership=member,
        skills=member.skills,
        is_paused=True,
        daily_quota=member.daily_quota,
        total_quota=member.total_quota,
        by=by,
    )


def suspicions(project: Project, most: int = 100) -> dict[str, list[dict[str, Any]]]:
    """Those that wait, and those decided last, each with what it says in words."""
    found = Suspicion.objects.filter(rater__project=project).select_related("rater", "decided_by")
    waiting = found.filter(state=Suspicion.OPEN)[:most]
    decided = found.exclude(state=Suspicion.OPEN).order_by("-decided_at")[:20]
    return {"waiting": [described(row) for row in waiting], "decided": [described(row) for row in decided]}


def described(row: Suspicion) -> dict[str, Any]:
    return {"row": row, "words": WORDS.get(row.signal, row.signal), "is_difference": row.signal == trust.DRIFT}


def table(project: Project) -> list[dict[str, Any]]:
    """Everybody's signals by name, for the page."""
    rows = Trust.objects.filter(rater__project=project).select_related("rater").order_by("rater__name")
    return [
        {
            "rater": row.rater,
            "at": row.computed_at,
            "signals": [{**signal, "words": WORDS.get(signal["name"], signal["name"])} for signal in row.signals],
        }
        for row in rows
    ]
