"""How right delivered labels are said to be: from audits alone, part by part, and honest where there are few."""

import pytest

from annotate.models import Item, Response
from pipeline.models import Certificate, Route
from pipeline.routing import buying, delivering, win_rates
from pipeline.routing.delivering import Audited, Part
from pipeline.tasks import measure_judges

pytestmark = pytest.mark.django_db


def draw(item, policy="audit", share=0.1, judge=0.9, **fields):
    chances = {"both": share, "judge": judge}
    Item.objects.filter(pk=item.pk).update(route=Item.BOTH)
    number = Route.objects.filter(item=item).count() + 1
    return Route.objects.create(
        item=item, number=number, decision=Route.BOTH, propensity=share, chances=chances, policy=policy, **fields
    )


def test_only_draws_that_could_have_stayed_with_the_judge_are_audits(project, judged, answer):
    items = judged(6)
    draw(items[0])
    draw(items[1], policy="value", share=1.0, judge=0.0)  # the ranking took it: it looked wrong
    draw(items[2], judge=0.0)  # a rule sends all of these to people
    draw(items[3], policy="audit_draw")  # people had answered: drawn for the judge
    answer(items[:5])
    assert delivering.certify(project)
    kept = Certificate.objects.get()
    assert [row[0] for row in kept.audits] == [items[0].pk]
    assert (kept.report["labels"], kept.report["people"]["items"]) == (6, 5)


def test_an_audit_compares_people_with_the_label_that_would_be_there_without_them(project, judged, answer):
    items = judged(12)  # both judges name A on some, and differ on others
    for item in items:
        draw(item)
    answer(items, "a")
    delivering.certify(project)
    rows = {row[0]: Audited(*row) for row in Certificate.objects.get().audits}
    alone = {}
    for n, item in enumerate(items):
        good = "ab"[n % 2] if n % 5 else "ba"[n % 2]
        other = "a" if n % 3 else "b"
        alone[item.pk] = good if good == other else "tie"
    assert {pk: row.said for pk, row in rows.items()} == alone
    assert {row.people for row in rows.values()} == {"a"}
    assert sum(row.right for row in rows.values()) == list(alone.values()).count("a")


def test_the_accuracy_is_made_of_people_and_of_each_part_by_its_size(project, monkeypatch):
    question = project.questions.get(name="preference")
    audits = [Audited(n, "a", 0.95, "a" if n < 45 else "b", "audit", 0.05) for n in range(50)]
    audits += [Audited(n, "a", 0.6, "a" if n < 80 else "b", "audit", 0.05) for n in range(50, 100)]
    monkeypatch.setattr(delivering, "delivered", lambda question: ({1: 200}, [300, 0, 500]))
    found = delivering.accuracy(question, audits)
    # 200 of people, assumed 95% right; 300 of which 30 of 50 audits are right; 500 of which 45 of 50 are.
    assert found["accuracy"] == pytest.approx((200 * 0.95 + 300 * 0.6 + 500 * 0.9) / 1000)
    assert found["low"] < found["accuracy"] - 0.03 < found["accuracy"] + 0.03 < found["high"]
    assert [(part["low"], part["items"], part["audited"], part["right"]) for part in found["parts"]] == [
        (0.0, 300, 50, 30),
        (0.9, 500, 50, 45),
    ]
    # Wanted: 800/1000² · (300·.5962·.4038 + 500·.8846·.1154) · (1.96/.03)² = 420.9, less 100.
    assert found["wanted"] == 321


def test_without_audits_nothing_is_quoted_but_what_it_takes(project, manager, as_user, judged):
    judged(40)
    delivering.certify(project)
    found = Certificate.objects.get().report
    assert "accuracy" not in found
    assert found["wanted"] == 1068  # by (1.96/.03)² / 4: nothing is known of how right they are
    page = as_user(manager).get(f"/p/{project.slug}/routing/").content.decode()
    assert "1,068 more" in page
    assert "Nothing can be said of the labels that no person gave" in page


def test_few_audits_share_a_part_with_their_neighbour():
    audits = [Audited(n, "a", sure, "a", "audit", 0.05) for n, sure in enumerate([0.6] * 6 + [0.8] * 2 + [0.95] * 9)]
    assert delivering.joined([10, 20, 30], audits) == [Part(0.0, 0.9, 30, 8, 8), Part(0.9, 1.0, 30, 9, 9)]


def test_how_right_one_person_is_comes_from_the_first_two(project, judged, answer, monkeypatch):
    monkeypatch.setattr(delivering, "ENOUGH_DOUBLES", 10)
    question = project.questions.get(name="preference")
    items = judged(20)
    answer(items, "a")
    assert delivering.of_people(question) == {
        "value": 0.95, "measured": False, "doubles": 0, "low": None, "high": None
    }  # fmt: skip
    answer(items[:18], "a", "jonas")
    answer(items[18:], "b", "jonas")
    answer(items[18:], "b", "anna")  # asked because two differed: says nothing of how often two agree
    found = delivering.of_people(question)
    # Two agree on 18 of 20: .9 = a² + (1 − a)²/2.
    assert found["value"] == pytest.approx((1 + 3.4**0.5) / 3)
    assert found["low"] < found["value"] < found["high"]


def test_what_most_of_three_say_has_an_interval_of_its_own(project, judged, answer, monkeypatch):
    monkeypatch.setattr(delivering, "ENOUGH_DOUBLES", 10)
    items = judged(20)
    answer(items, "a")
    answer(items[:16], "a", "jonas")
    answer(items[16:], "b", "jonas")
    answer(items, "a", "anna")
    found = delivering.accuracy(project.questions.get(name="preference"), [])
    people = found["people"]
    low, high = people["range"]
    # Of three, two or three are right: a³ + 3a²(1 − a).
    of_three = [a**3 + 3 * a**2 * (1 - a) for a in (people["low"], people["value"], people["high"])]
    assert [low, people["accuracy"], high] == pytest.approx(of_three)
    assert people["high"] < people["accuracy"]  # one person's interval would leave the figure outside
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_what_most_of_several_people_say_is_more_often_right():
    assert delivering.of_majority(3, 0.7) == pytest.approx(0.784)
    assert delivering.of_majority(5, 0.7) == pytest.approx(0.83692)
    assert delivering.of_majority(2, 0.7) == pytest.approx(0.7)
    assert delivering.majority_of({1: 1, 3: 3}, 0.7) == pytest.approx((0.7 + 3 * 0.784) / 4)


def test_a_judge_that_leans_to_a_model_is_corrected_in_its_win_rate():
    """Of 400 labels all say that model-0 wins; people say so of half of the forty that were audited."""
    rows = [win_rates.Row(1.0, 0.95, False, None)] * 300 + [win_rates.Row(1.0, 0.95, True, None)] * 60
    rows += [win_rates.Row(1.0, 0.95, False, 1.0 if n % 2 else 0.0) for n in range(40)]
    found = win_rates.of_model("model-0", rows)
    assert found["delivered"] == pytest.approx((360 + 20) / 400)
    # 340 that no person was asked about otherwise, half of them wrong; 60 that people decided stand.
    assert found["corrected"] == pytest.approx((60 + 170) / 400)
    assert found["least_propensity"] == pytest.approx(40 / 340)
    assert (found["is_truncated"], found["truncated"]) == (False, found["corrected"])
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * (340 / 400) * (11 / 40 / 40) ** 0.5, abs=1e-3)
    rare = win_rates.of_model("model-0", [*rows, *[win_rates.Row(1.0, 0.95, False, None)] * 1000])
    assert rare["is_truncated"]
    assert rare["corrected"] < rare["truncated"] < rare["delivered"]


@pytest.mark.slow
def test_the_worker_certifies_and_the_page_says_where_it_comes_from(project, manager, as_user, judged, answer, adopt):
    adopt(seed=30, batch=30)
    judged(60)
    buying.look(project)
    answer(list(Item.objects.filter(project=project, slots_open__gt=0)))
    buying.look(project)
    measure_judges()
    kept = Certificate.objects.get()
    assert kept.report["audits"] == kept.report["drawn"]["seed"] == 30
    assert kept.report["low"] < kept.report["accuracy"] < kept.report["high"]
    client = as_user(manager)
    page = client.get(f"/p/{project.slug}/routing/").content.decode()
    assert f"{100 * kept.report['accuracy']:.1f}%" in page
    audits = client.get(f"/p/{project.slug}/routing/audits/").content.decode()
    assert "drawn evenly, to begin with" in audits
    assert audits.count('<td class="first">') == 30
    made = kept.made_at
    measure_judges()
    assert Certificate.objects.get().made_at == made, "nothing was said since"


def test_only_two_named_models_are_compared(project, judged):
    [item, other] = judged(2)
    assert set(win_rates.models_of([item.pk, other.pk])) == {item.pk, other.pk}
    Response.objects.filter(item=item, position=0).update(model="")
    Response.objects.filter(item=other).update(model="same")
    assert win_rates.models_of([item.pk, other.pk]) == {}
