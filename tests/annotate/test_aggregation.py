"""What votes add up to, with literal numbers; and that a label can be thrown away and computed again."""

import json
from collections import Counter

import pytest

from annotate import aggregation, tallies
from annotate.deciding import Opinion, aggregate_preference, aggregate_rating, majority, one_vote
from annotate.models import Change, Item, Label, Prior, Question, Rater
from annotate.submitting import ImportedAnnotation, record_imported, record_judgment
from tests import factories

CONFIG = {"points": 7, "tie": True, "both_bad": True}


def said(rater: int, choice: str, kind: str = "human", **more) -> Opinion:
    return Opinion(rater, kind, {"preference": {"choice": choice, **more}})


def decide(*opinions: Opinion, priors=(), config=CONFIG):
    return aggregate_preference("preference", config, opinions, priors)


def test_a_judge_that_says_the_same_in_both_orders_has_one_vote():
    assert one_vote([{"choice": "a"}, {"choice": "a"}]) == {"a": 1.0}


def test_a_judge_that_differs_between_orders_votes_half_each_way():
    assert one_vote([{"choice": "a"}, {"choice": "b"}]) == {"a": 0.5, "b": 0.5}
    assert one_vote([{"choice": "a"}, {"choice": "tie"}]) == {"a": 0.5, "tie": 0.5}


def test_silence_is_no_vote():
    assert one_vote([{"choice": "unsure"}, {"choice": "unparsable"}]) == {}
    assert one_vote([{"choice": "unparsable"}, {"choice": "b"}]) == {"b": 1.0}


def test_the_probability_is_the_smoothed_share_of_the_votes():
    value, distribution = majority([{"a": 1.0}, {"a": 1.0}, {"b": 1.0}], ["a", "b", "tie"])
    assert value == "a"
    assert distribution == {"a": 3 / 6, "b": 2 / 6, "tie": 1 / 6}
    # Between the two sides this is Mitchell's (n_a + 1) / (n + 2): the reference's golden 4 of 5 votes, 0.714286.
    _, wide = majority([{"a": 1.0}] * 4 + [{"b": 1.0}], ["a", "b", "tie", "both_bad"])
    assert wide["a"] / (wide["a"] + wide["b"]) == pytest.approx(0.714286, abs=1e-6)


def test_an_even_split_is_a_tie():
    assert majority([{"a": 1.0}, {"b": 1.0}], ["a", "b", "tie"])[0] == "tie"
    assert majority([{"a": 0.5, "b": 0.5}], ["a", "b", "tie"])[0] == "tie"
    assert majority([{"a": 1.0}, {"both_bad": 1.0}], ["a", "b", "tie", "both_bad"])[0] == "tie"


def test_people_outvote_judges():
    label = decide(said(1, "b"), said(2, "a", "judge"), said(3, "a", "judge"))
    assert (label.value, label.votes, label.decided_by) == ("b", 1, "human")


def test_a_judge_counts_where_every_person_is_unsure():
    label = decide(said(1, "unsure"), said(2, "a", "judge"))
    assert (label.value, label.votes, label.decided_by) == ("a", 1, "judge")


def test_nothing_said_is_no_label():
    assert decide() is None
    assert decide(said(1, "unsure"), said(2, "unparsable", "judge")) is None


def test_both_bad_can_win():
    label = decide(said(1, "both_bad"), said(2, "both_bad"), said(3, "a"))
    assert (label.value, label.probability) == ("both_bad", 3 / 7)


def test_strength_is_the_mean_over_those_who_chose_the_value():
    label = decide(said(1, "a", strength=3), said(2, "a", strength=1), said(3, "b", strength=3), said(4, "a"))
    assert label.strength == 2.0
    assert decide(said(1, "tie")).strength is None


def test_a_prior_is_multiplied_in():
    label = decide(said(1, "a"), priors=[{"a": 0.2, "b": 0.6, "tie": 0.1, "both_bad": 0.1}])
    # shares 2/5, 1/5, 1/5, 1/5 times the prior: .08, .12, .02, .02 of .24
    assert label.value == "b"
    assert label.distribution == pytest.approx({"a": 1 / 3, "b": 1 / 2, "tie": 1 / 12, "both_bad": 1 / 12})
    assert (label.method, label.decided_by) == ("majority with prior", "human")


def test_a_prior_alone_makes_a_label():
    label = decide(priors=[{"a": 0.7, "b": 0.2, "tie": 0.1}])
    assert (label.value, label.votes, label.method, label.decided_by) == ("a", 0, "prior", "prior")
    assert label.probability == pytest.approx(0.7, abs=1e-5)


def test_ratings_become_a_mean_for_each_response():
    ratings = [
        Opinion(1, "human", {"helpful": [4, 2]}),
        Opinion(2, "human", {"helpful": [5, None]}),
        Opinion(3, "judge", {"helpful": [1, 1]}),
    ]
    label = aggregate_rating("helpful", ratings)
    assert (label.value, label.probability, label.votes, label.method) == ([4.5, 2], None, 2, "mean")
    judge = [Opinion(3, "judge", {"helpful": [1, 5]}), Opinion(3, "judge", {"helpful": [2, 5]})]
    assert aggregate_rating("helpful", [Opinion(1, "human", {"helpful": [None, None]}), *judge]).value == [1.5, 5]
    assert aggregate_rating("helpful", [Opinion(1, "human", {"helpful": [None, None]})]) is None


def spread(project, n: int) -> list[Item]:
    """Items that came with three people's and a judge's annotations, all kinds of majorities among them."""
    people = [factories.rater(project, f"ann-{i}") for i in range(3)]
    judge = factories.rater(project, "gpt-4", Rater.JUDGE)
    items = [factories.item(project, route="", overlap=0, slots_open=0) for _ in range(n)]
    choices = ["a", "b", "tie", "both_bad", "unsure"]
    rows = [
        ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": choices[(n * (i + 1)) % 5]}})
        for n, item in enumerate(items)
        for i, rater in enumerate(people)
    ]
    rows += [ImportedAnnotation(item.pk, judge, [0, 1], {"preference": {"choice": "a"}}) for item in items]
    rows += [ImportedAnnotation(item.pk, judge, [1, 0], {"preference": {"choice": "b"}}) for item in items]
    record_imported(project=project, rows=rows)
    return items


def contents() -> list[tuple]:
    fields = ("item", "question", *aggregation.FIELDS)
    return list(Label.objects.order_by("item", "question").values_list(*fields))


@pytest.mark.django_db
def test_labels_thrown_away_and_computed_again_are_the_same(project):
    items = spread(project, 20)
    before = contents()
    assert len(before) == 20
    Label.objects.all().delete()
    Item.objects.update(state=Item.OPEN)
    aggregation.label_items([item.pk for item in items])
    assert contents() == before
    assert set(Item.objects.values_list("state", flat=True)) == {"labelled"}


@pytest.mark.django_db
def test_aggregating_again_writes_and_counts_nothing(project):
    items = spread(project, 10)
    before, changes, counts = contents(), Change.objects.count(), tallies.read(project.pk)
    aggregation.label_items([item.pk for item in items])
    assert (contents(), Change.objects.count(), tallies.read(project.pk)) == (before, changes, counts)


@pytest.mark.django_db
def test_a_prior_relabels_its_item_and_leaves_a_change(project):
    item = factories.item(project, route=Item.JUDGE, overlap=0, slots_open=0)
    record_judgment(
        item=item,
        rater=factories.rater(project, "j", Rater.JUDGE),
        order=[0, 1],
        answers={"preference": {"choice": "a"}},
    )
    question = project.questions.get(name="preference")
    Prior.objects.create(item=item, question=question, source="s", version="1", probabilities={"a": 0.1, "b": 0.9})
    aggregation.label_items([item.pk])
    label = Label.objects.get()
    assert (label.value, label.decided_by, label.method) == ("b", "judge", "majority with prior")
    assert Change.objects.filter(kind="relabelled", item=item).count() == 1


@pytest.mark.django_db
def test_a_label_goes_when_its_last_vote_does(project):
    item = factories.item(project, overlap=0, slots_open=0)
    judge = factories.rater(project, "j", Rater.JUDGE)
    record_judgment(item=item, rater=judge, order=[0, 1], answers={"preference": {"choice": "a"}})
    record_judgment(item=item, rater=judge, order=[0, 1], answers={"preference": {"choice": "unparsable"}})
    assert not Label.objects.exists()
    item.refresh_from_db()
    assert item.state == "open"
    assert tallies.read(project.pk)["labels_judge"] == 0


@pytest.mark.django_db
def test_many_items_cost_no_more_statements_an_item(project, django_assert_max_num_queries):
    items = [item.pk for item in spread(project, 200)]
    Label.objects.all().delete()
    with django_assert_max_num_queries(60):
        aggregation.label_items(items)
    assert Label.objects.count() == 200


KINDS = {
    "order": ("ranking", {}, [[1, 2], [2, 1], [1, 2]]),
    "topic": ("choice", {"options": [{"value": "x"}, {"value": "y"}]}, [["x"], ["y"], ["x"]]),
    "flaws": ("choice", {"options": ["x", "y", "z"], "multiple": True}, [["x", "y"], ["x"], ["z"]]),
    "steps": ("step", {}, [[["good", "bad"], ["good"]], [["good", None], ["bad"]], [["good", "bad"], ["good"]]]),
    "where": ("span", {}, [[{"response": 0, "start": s, "end": 9, "text": "", "tag": "t"}] for s in (1, 2, 3)]),
    "why": ("critique", {}, [{"text": "Wrong.", "reasons": []}] * 3),
}


@pytest.mark.django_db
def test_every_kind_of_question_gets_its_label_and_the_same_one_again(project):
    item = factories.item(project, route="", overlap=0, slots_open=0)
    for name, (kind, config, _) in KINDS.items():
        Question.objects.create(project=project, name=name, kind=kind, title=name, config=config)
    rows = [
        ImportedAnnotation(
            item.pk, factories.rater(project, f"p{n}"), [0, 1], {name: said[n] for name, (_, _, said) in KINDS.items()}
        )
        for n in range(3)
    ]
    record_imported(project=project, rows=rows)
    values = dict(Label.objects.values_list("question__name", "value"))
    assert {name: values[name] for name in ("order", "topic", "flaws", "steps")} == {
        "order": [1, 2],
        "topic": ["x"],
        "flaws": ["x"],
        "steps": [["good", "bad"], ["good"]],
    }
    assert [(span["start"], span["end"]) for span in values["where"]] == [(2, 9)]
    assert "why" not in values
    before, changes = contents(), Change.objects.count()
    aggregation.label_items([item.pk])
    assert (contents(), Change.objects.count()) == (before, changes)


def test_the_votes_of_real_people_add_up_to_their_majority(shared_data):
    """On PandaLM: three people's majority, a tie where each says something else."""
    lines = (shared_data / "pandalm.jsonl").read_text().splitlines()
    assert len(lines) == 499
    for row in map(json.loads, lines):
        votes = [["tie", "a", "b"][row[f"annotator{n}"]] for n in (1, 2, 3)]
        (most, count), *_ = Counter(votes).most_common()
        label = decide(*(said(n, vote) for n, vote in enumerate(votes)))
        assert label.value == (most if count > 1 else "tie")
