"""What people's work costs: time and money for each person, each label and the project, over a span of time.

The sole writer of pay rates. Amounts follow from the hours that the worker keeps (`annotate.managing.workload`)
and the rates of now; nothing is paid out from here.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from annotate import audit, tallies
from annotate.models import Membership, Project, Rater, User, WorkHour

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Line:
    """One person's work: answers, active seconds, the rate that holds for them, and what it comes to."""

    rater: Rater
    member: Membership | None
    answers: int
    seconds: float
    rate: Decimal | None
    amount: Decimal | None

    @property
    def each(self) -> Decimal | None:
        return self.amount / self.answers if self.amount is not None and self.answers else None


def earned(unit: str, rate: Decimal | None, answers: int, seconds: float) -> Decimal | None:
    """What so much work comes to; None without a rate. 90 min at 20 an hour: 30.00."""
    if rate is None:
        return None
    units = Decimal(answers) if unit == Project.PER_ANSWER else Decimal(str(round(seconds, 3))) / 3600
    return (units * rate).quantize(CENT, ROUND_HALF_UP)


def since_of(name: str) -> datetime | None:
    """The start of a span: this month, the last 30 days; None is ever."""
    now = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return {"month": now.replace(day=1), "30": now - timedelta(days=30)}.get(name)


def lines(project: Project, since: datetime | None = None) -> list[Line]:
    """Everybody with an account who worked in the span, or has a rate of their own; those who did most first."""
    hours = WorkHour.objects.filter(rater__project=project, rater__user__isnull=False)
    if since is not None:
        hours = hours.filter(hour__gte=since)
    sums = hours.order_by().values("rater").annotate(n=Sum("answers"), time=Sum("seconds"))
    done = {row["rater"]: (row["n"], row["time"]) for row in sums}
    members = {member.user_id: member for member in Membership.objects.filter(project=project)}
    found = []
    for rater in Rater.objects.filter(pk__in=done).select_related("user"):
        member = members.get(rater.user_id or 0)
        own = member.pay_rate if member else None
        rate = own if own is not None else project.pay_rate
        answers, seconds = done[rater.pk]
        amount = earned(project.pay_unit, rate, answers, seconds)
        found.append(Line(rater, member, answers, seconds, rate, amount))
    return sorted(found, key=lambda line: (-line.answers, line.rater.name))


@dataclass(frozen=True)
class Total:
    """A project's work. A label is an item that people have labelled; those of a span cannot be told apart, so that
    time and money for a label are known over all time only."""

    answers: int
    seconds: float
    amount: Decimal | None
    labels: int

    @property
    def seconds_each(self) -> float | None:
        return self.seconds / self.labels if self.labels else None

    @property
    def amount_each(self) -> Decimal | None:
        return self.amount / self.labels if self.amount is not None and self.labels else None


def total(project: Project, found: Iterable[Line], *, is_all: bool) -> Total:
    rows = list(found)
    amounts = [line.amount for line in rows if line.amount is not None]
    labels = tallies.read(project.pk).get(tallies.LABELS["human"], 0) if is_all else 0
    return Total(
        sum(line.answers for line in rows),
        sum(line.seconds for line in rows),
        sum(amounts, Decimal(0)) if amounts else None,
        labels,
    )


def as_csv(project: Project, found: Iterable[Line]) -> str:
    """One row a person. A name that a spreadsheet would take for a formula gets an apostrophe in front."""
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(["rater", "answers", "active_seconds", "rate", "per", "amount", "currency"])
    for line in found:
        name = f"'{line.rater.name}" if line.rater.name[:1] in "=+-@\t\r" else line.rater.name
        rate = "" if line.rate is None else line.rate
        amount = "" if line.amount is None else line.amount
        row = [name, line.answers, f"{line.seconds:.1f}", rate, project.pay_unit, amount, project.currency]
        table.writerow(row)
    return file.getvalue()


@transaction.atomic
def change_rate(*, member: Membership, rate: Decimal | None, by: User) -> None:
    """A member's own rate; with None the project's holds."""
    old = Membership.objects.select_for_update().get(pk=member.pk).pay_rate
    Membership.objects.filter(pk=member.pk).update(pay_rate=rate)
    audit.record_change(
        project=member.project,
        by=by,
        kind="pay rate",
        object_id=member.pk,
        words=str(member.user),
        old={"rate": None if old is None else str(old)},
        new={"rate": None if rate is None else str(rate)},
    )
