"""A project whose pairs two judges have answered: a good one, and one that names the longer answer."""

import pytest

from annotate.models import Annotation, Item, Rater
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline.routing import adopting
from pipeline.routing.choosing.plans import plan_from
from tests import factories

LONG, SHORT = "Yes, and here is why, in many more words than that.", "No."


@pytest.fixture
def judged(project):
    """Makes pairs and lets judges answer them; the truth of pair n is "a" where n is even.

    The good judge is wrong on each fifth, the other says what is longer.
    """
    good, other = (factories.rater(project, name, kind=Rater.JUDGE) for name in ("good", "longer"))

    def make(count, **fields):
        items, rows = [], []
        for n in range(count):
            truth, wrong = "ab"[n % 2], "ba"[n % 2]
            responses = (LONG, SHORT) if n % 3 else (SHORT, LONG)
            items.append(
                factories.item(project, f"Question {n}?", responses, route="", overlap=0, slots_open=0, **fields)
            )
            votes = {good: wrong if n % 5 == 0 else truth, other: "a" if n % 3 else "b"}
            rows += [said(items[-1], judge, choice) for judge, choice in votes.items()]
        record_imported(project=project, rows=rows)
        return items

    return make


def said(item, rater, choice):
    return ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choice}})


@pytest.fixture
def answer(project):
    """Lets a person of a name answer items, as a file would."""

    def answered(items, choice="", name="mira"):
        rater = Rater.objects.filter(project=project, name=name).first() or factories.rater(project, name)
        numbers = {
            pk: n
            for n, pk in enumerate(Item.objects.filter(project=project).order_by("pk").values_list("pk", flat=True))
        }
        rows = [said(item, rater, choice or "ab"[numbers[item.pk] % 2]) for item in items]
        record_imported(project=project, rows=rows)
        return Annotation.objects.filter(rater=rater)

    return answered


@pytest.fixture
def adopt(project, admin):
    def adopted(**settings):
        return adopting.adopt(project=project, plan=plan_from(settings), by=admin)

    return adopted
