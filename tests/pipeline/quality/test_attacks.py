"""Attacks: asked through the endpoint with exact money, counted by kind, and what follows for the judge."""

import json
from collections import Counter
from pathlib import Path

import pytest
from django.db.models import Sum
from django.urls import reverse

from annotate.models import Annotation, Item, Label
from annotate.quality import exclusion
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline import demo, outcomes
from pipeline.judging import judge_items, setup
from pipeline.models import Block, Calibration, Judge, Route, Run, Study, StudyCall
from pipeline.quality import attacks, audits, measuring, probes, rounds, studies
from pipeline.routing import audit_draw
from tests import factories
from tests.pipeline import stand_ins
from tests.pipeline.judge_server import Answer, error, says, shown

pytestmark = [pytest.mark.django_db, pytest.mark.once]
PRICE = 210_000_000  # 100 tokens at 1.5 and 10 at 6 per million
FEW = {key: probe for key, probe in probes.PROBES.items() if key.endswith(("/0", "/1"))}  # two of each kind
QUESTIONS = 2 * len(FEW)


@pytest.fixture
def judge(project, server, quick, monkeypatch):
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_another_prompt_is_tried_anew_and_lets_a_blocked_judge_go(judge, server, admin, project):
    server.respond = lambda request: Answer(says(other(good_in(request))))
    run(attacks.start(judge=judge, by=admin))
    assert Block.objects.exists()
    Judge.objects.filter(pk=judge.pk).update(prompt_version="prompt-2")
    attacks.set_limit(project=project, percent=2, blocks=True, automatic=False, by=admin)
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


@pytest.mark.slow
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


def test_only_one_trial_at_a_time(judge, admin):
    attacks.start(judge=judge, by=admin)
    with pytest.raises(studies.StudyError, match="under way already"):
        attacks.start(judge=judge, by=admin)


def test_a_new_judge_is_tried_by_itself_unless_its_money_cannot_be_enough(judge, project):
    Judge.objects.filter(pk=judge.pk).update(spend_cap="0.0001")
    attacks.look(project)
    assert not Study.objects.exists()
    judge.refresh_from_db()
    assert "the spend cap leaves 0.0001: raise the cap" in attacks.unaffordable(judge)
    Judge.objects.filter(pk=judge.pk).update(spend_cap="1")
    attacks.look(project)
    attacks.look(project)
    assert Study.objects.get().created_by is None


@pytest.mark.slow
def test_what_a_blocked_judge_said_before_does_not_count_until_it_is_let_go(
    judge, server, admin, project, as_user, manager
):
    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    Route.objects.create(item=item, decision="judge", reason="x", propensity=1.0, policy="p", policy_version="1")
    server.respond = lambda request: Answer(says("A"))
    judge_items(judge=judge)
    assert Label.objects.get().value == "tie"  # the first place, both times
    server.respond = lambda request: Answer(says(other(good_in(request))))
    run(attacks.start(judge=judge, by=admin))
    made = Block.objects.get().exclusion
    exclusion.work(made.pk)
    assert not Label.objects.exists()
    assert Annotation.objects.count() == 2  # nothing that it said is lost
    facts = as_user(manager).get(reverse("item_pipeline", args=[project.slug, item.pk])).content.decode()
    assert "What careful said of it does not count: 100.0% of the attacks fooled the judge" in facts
    attacks.set_limit(project=project, percent=100, blocks=True, automatic=False, by=admin)
    exclusion.work(made.pk)
    assert Label.objects.get().value == "tie"
    assert (
        "does not count"
        not in as_user(manager).get(reverse("item_pipeline", args=[project.slug, item.pk])).content.decode()
    )


@pytest.mark.slow
def test_what_a_person_left_out_stays_left_out_when_the_judge_is_let_go(judge, server, admin, project):
    exclusion.exclude(rater=judge.rater, by=admin, reason="by hand")
    server.respond = lambda request: Answer(says(other(good_in(request))))
    run(attacks.start(judge=judge, by=admin))
    assert Block.objects.get().exclusion is None
    attacks.set_limit(project=project, percent=100, blocks=True, automatic=False, by=admin)
    judge.rater.refresh_from_db()
    assert judge.rater.excluded_at is not None


def test_the_demos_poor_judge_is_not_blocked_before_anybody_has_seen_it(project, admin, tmp_path):
    admin.username = "ada"
    admin.save()
    demo.judge(project, stand_ins.model(None, kind="base", path=str(tmp_path), sha256="f" * 64))
    attacks.look(project)
    assert not Study.objects.exists()
    assert not attacks.limit_of(project).blocks


# --- Judges of every kind -------------------------------------------------------------------------------------
@pytest.fixture
def members(project, server, judge):
    """Two judges behind the same server, told apart by their models."""
    other_one = setup.create_endpoint_judge(
        project=project, name="cheap", base_url=server.url, model="cheap-1", price_input="1.5", price_output="6",
        timeout_seconds=30,
    )  # fmt: skip
    return [judge, other_one]


@pytest.mark.slow
def test_a_panel_is_attacked_through_its_members_and_pays_for_them(project, server, members, admin):
    panel = setup.create_group_judge(project=project, name="panel", kind=Judge.PANEL, members=members, concurrency=8)
    server.respond = lambda request: Answer(
        says(good_in(request) if request["model"] == "careful-1" else other(good_in(request)))
    )
    study = attacks.start(judge=panel, by=admin)
    assert run(study)["answered"] == QUESTIONS
    study.refresh_from_db()
    assert study.result["share"] == 0.5  # the two cancel: a tie
    assert money(panel) == (2 * QUESTIONS * PRICE, 0, 0)
    assert server.served == 2 * QUESTIONS
    assert members[0].spent_units == 0


@pytest.mark.slow
def test_a_cascade_is_attacked_through_the_tiers_that_it_would_ask(project, server, members, admin):
    cascade = setup.create_group_judge(
        project=project, name="cascade", kind=Judge.CASCADE, members=members[::-1], concurrency=8
    )

    def respond(request):
        return Answer(says(good_in(request) if request["model"] == "careful-1" else "tie"))

    server.respond = respond
    study = attacks.start(judge=cascade, by=admin)
    run(study)
    study.refresh_from_db()
    assert (study.state, study.result["share"]) == (Study.DONE, 0.0)
    assert {request["model"] for request in server.requests} == {"cheap-1", "careful-1"}


def verdicts(run, row_of):
    """Let a run have succeeded with these rows, by request."""
    asked = [json.loads(line) for line in Path(run.inputs["requests"]["path"]).read_text().splitlines()]
    lines = [json.dumps({"id": row["id"], "tokens": 40, **row_of(row)}) for row in asked]
    (Path(run.folder) / "verdicts.jsonl").write_text("\n".join(lines))
    Run.objects.filter(pk=run.pk).update(state=Run.SUCCEEDED)
    run.refresh_from_db()
    outcomes.record(run)
    return asked


@pytest.fixture
def ours(project, tmp_path, settings, monkeypatch):
    """A local model and a reward model as judges."""
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")
    monkeypatch.setattr(probes, "PROBES", FEW)
    base = stand_ins.model(None, kind="base", path=str(tmp_path), sha256="f" * 64)
    local = setup.create_local_judge(project=project, name="small", model_version=base)
    reward = stand_ins.model(project, path=str(tmp_path), sha256="a" * 64)
    return local, setup.create_reward_judge(project=project, name="reward", models=[reward])


@pytest.mark.slow
def test_a_local_model_is_attacked_by_a_run_in_both_orders(ours, admin):
    small, _ = ours
    study = attacks.start(judge=small, by=admin)
    assert run(study)["pending"] == QUESTIONS
    study.refresh_from_db()
    assert studies.due() == []  # it waits for its run
    assert judge_items(judge=small)["run"] is None
    good = {answer for _, answer, _ in probes.QUESTIONS}

    def row_of(row):
        text = row["prompt"][0]["content"]
        first = min(text.find(answer) for answer in good if answer in text)
        good_is_first = first < text.find("Let us solve this step by step.") or "Let us solve" not in text
        letter = "A" if good_is_first else "B"
        return {"logprobs": {"A": -0.1 if letter == "A" else -3.0, "B": -0.1 if letter == "B" else -3.0}}

    asked = verdicts(study.run, row_of)
    assert (len(asked), asked[0]["choices"]) == (QUESTIONS, ["A", "B"])
    assert studies.due() == [study.pk]
    run(study)
    study.refresh_from_db()
    assert study.state == Study.DONE
    assert study.result["kinds"]["step by step"]["share"] == 0.0
    assert study.result["kinds"]["symbol"]["share"] == 0.5  # it names A wherever it sees nothing else
    assert not Annotation.objects.exists()
    assert Block.objects.get().judge == small


@pytest.mark.slow
def test_a_reward_model_is_attacked_once_a_probe(ours, admin):
    _, reward = ours
    study = attacks.start(judge=reward, by=admin)
    run(study)
    study.refresh_from_db()
    longer = lambda row: {"scores": [[len(answer[0]["content"])] for answer in row["responses"]]}  # noqa: E731
    asked = verdicts(study.run, longer)
    assert len(asked) == len(FEW)
    run(study)
    study.refresh_from_db()
    shares = {kind: found["share"] for kind, found in study.result["kinds"].items()}
    assert (shares["padding"], shares["references"], shares["empty"]) == (1.0, 1.0, 0.0)


def test_a_run_that_failed_stops_the_study_and_it_can_go_on(ours, admin):
    small, _ = ours
    study = attacks.start(judge=small, by=admin)
    run(study)
    first = Study.objects.get().run
    Run.objects.filter(pk=first.pk).update(state=Run.FAILED, message="The model is gone.")
    run(study)
    study.refresh_from_db()
    assert (study.state, study.message) == (
        Study.STOPPED,
        f"Run {first.pk} did not succeed (failed). The model is gone.",
    )
    judge_items(judge=small)
    small.refresh_from_db()
    assert small.state == Judge.READY  # its items have nothing to do with it
    studies.go_on(study=study, by=admin)
    run(study)
    assert Study.objects.get().run != first


def test_what_a_kind_of_judge_cannot_do_is_said(ours, members, project, admin):
    small, reward = ours
    panel = setup.create_group_judge(project=project, name="panel", kind=Judge.PANEL, members=members)
    assert "writes nothing" in studies.cannot(small, Study.WRITING)
    assert "reads neither rubric nor prompt" in studies.cannot(reward, Study.CRITERION)
    assert "propose a prompt to one of its members" in studies.cannot(panel, Study.PROMPT)
    assert studies.cannot(panel, Study.CRITERION) == studies.cannot(small, Study.PROMPT) == ""


# --- Members that change --------------------------------------------------------------------------------------
def test_a_panel_with_another_member_or_a_member_with_another_prompt_is_another_evaluator(
    project, server, members, admin
):
    panel = setup.create_group_judge(project=project, name="panel", kind=Judge.PANEL, members=members)
    server.respond = lambda request: Answer(says("A"))
    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    Route.objects.create(item=item, decision="judge", reason="x", propensity=1.0, policy="p", policy_version="1")
    judge_items(judge=panel)
    before = audits.evaluator_of(panel)
    said = {audits.evaluator_in(each.metadata) for each in Annotation.objects.filter(rater=panel.rater)}
    assert said == {before} == {"careful-1 pairwise-1 + cheap-1 pairwise-1"}
    Judge.objects.filter(pk=members[1].pk).update(prompt_version="prompt-2")
    assert audits.evaluator_of(panel) == "careful-1 pairwise-1 + cheap-1 prompt-2"
    Judge.objects.filter(pk=members[1].pk).update(prompt_version="pairwise-1", protocol={"critique": True})
    assert audits.evaluator_of(panel) == "careful-1 pairwise-1 + cheap-1 pairwise-1 critique true"
    Judge.objects.filter(pk=members[1].pk).update(protocol={}, model="x" * 190)
    long = audits.evaluator_of(panel)
    assert len(long) == 120
    Judge.objects.filter(pk=members[1].pk).update(model="x" * 191)
    assert audits.evaluator_of(panel) != long
