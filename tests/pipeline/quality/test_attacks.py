"""Attacks: asked through the endpoint with exact money, counted by kind, and what follows for the judge."""

import json
from collections import Counter

import pytest
from django.db.models import Sum

from annotate.models import Annotation, Item
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline.judging import judge_items, setup
from pipeline.models import Block, Calibration, Judge, Route, Study, StudyCall
from pipeline.quality import attacks, measuring, probes, rounds, studies
from pipeline.routing import audit_draw
from tests import factories
from tests.pipeline.judge_server import Answer, error, says, shown

pytestmark = pytest.mark.django_db
PRICE = 210_000_000  # 100 tokens at 1.5 and 10 at 6 per million
FEW = {key: probe for key, probe in probes.PROBES.items() if key.endswith(("/0", "/1"))}  # two of each kind
QUESTIONS = 2 * len(FEW)


@pytest.fixture
def judge(project, server, quick, monkeypatch):
    monkeypatch.setattr(rounds, "BACKOFF", 0.01)
    monkeypatch.setattr(probes, "PROBES", FEW)
    return setup.create_endpoint_judge(
        project=project, name="careful", base_url=server.url, model="careful-1",
        price_input="1.5", price_output="6", timeout_seconds=30, concurrency=8,
    )  # fmt: skip


def good_in(request):
    """Where the good answer stands: A or B."""
    good = {answer for _, answer, _ in probes.QUESTIONS}
    return next(letter for letter in "AB" if shown(request)[letter] in good)


def other(letter):
    return "AB"[letter == "A"]


def sees_through(request):
    return Answer(says(good_in(request)))


def money(judge):
    judge.refresh_from_db()
    return judge.spent_units, judge.reserved_units, judge.unknown_units


def run(study):
    return rounds.run_study(study=study, kind=attacks.KIND, seconds=60)


@pytest.mark.database_free
def test_every_kind_of_attack_stands_in_both_orders_and_names_its_own_letter():
    assert set(probes.KINDS) == {
        "empty", "symbol", "opener", "step by step", "flattery", "instructions", "padding", "references",
    }  # fmt: skip
    assert Counter(probe.kind for probe in probes.PROBES.values()) == dict.fromkeys(probes.KINDS, 6)
    probe = probes.PROBES["instructions/0"]
    assert '"verdict": "A"' in probe.attack(0)
    assert '"verdict": "B"' in probe.attack(1)
    assert len(probes.PROBES["padding/0"].attack(0)) > 3 * len(probes.PROBES["padding/0"].good)


@pytest.mark.database_free
def test_both_orders_of_a_probe_are_one_witness():
    found = probes.summary([("empty/0", 1.0), ("empty/1", 0.0), ("opener/0", 0.5)])
    assert (found["share"], found["n"]) == (0.5, 3)
    assert (found["kinds"]["empty"]["share"], found["kinds"]["opener"]["n"]) == (0.5, 1)
    # Wilson for 1.5 of 3
    assert (found["low"], found["high"]) == pytest.approx((0.1253, 0.8747), abs=1e-4)


def test_a_judge_that_sees_through_all_of_them(judge, server, admin):
    server.respond = sees_through
    study = attacks.start(judge=judge, by=admin)
    assert run(study) == {"pending": 0, "answered": QUESTIONS, "unparsable": 0, "failed": 0}
    study.refresh_from_db()
    assert (study.state, study.result["share"], study.result["n"]) == (Study.DONE, 0.0, 16)
    assert study.result["high"] == pytest.approx(0.1936, abs=1e-4)  # Wilson for 0 of 16
    assert money(judge) == (QUESTIONS * PRICE, 0, 0)
    assert study.calls.aggregate(cost=Sum("cost_units"))["cost"] == QUESTIONS * PRICE
    assert len({json.dumps(shown(request), sort_keys=True) for request in server.requests}) == QUESTIONS
    assert not Annotation.objects.exists()
    assert not Item.objects.exists()


def test_the_share_that_fools_is_counted_by_kind_and_blocks_the_judge(judge, server, admin, project):
    def respond(request):
        fooled = "lucky we are" in shown(request)[other(good_in(request))]
        return Answer(says(other(good_in(request)) if fooled else good_in(request)))

    server.respond = respond
    study = attacks.start(judge=judge, by=admin)
    run(study)
    study.refresh_from_db()
    assert study.result["share"] == 2 / 16
    assert {kind for kind, found in study.result["kinds"].items() if found["share"]} == {"flattery"}
    judge.refresh_from_db()
    assert (judge.state, Block.objects.get().study) == (Judge.STOPPED, study)
    assert "12.5% of the attacks fooled it, and the project lets 2% pass" in judge.message

    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    Route.objects.create(item=item, decision="judge", reason="x", propensity=1.0, policy="p", policy_version="1")
    served = server.served
    server.respond = lambda request: Answer()
    assert judge_items(judge=judge, again=True)["asked"] == 0  # pressing “Judge now” does not help
    assert server.served == served
    attacks.set_limit(project=project, percent=20, blocks=True, automatic=False, by=admin)
    assert judge_items(judge=judge)["answered"] == 2


def test_a_tie_with_an_attack_is_half_fooled_and_an_unreadable_reply_is_not(judge, server, admin):
    def respond(request):
        attack = shown(request)[other(good_in(request))]
        return Answer(says("tie") if attack == ":" else "A is better" if attack == "" else says(good_in(request)))

    server.respond = respond
    study = attacks.start(judge=judge, by=admin)
    run(study)
    study.refresh_from_db()
    assert (study.result["kinds"]["symbol"]["share"], study.result["unparsable"]) == (0.5, 4)
    assert "empty" not in study.result["kinds"]
    assert server.served == QUESTIONS + 4  # unreadable ones are asked for once more


def test_another_prompt_is_tried_anew_and_lets_a_blocked_judge_go(judge, server, admin, project):
    server.respond = lambda request: Answer(says(other(good_in(request))))
    run(attacks.start(judge=judge, by=admin))
    assert Block.objects.exists()
    Judge.objects.filter(pk=judge.pk).update(prompt_version="prompt-2")
    attacks.look(project)
    judge.refresh_from_db()
    assert (judge.state, judge.message, attacks.newest(judge)) == (Judge.READY, "", None)
    assert Study.objects.count() == 1
    attacks.set_limit(project=project, percent=2, blocks=True, automatic=True, by=admin)
    attacks.look(project)
    attacks.look(project)
    assert [study.evaluator for study in Study.objects.order_by("pk")] == [
        "careful-1 · pairwise-1",
        "careful-1 · prompt-2",
    ]


@pytest.mark.slow
def test_the_cap_holds_and_the_study_goes_on_once_it_is_raised(judge, server, admin):
    server.respond = sees_through
    Judge.objects.filter(pk=judge.pk).update(spend_cap="0.006")
    study = attacks.start(judge=judge, by=admin)
    run(study)
    study.refresh_from_db()
    judge.refresh_from_db()
    assert (study.state, judge.reserved_units, judge.unknown_units) == (Study.STOPPED, 0, 0)
    assert "The spend cap of 0.0060 is reached" in study.message
    assert 0 < judge.spent_units <= 6_000_000_000
    assert judge.spent_units == server.served * PRICE
    Judge.objects.filter(pk=judge.pk).update(spend_cap="1")
    studies.go_on(study=study, by=admin)
    assert run(study)["answered"] == QUESTIONS
    assert money(judge) == (QUESTIONS * PRICE, 0, 0)  # nothing was asked twice


def test_what_a_dead_worker_had_reserved_is_booked_as_unknown_and_asked_again(judge, server, admin):
    server.respond = sees_through
    study = attacks.start(judge=judge, by=admin)
    assert studies.take_lease(study.pk)
    assert studies.take_lease(study.pk) is None
    Judge.objects.filter(pk=judge.pk).update(reserved_units=7_000)
    Study.objects.filter(pk=study.pk).update(reserved_units=7_000, lease_until=study.created_at)
    assert run(study)["answered"] == QUESTIONS
    assert money(judge) == (QUESTIONS * PRICE, 0, 7_000)


@pytest.mark.slow
def test_an_endpoint_that_misbehaves_costs_no_more_and_ends_in_a_clear_state(judge, server, admin):
    good = Answer(says("A"))
    server.script(
        error(500, "oops"), error(429, "slow down", headers={"retry-after": "0"}), Answer(cut=True),
        error(400, "Unsupported parameter: 'logprobs'", param="logprobs"), then=good,
    )  # fmt: skip
    Judge.objects.filter(pk=judge.pk).update(concurrency=1)
    study = attacks.start(judge=Judge.objects.get(pk=judge.pk), by=admin)
    assert run(study)["answered"] == QUESTIONS
    spent, reserved, unknown = money(judge)
    assert (spent, reserved) == (QUESTIONS * PRICE, 0)
    assert unknown > 0  # the reply that was cut may have been paid
    assert judge.dialect == {"logprobs": None}
    server.respond = lambda request: error(401, "wrong key")
    Study.objects.all().delete()
    study = attacks.start(judge=judge, by=admin)
    run(study)
    study.refresh_from_db()
    assert study.state == Study.STOPPED
    assert "wrong key" in study.message
    assert StudyCall.objects.filter(study=study, state=StudyCall.PENDING).count() == QUESTIONS


@pytest.mark.slow
def test_what_is_drawn_is_asked_and_measures_the_judge(judge, server, admin, project):
    """From items that people have labelled to a calibration, without anybody else being asked."""
    person = factories.rater(project, "pia")
    items = [factories.item(project, responses=("It is salty.", "It is sweet."), route="") for _ in range(24)]
    answer = {"preference": {"choice": "a", "strength": 1}}
    record_imported(project=project, rows=[ImportedAnnotation(item.pk, person, [0, 1], answer) for item in items])
    assert audit_draw.draw_items(project=project, rater=judge.rater, count=22, by=admin) == 22
    server.respond = lambda request: Answer(says("A" if "salty" in shown(request)["A"] else "B"))
    assert judge_items(judge=judge)["answered"] == 44
    report = measuring.measure(judge.rater).report
    assert (report["audits"]["sources"], report["accuracy"]["share"]) == ({"drawn": 22}, 1.0)
    assert Calibration.objects.get().fitted_on["sided"] == 22
    assert {item.slots_open for item in Item.objects.all()} == {0}


def test_only_one_trial_at_a_time_and_only_of_endpoints(judge, admin):
    attacks.start(judge=judge, by=admin)
    with pytest.raises(studies.StudyError, match="under way already"):
        attacks.start(judge=judge, by=admin)
    Judge.objects.filter(pk=judge.pk).update(kind=Judge.LOCAL)
    judge.refresh_from_db()
    with pytest.raises(studies.StudyError, match="behind an endpoint"):
        attacks.start(judge=judge, by=admin)
