"""Signals on simulated raters, honest and not; what a suspicion does (nothing) and who decides."""

import random

import pytest
from django.urls import reverse

from annotate import queue
from annotate.models import Assignment, Membership, Rater, Suspicion, Trust
from annotate.quality import trust, watching
from annotate.submitting import submit_annotation
from tests import factories

SEED = 11
pure = pytest.mark.database_free


def flips(chance: float, n: int, seed: int = SEED) -> list[bool]:
    draw = random.Random(seed)
    return [draw.random() < chance for _ in range(n)]


@pure
def test_too_fast_is_below_three_seconds_reading_speed_or_the_projects_second_percentile():
    assert trust.fastest_fair(10, 0) == 3.0
    assert trust.fastest_fair(300, 0) == 20.0
    assert trust.fastest_fair(300, 25.0) == 25.0
    honest = trust.too_fast([(40.0, 300)] * 58 + [(10.0, 300)] * 2, 0)
    rushed = trust.too_fast([(40.0, 300)] * 30 + [(10.0, 300)] * 30, 0)
    assert (honest.value, honest.is_suspicious) == (pytest.approx(1 / 30), False)
    assert (rushed.value, rushed.is_suspicious) == (0.5, True)
    assert rushed.low == pytest.approx(0.377, abs=0.001)  # Wilson, 30 of 60
    assert trust.too_fast([(1.0, 300)] * 19, 0) is None
    assert trust.too_fast([(None, 300)] * 50, 0) is None


@pure
def test_the_second_percentile_needs_fifty_answers():
    assert trust.second_percentile([1.0] * 49) == 0
    assert trust.second_percentile([float(n) for n in range(100)]) == 2.0


@pure
def test_copied_reasons_are_found_whatever_their_case_and_stops():
    own = [f"The answer about topic {n} names point {n * 7} and {n * 13} of the question." for n in range(20)]
    assert not trust.copied_reasons(own).is_suspicious
    copied = trust.copied_reasons(
        ["A is clear and short, I like it."] * 10 + ["a is clear and SHORT - I like it"] * 10
    )
    assert (copied.value, copied.is_suspicious) == (0.95, True)
    assert trust.copied_reasons(["Good."] * 50) is None  # short words say the same without being copied


@pure
@pytest.mark.parametrize(("hits", "n", "probability"), [(5, 10, 1.0), (8, 10, 0.109375), (10, 10, 0.001953125)])
def test_the_exact_binomial(hits, n, probability):
    assert trust.two_sided(hits, n) == pytest.approx(probability)


@pure
def test_side_bias_takes_a_real_lean():
    assert not trust.side_bias(flips(0.5, 400)).is_suspicious
    assert trust.side_bias(flips(0.8, 100)).is_suspicious
    assert not trust.side_bias(flips(0.55, 2000)).is_suspicious  # certain, but small
    assert trust.side_bias([True] * 29) is None


@pure
def test_few_honest_raters_are_ever_suspected_of_a_side():
    assert sum(trust.side_bias(flips(0.5, 60, seed)).is_suspicious for seed in range(500)) <= 3


@pure
def test_straight_lining_needs_four_ratings_an_item():
    assert trust.straight_lining([[3, 3, 3, 3]] * 30).is_suspicious
    assert not trust.straight_lining([[3, 4, 3, 3]] * 25 + [[3, 3, 3, 3]] * 5).is_suspicious
    assert trust.straight_lining([[3, 3]] * 50) is None


@pure
def test_drift_is_a_drop_that_chance_does_not_make():
    dropped = trust.drift(flips(0.95, 100) + flips(0.4, 30, 3))
    assert dropped.is_suspicious
    assert dropped.low < dropped.value < dropped.high < -0.1
    assert not trust.drift(flips(0.8, 130)).is_suspicious
    assert not trust.drift(flips(0.4, 100) + flips(0.95, 30)).is_suspicious  # better is no alarm
    assert trust.drift([True] * 59) is None
    alarms = sum(trust.drift(flips(0.8, 130, seed)).is_suspicious for seed in range(300))
    assert alarms <= 6


@pure
def test_newcombes_interval_of_a_difference():
    """56/70 against 48/80 (Newcombe, 1998, table II, method 10)."""
    assert trust.difference(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pure
def test_gold_is_suspicious_once_the_whole_interval_lies_below():
    assert trust.gold([True] * 2 + [False] * 8).is_suspicious
    assert not trust.gold([True] * 6 + [False] * 4).is_suspicious
    assert trust.gold([False] * 4) is None
    assert trust.attention([False] * 3).is_suspicious


@pytest.fixture
def rushed(db, project, annotator):
    """Somebody who answered forty items in a second each, always the left one."""
    for _ in range(40):
        factories.item(project, responses=("word " * 200, "other " * 200))
        held = queue.next_assignment(user=annotator, project=project)
        choice = "ab"[held.order[0]]
        submit_annotation(assignment=held, answers={"preference": {"choice": choice}}, seconds=1.0)
    return Rater.objects.get(user=annotator)


def test_the_worker_opens_a_suspicion_once_and_does_nothing_else(project, rushed):
    assert watching.look(project) == 1
    assert set(Suspicion.objects.values_list("signal", "state")) == {("too_fast", "open"), ("side_bias", "open")}
    assert watching.look(project) == 0  # nothing was said since
    Trust.objects.update(newest=0)
    assert watching.look(project) == 1
    assert Suspicion.objects.count() == 2
    rushed.refresh_from_db()
    assert rushed.excluded_at is None
    assert not Membership.objects.filter(is_paused=True).exists()


def test_a_dismissed_one_needs_a_note_and_comes_again_only_with_much_more(project, rushed, reviewer, as_user):
    watching.look(project)
    row = Suspicion.objects.get(signal="too_fast")
    client, address = as_user(reviewer), reverse("trust_decide", args=[project.slug, row.pk])
    client.post(address, {"state": "dismissed"})
    row.refresh_from_db()
    assert row.state == "open"
    client.post(address, {"state": "dismissed", "note": "They had seen these before."})
    row.refresh_from_db()
    assert (row.state, row.decided_by) == ("dismissed", reviewer)
    Trust.objects.update(newest=0)
    watching.look(project)
    assert Suspicion.objects.filter(signal="too_fast").count() == 1
    Suspicion.objects.filter(pk=row.pk).update(n=20)
    Trust.objects.update(newest=0)
    watching.look(project)
    assert Suspicion.objects.filter(signal="too_fast", state="open").count() == 1
    page = client.get(reverse("trust", args=[project.slug])).content.decode()
    assert "They had seen these before." in page
    assert "answers faster than anybody can read" in page


def test_only_a_manager_pauses_and_the_pause_holds(project, rushed, reviewer, manager, annotator, as_user):
    watching.look(project)
    row = Suspicion.objects.get(signal="side_bias")
    address = reverse("trust_decide", args=[project.slug, row.pk])
    assert as_user(reviewer).post(address, {"state": "paused"}).status_code == 404
    as_user(manager).post(address, {"state": "paused"})
    factories.item(project)
    assert queue.next_assignment(user=annotator, project=project) is None
    assert not Assignment.objects.filter(state=Assignment.LEASED).exists()
