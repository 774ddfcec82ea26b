"""What work costs: by hour or by answer, by person, by label, as a table."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate import queue, tallies
from annotate.models import Membership, Project, Rater, WorkHour
from annotate.quality import pay
from tests import factories


@pytest.mark.database_free
@pytest.mark.parametrize(
    ("unit", "rate", "answers", "seconds", "amount"),
    [
        ("hour", "20", 10, 5400, "30.00"),
        ("hour", "20", 10, 1, "0.01"),
        ("answer", "0.25", 10, 5400, "2.50"),
        ("answer", "0.005", 1, 0, "0.01"),  # half a cent goes up
    ],
)
def test_what_work_comes_to(unit, rate, answers, seconds, amount):
    assert pay.earned(unit, Decimal(rate), answers, seconds) == Decimal(amount)
    assert pay.earned(unit, None, answers, seconds) is None


@pytest.fixture
def worked(db, project, annotator, second_annotator):
    """Mira: two hours now and one long ago; jonas: one hour now, at a rate of his own."""
    Project.objects.filter(pk=project.pk).update(pay_rate="15.00")
    Membership.objects.filter(user=second_annotator).update(pay_rate="30.00")
    now = timezone.now()
    for user, hours in ((annotator, ((now, 60, 7200), (now - timedelta(days=90), 20, 3600))),
                        (second_annotator, ((now, 20, 3600),))):  # fmt: skip
        rater = queue.rater_for(user=user, project=project)
        for hour, answers, seconds in hours:
            WorkHour.objects.create(rater=rater, hour=hour, answers=answers, seconds=seconds)
    tallies.add(project_id=project.pk, counts={"labels_human": 50})
    project.refresh_from_db()
    return project


def test_each_person_has_the_rate_that_holds_for_them(worked):
    mira, jonas = pay.lines(worked)
    assert (mira.answers, mira.amount, jonas.answers, jonas.amount) == (80, Decimal("45.00"), 20, Decimal("30.00"))
    assert mira.each == Decimal("45.00") / 80
    found = pay.total(worked, [mira, jonas], is_all=True)
    assert (found.amount, found.amount_each, found.seconds_each) == (Decimal("75.00"), Decimal("1.5"), 288)


def test_a_span_leaves_out_what_lies_before_it(worked):
    assert [line.answers for line in pay.lines(worked, pay.since_of("30"))] == [60, 20]
    assert pay.since_of("nonsense") is None


def test_judges_and_names_from_files_are_paid_nothing(worked):
    for kind in (Rater.HUMAN, Rater.JUDGE):
        other = factories.rater(worked, name=f"other-{kind}", kind=kind)
        WorkHour.objects.create(rater=other, hour=timezone.now(), answers=9, seconds=9)
    assert len(pay.lines(worked)) == 2


def test_a_manager_sets_rates_and_takes_the_table_along(worked, manager, annotator, as_user):
    client = as_user(manager)
    client.post(reverse("pay", args=[worked.slug]), {"pay_rate": "0.50", "pay_unit": "answer", "currency": "USD"})
    member = Membership.objects.get(user=annotator)
    client.post(reverse("pay_rate", args=[worked.slug, member.pk]), {"rate": "0.60"})
    client.post(reverse("pay_rate", args=[worked.slug, member.pk]), {"rate": "-1"})
    page = client.get(reverse("pay", args=[worked.slug])).content.decode()
    assert "48.00" in page
    text = client.get(reverse("pay_table", args=[worked.slug])).content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["rater"], row["answers"], row["amount"], row["currency"]) for row in rows] == [
        ("mira", "80", "48.00", "USD"),
        ("jonas", "20", "600.00", "USD"),
    ]
    client.post(reverse("pay_rate", args=[worked.slug, member.pk]), {"rate": ""})
    assert Membership.objects.get(user=annotator).pay_rate is None


def test_a_name_is_no_formula_in_a_spreadsheet(worked):
    Rater.objects.filter(name="mira").update(name="=1+1")
    assert "'=1+1,80" in pay.as_csv(worked, pay.lines(worked))
