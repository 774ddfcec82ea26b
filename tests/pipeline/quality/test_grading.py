"""Every question that can be calibrated is: other preferences, choices and ratings, from the tables to labels."""

from datetime import timedelta

import pytest

from annotate.aggregation import label_items
from annotate.deciding import Opinion
from annotate.models import Annotation, Label, Prior, Question, Rater
from pipeline.models import Calibration, Route
from pipeline.quality import audits, grading, measuring, priors
from tests import factories
from tests.pipeline.quality.conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(project):
    """A second preference, a choice and a rating beside the first preference."""

    def make(name, kind, config=None):
        return Question.objects.create(
            project=project, name=name, kind=kind, title=name.capitalize(), config=config or {}, position=50
        )

    options = [{"value": value, "label": value} for value in ("yes", "no")]
    return {
        "kinder": make("kinder", "preference", {"criterion": "kindness"}),
        "safe": make("safe", "choice", {"options": options}),
        "clear": make("clear", "rating", {"min": 1, "max": 5}),
        "notes": make("notes", "choice", {"options": options, "multiple": True}),
    }


@pytest.fixture
def both(project, judge, person):
    """Items that a draw brought to both, with all answers of each."""

    def answer(rater, item, answers, order, metadata):
        Annotation.objects.create(
            item=item, rater=rater, order=[int(place) for place in order.split("-")], order_key=order, answers=answers,
            metadata=metadata, confidence=0.9 if rater.kind == Rater.JUDGE else None, submitted_at=NOW,
        )  # fmt: skip

    def make(count, people, judged, others=None, with_people=True):
        made = []
        for _ in range(count):
            item = factories.item(project, route="both", overlap=0, slots_open=0)
            Route.objects.create(
                item=item, decision="both", reason="x", propensity=0.5, policy="fixed_share", policy_version="1"
            )
            if with_people:
                answer(person, item, people, "0-1", {})
            metadata = {"model": "careful-1", "prompt_version": judge.prompt_version, "others": others or {}}
            for order in ("0-1", "1-0"):
                answer(judge.rater, item, judged, order, metadata)
            made.append(item)
        return made

    return make


def test_each_question_gets_a_calibration_of_its_own(asked, both, judge, project):
    people = {"preference": {"choice": "a"}, "kinder": {"choice": "b"}, "safe": ["yes"], "clear": [4, 2]}
    judged = {"preference": {"choice": "a"}, "kinder": {"choice": "b"}, "safe": ["yes"], "clear": [5, 3]}
    both(24, people, judged, {"kinder": {"confidence": 0.6, "margin": -0.2}})
    both(6, {**people, "safe": ["no"]}, judged, {"kinder": {"confidence": 0.6, "margin": -0.2}})
    report = measuring.measure(judge.rater).report
    fitted = {each.question.name: each for each in Calibration.objects.all()}
    assert set(fitted) == {"preference", "kinder", "safe", "clear"}
    assert {"kinder", "safe", "clear"} < set(report["others"])  # and the rating that every project begins with
    assert report["others"]["safe"]["accuracy"]["share"] == pytest.approx(24 / 30)
    assert report["others"]["clear"]["higher"]["mean"] == pytest.approx(1)
    assert report["others"]["clear"]["audits"]["n"] == 60  # each rated answer
    assert fitted["kinder"].report["before"]["reliability"][0]["confidence"] == pytest.approx(0.6)
    measuring.measure(judge.rater)
    assert Calibration.objects.count() == 4


def test_how_sure_it_is_of_another_preference_comes_from_beside_it_or_from_its_strength(asked, both, judge):
    answers = {"preference": {"choice": "a", "strength": 3}, "kinder": {"choice": "b", "strength": 2}}
    both(1, answers, answers, {"kinder": {"confidence": 0.8, "margin": -0.6}})
    found = audits.read(judge.rater, asked["kinder"]).audits[0].verdict
    assert found.margin == pytest.approx(-1.386294, abs=1e-6)  # ln(.2/.8)
    Annotation.objects.filter(rater=judge.rater).update(
        metadata={"model": "careful-1", "prompt_version": judge.prompt_version}
    )
    found = audits.read(judge.rater, asked["kinder"]).audits[0].verdict
    assert found.margin == pytest.approx(-1.098612, abs=1e-6)  # |lean| (2 − ½) / 3, so ln(.25/.75)


def test_a_choice_that_is_calibrated_goes_into_the_label_at_its_worth(asked, both, judge, project):
    both(30, {"safe": ["yes"]}, {"safe": ["yes"]})
    measuring.measure(judge.rater)
    item = both(1, {}, {"safe": ["no"]}, with_people=False)[0]
    label_items([item.pk])
    plain = Label.objects.get(item=item, question=asked["safe"])
    assert (plain.method, plain.probability) == ("majority", pytest.approx(2 / 3))
    priors.write_priors(project)
    prior = Prior.objects.get(item=item)
    label = Label.objects.get(item=item, question=asked["safe"])
    assert (label.value, label.method, label.decided_by) == (["no"], "calibrated judges", "judge")
    assert label.probability == pytest.approx(prior.probabilities["no"])
    assert 0.85 < label.probability < 31 / 32
    assert Prior.objects.filter(question=asked["safe"]).count() == 1  # none where people answered
    asked["safe"].config["options"].append({"value": "maybe", "label": "maybe"})
    asked["safe"].save()
    Prior.objects.all().delete()
    priors.PriorWork.objects.all().delete()
    priors.write_priors(project)
    assert not Prior.objects.exists()  # other options: what was fitted says nothing of them


def test_ratings_between_two_points_are_shared_and_people_who_are_split_decide_nothing(asked, project, person):
    assert grading.between(3.25, "12345") == pytest.approx((0, 0, 0.75, 0.25, 0))
    assert grading.between(9, "12345") == (0, 0, 0, 0, 1)
    split = [Opinion(1, "human", {"safe": ["yes"]}), Opinion(2, "human", {"safe": ["no"]})]
    assert grading.decided_by_people(asked["safe"], ("yes", "no"), split) == {}
    assert grading.decided_by_people(asked["safe"], ("yes", "no"), split[:1]) == {0: (1.0, 0.0)}


def test_a_question_that_becomes_worse_loses_its_own_calibration_only(asked, both, judge, project):
    good = {"preference": {"choice": "a"}, "safe": ["yes"]}
    early = both(60, good, good)
    Annotation.objects.filter(item__in=early).update(submitted_at=NOW - timedelta(days=9))
    both(25, {**good, "safe": ["no"]}, good)
    measuring.measure(judge.rater)
    preference = audits.preference_of(judge.rater)
    assert measuring.in_force(judge.rater, preference) is not None
    assert measuring.in_force(judge.rater, asked["safe"]) is None


def test_several_options_at_once_and_words_cannot_be_calibrated(asked, project):
    assert not audits.can_be_calibrated(asked["notes"])
    critique = Question(project=project, name="why", kind="critique", title="Why?")
    assert not audits.can_be_calibrated(critique)
