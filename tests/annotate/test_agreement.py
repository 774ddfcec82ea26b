"""Agreement, against worked examples of Krippendorff's and the labels of real people."""

import json

import numpy as np
import pytest
from django.urls import reverse

from annotate import measuring, tasks
from annotate.agreement import alpha, judge_shares, mean_share
from annotate.deciding import Opinion
from annotate.models import Project, Rater
from annotate.submitting import ImportedAnnotation, record_imported, record_judgment
from tests import factories

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units.
CLASSIC = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def units_of(table) -> list[list[float]]:
    """Rows of raters as units, without what is missing."""
    return [[value for value in column if value is not None] for column in zip(*table, strict=True)]


@pytest.mark.parametrize(
    ("level", "expected"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491), ("ratio", 0.7974)]
)
def test_krippendorffs_worked_example(level, expected):
    assert alpha(units_of(CLASSIC), level)["alpha"] == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.5234), ("ordinal", 0.7622), ("interval", 0.7811)])
def test_preferences_on_second_tie_first(level, expected):
    table = [[-1, 0, 1, 1, -1, 0], [-1, 0, 1, 0, -1, 1], [-1, 1, 1, 1, -1, 0]]
    assert alpha(units_of(table), level)["alpha"] == pytest.approx(expected, abs=5e-5)


def test_units_that_one_person_rated_say_nothing():
    result = alpha([[1], [2], [1], []])
    assert result == {"alpha": None, "low": None, "high": None, "units": 0, "level": "ordinal"}
    assert alpha([[1, 1], [2, 2], [3]])["units"] == 2


def test_where_everybody_always_says_the_same_chance_explains_all():
    result = alpha([[1, 1], [1, 1], [1, 1]])
    assert (result["alpha"], result["low"], result["units"]) == (None, None, 3)


def test_perfect_agreement_is_one_and_chance_is_about_nought():
    assert alpha([[1, 1], [-1, -1], [0, 0]])["alpha"] == 1.0
    drawn = np.random.default_rng(1).integers(-1, 2, size=(2000, 2)).tolist()
    result = alpha(drawn)
    assert result["low"] < 0.0 < result["high"]
    assert result["high"] - result["low"] < 0.12


def test_the_interval_is_the_same_each_time_and_shrinks_with_more_units():
    few = alpha(units_of(CLASSIC))
    assert few == alpha(units_of(CLASSIC))
    assert few["low"] < few["alpha"] < few["high"] + 1e-9
    many = alpha(units_of(CLASSIC) * 10)
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 2


def test_a_judges_share_is_how_much_of_its_vote_fell_on_what_people_said(project):
    def said(rater, kind, choice):
        return Opinion(rater, kind, {"preference": {"choice": choice}})

    opinions = {
        1: [said(1, "human", "a"), said(9, "judge", "a"), said(9, "judge", "a")],
        2: [said(1, "human", "a"), said(9, "judge", "a"), said(9, "judge", "b"), said(8, "judge", "b")],
        3: [said(1, "human", "b"), said(9, "judge", "unparsable")],
        4: [said(9, "judge", "a")],
    }
    of_items, of_judges = judge_shares(project.questions.get(name="preference"), opinions)
    assert of_items == {1: 1.0, 2: 0.25}
    assert of_judges == {9: [1.0, 0.5], 8: [0.0]}
    assert mean_share([1.0, 0.25])["share"] == 0.625
    assert mean_share([])["share"] is None


@pytest.mark.django_db
def test_a_project_keeps_its_agreement_and_shows_it(project, client, manager):
    people = [factories.rater(project, name) for name in ("ann", "ben")]
    judge = factories.rater(project, "j", Rater.JUDGE)
    rows = []
    for first, second, judged in (("a", "a", "a"), ("b", "b", "a"), ("tie", "a", "tie"), ("both_bad", "a", "a")):
        item = factories.item(project)
        for rater, choice in zip([*people, judge], (first, second, judged), strict=True):
            answers = {"preference": {"choice": choice}, "helpful": [4, 2] if choice == "a" else [2, None]}
            rows.append(ImportedAnnotation(item.pk, rater, [0, 1], answers))
    record_imported(project=project, rows=rows)
    client.force_login(manager)
    before = client.get(reverse("project_live", args=[project.slug])).content.decode()
    assert before.count("The worker computes it") == 2
    assert measuring.refresh(project)
    kept = Project.objects.get().agreement
    # both_bad has no place on the scale: three items are left, (1, 1), (-1, -1), (0, 1)
    assert kept["alpha"] == alpha([[1, 1], [-1, -1], [0, 1]])["alpha"]
    assert kept["units"] == 3
    assert kept["questions"]["helpful"]["units"] == 5  # a first response each, a second only where both rated it
    # items: a a → a; b b → b; an even split → tie; both_bad against a → tie. The judge: a, a, tie, a.
    assert (kept["judge"]["share"], kept["judge"]["items"]) == (0.5, 4)
    assert [row["name"] for row in kept["judges"]] == ["j"]
    page = client.get(reverse("project_live", args=[project.slug])).content.decode()
    assert "50%" in page
    assert "on 4 items that both labelled" in page


@pytest.mark.django_db
def test_agreement_is_computed_again_only_after_a_change(project):
    assert not measuring.refresh(project)
    item = factories.item(project)
    judge = factories.rater(project, "j", Rater.JUDGE)
    record_judgment(item=item, rater=judge, order=[0, 1], answers={"preference": {"choice": "a"}})
    assert tasks.refresh_agreement() == 1
    assert tasks.refresh_agreement() == 0
    assert Project.objects.get().agreement["alpha"] is None
    record_judgment(item=item, rater=judge, order=[1, 0], answers={"preference": {"choice": "a"}})
    Project.objects.update(agreement={**Project.objects.get().agreement, "seconds": 60.0})
    assert tasks.refresh_agreement() == 0  # a costly one rests first
    Project.objects.update(agreement={**Project.objects.get().agreement, "seconds": 0.0})
    assert tasks.refresh_agreement() == 1


def test_the_people_of_pandalm(shared_data):
    """499 items, three people: alpha by hand from the coincidences, the interval around it."""
    rows = [json.loads(line) for line in (shared_data / "pandalm.jsonl").read_text().splitlines()]
    place = {0: 0, 1: 1, 2: -1}
    units = [[place[row[f"annotator{n}"]] for n in (1, 2, 3)] for row in rows]
    result = alpha(units)
    assert result["units"] == 499
    assert result["alpha"] == pytest.approx(by_definition(units), abs=1e-9)
    assert result["low"] < result["alpha"] < result["high"]
    assert result["alpha"] == pytest.approx(0.8661, abs=5e-5)
    assert alpha(units, "nominal")["alpha"] == pytest.approx(0.8544, abs=5e-5)


def by_definition(units) -> float:
    """Ordinal alpha straight from its definition, pair by pair."""
    values = [value for unit in units for value in unit]
    count = {value: values.count(value) for value in (-1, 0, 1)}

    def distance(one, other) -> float:
        between = [value for value in (-1, 0, 1) if min(one, other) <= value <= max(one, other)]
        return (sum(count[value] for value in between) - (count[one] + count[other]) / 2) ** 2

    observed = sum(
        distance(unit[i], unit[j]) / (len(unit) - 1)
        for unit in units
        for i in range(len(unit))
        for j in range(len(unit))
        if i != j
    )
    pairs = [(one, other) for one in count for other in count]
    expected = sum(count[one] * count[other] * distance(one, other) for one, other in pairs if one != other)
    return 1 - observed / (expected / (len(values) - 1))
