"""A judge and people who answered the same items, and how the items came to them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate.models import Annotation, Rater
from pipeline.models import Route
from tests import factories
from tests.pipeline import stand_ins

NOW = timezone.now() - timedelta(days=1)  # old enough to be settled


@pytest.fixture
def judge(project):
    return stand_ins.judge(project, model="careful-1")


@pytest.fixture
def person(project):
    return factories.rater(project, "pia")


@pytest.fixture
def said(judge):
    """Keep what a rater says of an item: straight in the table, at a time."""

    def say(rater, item, choice, *, order="0-1", confidence=None, at=NOW, prompt="", model="careful-1"):
        judged = rater.kind == Rater.JUDGE
        metadata = {"model": model, "prompt_version": prompt or judge.prompt_version} if judged else {}
        return Annotation.objects.create(
            item=item, rater=rater, order=[int(place) for place in order.split("-")], order_key=order,
            answers={"preference": {"choice": choice}}, confidence=confidence, metadata=metadata, submitted_at=at,
        )  # fmt: skip

    return say


@pytest.fixture
def audited(project, judge, person, said):
    """Items that a draw brought to both: people say `people`, the judge says `judged` in both orders."""

    def make(count, people="a", judged="a", *, confidence=None, propensity=0.1, policy="fixed_share", at=NOW, **more):
        items = []
        for _ in range(count):
            item = factories.item(project, route="both", overlap=1, slots_open=0)
            if policy:
                Route.objects.create(
                    item=item, decision="both", reason="x", propensity=propensity, policy=policy, policy_version="1"
                )
            said(person, item, people, at=at)
            for order in ("0-1", "1-0"):
                said(
                    judge.rater, item, judged, order=order, confidence=confidence, at=at + timedelta(minutes=1), **more
                )
            items.append(item)
        return items

    return make
