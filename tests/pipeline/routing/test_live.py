"""The router at work on a project's tables: what it believes, what it buys, when it stops, and what it never does."""

import threading
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection, transaction
from django.utils import timezone

from annotate.models import Assignment, Item, Label, Prior
from pipeline.judging import calls, settling
from pipeline.models import Belief, Judge, JudgeCall, LabelFit, Route, RoutingState
from pipeline.routing import adopting, budgets, buying
from pipeline.routing.believing import beliefs, fits, following, layouts
from pipeline.routing.believing.gathering import gathered
from tests import factories
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


def open_items(project):
    return list(Item.objects.filter(project=project, slots_open__gt=0).order_by("pk"))


def test_columns_are_the_same_one_prompt_at_a_time_as_all_at_once(project, judged):
    judged(8)
    question = project.questions.get(name="preference")
    layout = layouts.made(project, question, 1)
    hashes = list(Item.objects.order_by("prompt_hash").values_list("prompt_hash", flat=True))
    whole = gathered(project, question, hashes, layout.judges)
    at_once = dict(zip(whole.items, layouts.packed(layouts.columns_of(whole, layout)), strict=True))
    for digest in hashes:
        part = gathered(project, question, [digest], layout.judges)
        [row] = layouts.packed(layouts.columns_of(part, layout))
        together = np.frombuffer(at_once[part.items[0]], dtype=np.float32)
        assert np.frombuffer(row, dtype=np.float32)[: layout.width] == pytest.approx(together[: layout.width])


def test_the_first_answers_are_drawn_evenly_and_what_they_teach_becomes_the_label(project, judged, answer, adopt):
    adopt(seed=25, batch=25)
    judged(60)
    assert buying.look(project) == {"seed": 25}
    seeds = Route.objects.all()
    assert {route.propensity for route in seeds} == {25 / 60}
    assert {round(sum(route.chances.values()), 9) for route in seeds} == {1.0}
    assert "25 of 60" in seeds[0].reason
    assert not Prior.objects.exists(), "nothing was learned yet"
    answer(open_items(project))
    buying.look(project)
    fit = LabelFit.objects.first()
    assert (fit.labels, fit.fitted_on["answers"]) == (25, 25.0)
    assert fit.report["agrees"] > 0.7
    # The good judge was right on four of five: where people are silent, the label follows what was learned of it.
    prior = Prior.objects.filter(item__annotations__rater__name="good").exclude(item__annotations__rater__name="mira")[
        0
    ]
    label = Label.objects.get(item=prior.item, question__name="preference")
    assert (label.method, label.decided_by, prior.source, prior.version) == (
        "label model",
        "judge",
        "router",
        f"fit {fit.number}",
    )
    assert label.distribution == pytest.approx(prior.probabilities)
    spoken = Label.objects.filter(question__name="preference", decided_by="human")
    assert {label.method for label in spoken} == {"majority"}, "a person's answer is not multiplied with a Prior"


def test_the_ranking_buys_what_is_worth_most_and_says_why(project, judged, answer, adopt):
    adopt(seed=20, batch=20, explore=0.2)
    judged(60)
    buying.look(project)
    answer(open_items(project))
    before = set(Route.objects.values_list("pk", flat=True))
    made = buying.look(project)
    assert made["value"] + made["kin"] + made["even"] == 20
    assert 3 <= made["even"] <= 5
    new = Route.objects.exclude(pk__in=before)
    worth = new.filter(policy="value")
    best = max(Belief.objects.filter(score__gt=0).values_list("score", flat=True))
    assert min(route.features["score"] for route in worth) >= best - 1e-4
    assert all(route.expected_gain > 0 and route.cost == 1 and route.propensity == 1 for route in worth)
    assert "the judge is wrong with" in worth[0].reason
    assert "Most telling: " in worth[0].reason
    drawn = new.filter(policy="even")
    assert {route.propensity for route in drawn} == {made["even"] / (40 - made["value"] - made["kin"])}


def test_a_second_look_at_the_same_changes_nothing(project, judged, answer, adopt):
    adopt(seed=20, batch=20)
    judged(40)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    kept = [list(model.objects.order_by("pk").values()) for model in (Route, LabelFit, Prior, Label)]
    for _ in range(2):
        assert buying.look(project) == {}
    assert [list(model.objects.order_by("pk").values()) for model in (Route, LabelFit, Prior, Label)] == kept


def test_beliefs_thrown_away_are_the_same_again(project, judged, answer, adopt, monkeypatch):
    adopt(seed=20, batch=20)
    judged(40)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    fields = ("item_id", "fit", "tie", "first", "second", "wrong", "people", "judge_says")
    kept = list(Belief.objects.order_by("item").values_list(*fields))
    Belief.objects.all().delete()
    RoutingState.objects.update(change=0, seen=[])
    policy = adopting.in_force(project)
    monkeypatch.setattr(following, "STINT", 0.0)  # a worker with no time: it goes on where it was
    state = following.claim(project)
    following.follow(project, policy.plan, state)
    following.release(project)
    assert not Belief.objects.exists()
    monkeypatch.undo()
    state = following.claim(project)
    assert following.claim(project) is None, "one worker at a time"
    following.follow(project, policy.plan, state)
    again = list(Belief.objects.order_by("item").values_list(*fields))
    assert [row[0] for row in again] == [row[0] for row in kept]
    assert np.array([row[2:6] for row in again]) == pytest.approx(np.array([row[2:6] for row in kept]))


def test_two_who_disagree_get_a_third_and_then_a_reviewer(project, judged, answer, adopt):
    project.overlap = 2
    project.save()
    adopt(seed=1, batch=1, most=3)
    judged(10)
    buying.look(project)
    [item] = open_items(project)
    answer([item], "a")
    answer([item], "b", "jonas")
    assert buying.look(project)["disagreement"] == 1
    item.refresh_from_db()
    assert (item.overlap, item.slots_open) == (3, 1)
    route = Route.objects.filter(item=item).first()
    assert (route.number, route.people, route.cost) == (2, 3, 1)
    assert route.reason == "2 people disagree (1 for the first answer, 1 for the second answer): one more is asked."
    answer([item], "tie", "anna")
    assert buying.look(project)["review"] == 1
    route = Route.objects.filter(item=item).first()
    assert "no further person may be asked: a reviewer decides" in route.reason
    assert buying.look(project)["review"] == 0


def test_a_sure_label_closes_open_places_but_takes_no_lease_away(project, annotator, judged, answer, adopt):
    project.overlap = 3
    project.save()
    adopt(seed=1, batch=1, sure=0.9)
    judged(10)
    buying.look(project)
    [item] = open_items(project)
    answer([item], "a")
    item.refresh_from_db()
    holder = factories.rater(project, "holder", user=annotator)
    Assignment.objects.create(item=item, rater=holder, order=[0, 1], expires_at=factories.later())
    Item.objects.filter(pk=item.pk).update(slots_open=1)
    spent = RoutingState.objects.get().spent
    Belief.objects.filter(item=item).update(enough=True, first=0.95, people=1)
    purse_made = buying.buy(project, adopting.in_force(project))
    assert purse_made["sure"] == 1
    item.refresh_from_db()
    assert (item.slots_open, item.overlap) == (0, 2)
    assert Assignment.objects.get(item=item, rater=holder).state == Assignment.LEASED
    assert RoutingState.objects.get().spent == spent - 1
    assert "95.0% sure (the first answer)" in Route.objects.filter(item=item).first().reason


def test_places_that_were_drawn_are_not_taken_back_however_sure_the_label_is(project, judged, adopt):
    adopt(seed=3, batch=3, sure=0.5)
    judged(10)
    buying.look(project)
    Belief.objects.exclude(asked="").filter(item=open_items(project)[0]).update(asked="value")
    RoutingState.objects.update(pass_after=0)  # everything is looked at again
    assert buying.look(project)["sure"] == 1, "what the ranking asked for, it may take back"
    assert len(open_items(project)) == 3, "and draws another in its stead"
    drawn = Route.objects.filter(policy="seed").values("item")
    assert Item.objects.filter(pk__in=drawn, slots_open=1).count() == 3


def test_somebody_who_is_unsure_does_not_hold_up_the_batch(project, judged, answer, adopt):
    adopt(seed=20, batch=4)
    judged(10)
    buying.look(project)
    answer(open_items(project), "unsure")
    assert buying.look(project)["seed"] == 4


def test_a_contradicted_audit_sends_its_kin_to_people(project, judged, answer, adopt):
    adopt(seed=5, batch=5, explore=0)
    judged(20)
    buying.look(project)
    wrong = open_items(project)
    judge = {belief.item_id: belief.judge_says for belief in Belief.objects.all()}
    answer([wrong[0]], "b" if judge[wrong[0].pk] == 1 else "a")
    answer(wrong[1:])
    made = buying.look(project)
    assert made["kin"] == 1
    route = Route.objects.get(policy="kin")
    assert route.features["like"] in {item.external_id for item in wrong}
    assert "more of this kind goes to people" in route.reason


def test_the_budget_is_all_that_is_bought(project, judged, answer, adopt):
    adopt(seed=4, batch=10, budget={"total": 11}, explore=0)
    judged(30)
    for _ in range(5):
        buying.look(project)
        answer(open_items(project))
    assert RoutingState.objects.get().spent == 11
    assert Route.objects.filter(decision="both").count() == 11


def test_what_waited_for_the_budget_is_asked_on_the_next_day(project, adopt):
    adopt(ranking="shares", audit=0, budget={"daily": 2})
    for _ in range(3):
        factories.item(project, route="", overlap=0, slots_open=0)
    buying.deciding.route_items(project=project)
    assert len(open_items(project)) == 2
    assert buying.look(project) == {}
    RoutingState.objects.update(day=timezone.localdate() - timedelta(days=1))
    buying.look(project)
    assert len(open_items(project)) == 3
    late = Route.objects.get(number=2)
    assert late.reason.startswith("The budget allows it now.")
    assert (RoutingState.objects.get().owed, late.cost) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_workers_that_buy_at_once_cannot_overrun_the_budget_together(project, judged, adopt):
    adopt(seed=0, batch=30, explore=0, least=0, budget={"total": 12})
    judged(20)
    state = following.claim(project)
    following.follow(project, adopting.in_force(project).plan, state)
    following.release(project)

    def work():
        for _ in range(2):
            buying.buy(project, adopting.in_force(project))
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    buying.buy(project, adopting.in_force(project))
    assert RoutingState.objects.get().spent == len(open_items(project)) == 12
    assert Counter(Route.objects.values_list("item", flat=True)).most_common(1)[0][1] == 1


@pytest.mark.parametrize("ranking", ["uncertainty", "triage", "gain", "errors"])
def test_other_rankings_buy_by_what_they_measure(project, judged, answer, adopt, ranking):
    adopt(ranking=ranking, seed=10, batch=10, explore=0)
    judged(40)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    routes = Route.objects.filter(policy="value")
    assert routes.count() >= 8
    scores = [route.features["score"] for route in routes]
    left = max(Belief.objects.values_list("score", flat=True))
    if ranking != "gain":
        assert min(scores) >= left - 1e-4
    said = {"uncertainty": "unsure", "triage": "signs: judges differ", "errors": "signs: ", "gain": "its kinds"}
    assert said[ranking] in routes[0].reason


@pytest.mark.slow
def test_the_judges_errors_are_learned_from_audits_and_asked_about_first(project, judged, answer, adopt):
    adopt(ranking="errors", seed=40, batch=40, explore=0)
    judged(100)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    errors = fits.opened(LabelFit.objects.first()).errors
    assert errors is not None
    routes = Route.objects.filter(policy="value")
    assert "% as learned" not in routes[0].reason
    assert ", as learned from the 40 pairs that people answered too." in routes[0].reason
    asked = Belief.objects.filter(item__in=routes.values("item")).values_list("wrong", flat=True)
    left = Belief.objects.filter(people=0, score__gt=0).values_list("score", flat=True)
    scores = [route.features["score"] for route in routes]
    assert min(scores) > 0
    assert min(scores) >= max(left) - 1e-4
    assert max(scores) <= 1
    assert len(asked) == len(scores)


@pytest.mark.slow
def test_a_fifth_of_what_is_asked_for_information_is_drawn_whatever_the_policy_says(project, judged, answer, adopt):
    adopt(ranking="information", seed=20, batch=20, explore=0, least=0)
    judged(80)
    buying.look(project)
    answer(open_items(project))
    made = buying.look(project)
    assert sum(made.values()) == 20
    assert made["even"] in (3, 4), "a fifth of what contradictions have left of the batch"
    assert "teaches the most" in Route.objects.filter(policy="value")[0].reason


def test_rules_go_first_then_the_ranking_and_audits_always(project, judged, answer, adopt):
    stand_ins.judge(project)
    adopt(seed=5, batch=5, audit=0.3, explore=0, rules=[{"about": "tag", "values": ["law"], "decision": "human"}])
    for number in range(60):
        factories.item(project, route="", overlap=0, slots_open=0, tags=["law"] if number % 2 else [])
    buying.deciding.route_items(project=project)
    assert set(Route.objects.values_list("policy", flat=True)) == {"audit", "rule", "judge_first"}
    of_rule = Route.objects.filter(policy="rule")
    assert {route.decision for route in of_rule} == {"human"}
    assert all(route.item.tags == ["law"] for route in of_rule.select_related("item"))
    assert not Route.objects.filter(policy="judge_first", item__tags=["law"]).exists()
    audits = Route.objects.filter(policy="audit").select_related("item")
    assert {tuple(route.item.tags) for route in audits} == {(), ("law",)}, "of what rules decide too"
    assert {route.propensity for route in audits} == {0.3}


def test_a_new_judge_lays_the_columns_out_anew(project, judged, answer, adopt):
    adopt(seed=10, batch=10)
    items = judged(20)
    buying.look(project)
    before = set(Belief.objects.values_list("layout", flat=True))
    factories.rater(project, "third", kind="judge")
    buying.look(project)
    after = set(Belief.objects.values_list("layout", flat=True))
    assert (before, after) == ({1}, {2})
    assert Belief.objects.count() == len(items)
    assert fits.newest(project.questions.get(name="preference")).layout["number"] == 2


def test_one_new_item_needs_few_statements(project, judged, answer, adopt, django_assert_max_num_queries):
    adopt(seed=10, batch=10)
    judged(30)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    [item] = judged(1)
    question, policy = project.questions.get(name="preference"), adopting.in_force(project)
    layout = layouts.layout_from(RoutingState.objects.get().layout)
    with django_assert_max_num_queries(40):
        following.read_items(project, question, policy.plan, layout, [item.pk])
    assert beliefs.Belief.objects.get(item=item).fit > 0


def test_a_kept_fit_is_as_sure_as_it_was_when_it_was_made(project, judged, answer, adopt):
    adopt(seed=25, batch=25)
    judged(60)
    buying.look(project)
    answer(open_items(project))
    buying.look(project)
    model = fits.opened(LabelFit.objects.first()).model
    assert abs(model.sharpness - 1) > 0.05, "calibrated, and read back so"


def test_without_a_ranking_labels_stand_on_votes_again(project, judged, answer, adopt):
    adopt(seed=20, batch=20)
    judged(40)
    before = dict(Label.objects.values_list("item", "distribution"))
    buying.look(project)
    seeds = {item.pk for item in open_items(project)}
    answer(open_items(project))
    buying.look(project)
    assert Prior.objects.exists()
    adopt(ranking="shares")
    buying.look(project)
    assert not Prior.objects.exists()
    assert not Belief.objects.exists()
    after = dict(Label.objects.values_list("item", "distribution"))
    assert {pk: after[pk] for pk in after if pk not in seeds} == {pk: before[pk] for pk in before if pk not in seeds}


def test_judges_money_that_is_spent_sends_what_is_new_to_people(project, adopt):
    judge = stand_ins.judge(project, **PRICES)
    adopt(audit=0.5, budget={"money": 2})
    assert adopting.in_force(project).has_judge
    Judge.objects.filter(pk=judge.pk).update(spent_units=15 * 10**11, reserved_units=5 * 10**11)
    factories.item(project, route="", overlap=0, slots_open=0)
    assert buying.deciding.route_items(project=project)["human"] == 1


PRICES = {"price_input": 1, "price_output": 1}


def test_what_waits_for_a_judge_goes_to_people_once_the_policys_money_is_used_up(project, adopt):
    judge = stand_ins.judge(project, **PRICES)
    adopt(audit=0, budget={"money": 2, "total": 3})
    items = [factories.item(project, route="", overlap=0, slots_open=0) for _ in range(4)]
    buying.deciding.route_items(project=project)
    calls.plan(judge=judge)
    assert {route.decision for route in Route.objects.all()} == {"judge"}
    assert buying.look(project) == {}, "there is money"
    JudgeCall.objects.filter(item=items[3]).update(claim="somebody", claimed_at=timezone.now())
    Judge.objects.filter(pk=judge.pk).update(spent_units=15 * 10**11, unknown_units=5 * 10**11)
    assert buying.look(project) == {"unpaid": 3}
    assert [item.pk for item in open_items(project)] == [item.pk for item in items[:3]]
    route = Route.objects.filter(item=items[0]).first()
    assert (route.decision, route.number, route.cost, route.propensity) == ("human", 2, 1, 1)
    assert "the policy's money for judges (2) is used up: people are asked instead" in route.reason
    assert set(JudgeCall.objects.values_list("item", flat=True)) == {items[3].pk}, "nobody asks what people answer now"
    assert RoutingState.objects.get().spent == 3
    JudgeCall.objects.update(claim="")
    assert buying.look(project) == {}, "people's budget is used up too"


def test_a_free_judge_goes_on_when_the_money_for_others_is_gone(project, adopt):
    paid = stand_ins.judge(project, spent_units=2 * 10**12, **PRICES)
    adopt(budget={"money": 2})
    assert not adopting.in_force(project).has_judge
    stand_ins.judge(project)
    assert adopting.in_force(project).has_judge
    assert budgets.priced(Judge.objects.all()).get() == paid


def test_judges_share_the_policys_money_whatever_their_own_caps_allow(project, adopt):
    one = stand_ins.judge(project, spend_cap=5, spent_units=10**12, **PRICES)
    other = stand_ins.judge(project, reserved_units=5 * 10**11, unknown_units=10**11, **PRICES)
    adopt(budget={"money": 2})
    with transaction.atomic():
        held = budgets.allow(Judge.objects.select_for_update().get(pk=one.pk))
    assert held.units_left() == 2 * 10**12 - 10**12 - 6 * 10**11
    assert budgets.allow(other).units_left() == 2 * 10**12 - 10**12 - 6 * 10**11
    Judge.objects.filter(pk=one.pk).update(spend_cap=1)
    one.refresh_from_db()
    assert budgets.allow(one).units_left() == 0, "its own cap is less"
    assert "spend cap of 1" in calls.cap_reached(one, 7)
    assert calls.cap_reached(other, 7 * 10**11).startswith(budgets.POLICY_MONEY)


def test_more_money_lets_a_judge_ask_again_that_was_stopped_for_want_of_it(project, adopt):
    judge = stand_ins.judge(project, **PRICES)
    adopt(budget={"money": 2})
    settling.halt(judge=judge, message=calls.cap_reached(budgets.allow(judge), 3 * 10**12))
    assert not adopting.in_force(project).has_judge, "what is left does not pay another question"
    other = stand_ins.judge(project, state=Judge.STOPPED, message="The key was refused.")
    adopt(budget={"money": 4})
    judge.refresh_from_db()
    other.refresh_from_db()
    assert (judge.state, judge.message, other.state) == (Judge.READY, "", Judge.STOPPED)
    assert adopting.in_force(project).has_judge


@pytest.mark.slow
def test_a_layout_that_saw_little_is_made_anew_once_there_is_much_more(project, judged, adopt):
    stand_ins.judge(project)
    adopt(seed=0, batch=1)
    assert buying.look(project) == {}, "no judge has answered yet"
    assert not RoutingState.objects.get().layout
    judged(3)
    buying.look(project)
    first = layouts.layout_from(RoutingState.objects.get().layout)
    assert (first.number, first.sampled, first.models) == (1, 3, ()), "two models, too rarely seen to have a column"
    judged(100)
    buying.look(project)
    buying.look(project)
    second = layouts.layout_from(RoutingState.objects.get().layout)
    assert (second.number, second.models) == (2, ("model-0", "model-1"))
    assert set(Belief.objects.values_list("layout", flat=True)) == {2}
