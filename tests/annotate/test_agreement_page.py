"""The agreement page: what the worker stored, in plain words, cut by what one asks for."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate import measuring, skills
from annotate.agreement import in_words, kappas, marks_of, parts_of
from annotate.deciding import Opinion
from annotate.models import Item, Measurement, Question, Rater
from annotate.submitting import ImportedAnnotation, record_imported
from tests import factories

pytestmark = pytest.mark.django_db


def fill(project, items: int = 12, people: int = 3) -> None:
    """Items with two tags; people agree but for the last of them on every third item; a judge says a."""
    raters = [factories.rater(project, f"person-{n}-{items}") for n in range(people)]
    judge = factories.rater(project, f"judge-{items}", Rater.JUDGE)
    rows = []
    for n in range(items):
        item = factories.item(project, tags=["mail" if n % 2 else "code"])
        for place, rater in enumerate(raters):
            choice = "b" if place == people - 1 and n % 3 == 0 else "ab"[n % 2]
            answers = {"preference": {"choice": choice}, "helpful": [4, 2 + n % 2]}
            rows.append(ImportedAnnotation(item.pk, rater, [0, 1], answers))
        rows.append(ImportedAnnotation(item.pk, judge, [0, 1], {"preference": {"choice": "a"}}))
    record_imported(project=project, rows=rows)
    measuring.refresh(project)
    skills.refresh(project)


def shown(client, project, **chosen) -> str:
    return client.get(reverse("agreement", args=[project.slug]), chosen).content.decode()


def test_before_the_first_answer_it_says_what_is_needed(project, reviewer, as_user):
    assert "Nothing to compare yet" in shown(as_user(reviewer), project)


def test_the_report_holds_what_the_page_shows(project):
    fill(project)
    report = Measurement.objects.get(project=project).report
    preference = report["questions"][0]
    assert (report["items"], report["annotations"]) == (12, 48)
    assert preference["units"] == 12
    assert [row["name"] for row in preference["slices"]["tag"]] == ["code", "mail"]
    assert [row["name"] for row in preference["slices"]["models"]] == ["model-0 · model-1"]
    assert len(preference["slices"]["annotator"]) == 3
    assert len(preference["slices"]["week"]) == 1
    code, mail = preference["slices"]["tag"]
    assert code["alpha"] is not None
    assert code["judge"]["share"] == 1.0  # people say a on code, and so does the judge
    assert mail["judge"] == {"share": 0.0, "low": 0.0, "high": pytest.approx(0.39, abs=0.01), "items": 6}
    first, second = preference["kappas"]["rows"][0]["cells"][1:]
    assert (first["kappa"], first["n"]) == (1.0, 12)
    assert second["kappa"] < 1.0


def test_one_question_at_a_time_cut_as_asked(project, reviewer, as_user):
    fill(project)
    client = as_user(reviewer)
    page = shown(client, project)
    assert "Krippendorff&#x27;s α, ordinal" in page or "Krippendorff's α, ordinal" in page
    assert "by tag" in page
    assert "<td>mail" not in shown(client, project, by="week")
    rating = shown(client, project, question="helpful", by="annotator")
    assert "α, interval" in rating
    assert "leaning, points" in rating
    assert "Which answer is better?" in shown(client, project, question="nonsense", by="nonsense")


def test_the_page_reads_what_is_stored_at_a_fixed_cost(project, reviewer, as_user):
    client = as_user(reviewer)

    def queries() -> int:
        shown(client, project)
        with CaptureQueriesContext(connection) as caught:
            shown(client, project)
        return len(caught)

    fill(project, 4)
    few = queries()
    project.agreement = {}
    fill(project, 9, people=6)
    assert queries() == few


def test_alpha_in_plain_words():
    assert in_words(0.9, 0.85).startswith("Reliable")
    assert in_words(0.8, 0.7).startswith("Good enough")
    assert in_words(0.8, 0.5).startswith("Perhaps")
    assert in_words(0.5, 0.4).startswith("Weak")
    assert in_words(0.1, -0.1).startswith("Hardly")
    assert in_words(None, None).startswith("Nothing")


@pytest.mark.parametrize(
    ("kind", "config", "answer", "parts"),
    [
        ("preference", {}, {"choice": "tie"}, {"": "tie"}),
        ("preference", {}, {"choice": "unsure"}, {}),
        ("rating", {}, [4, None], {"0": 4.0}),
        ("ranking", {}, [2, 1, 2], {"0-1": -1.0, "0-2": 0.0, "1-2": 1.0}),
        ("step", {}, [["good", None], ["bad"]], {"0.0": "good", "1.0": "bad"}),
        ("choice", {"options": ["x", "y"]}, ["y"], {"": "y"}),
        ("choice", {"options": ["x", "y"], "multiple": True}, ["y"], {"x": 0.0, "y": 1.0}),
        ("critique", {}, {"text": "No."}, {}),
    ],
)
def test_every_kind_of_answer_in_parts(kind, config, answer, parts):
    assert parts_of(Question(kind=kind, config=config), answer) == parts


def test_every_kind_of_question_is_measured(project):
    """A project with one question of every kind, answered by two people who mostly agree."""
    span = {"response": 0, "start": 0, "end": 4, "tag": "wrong"}
    answers = {
        "order": ("ranking", {}, [[1, 2], [1, 2], [2, 1]]),
        "marks": ("step", {}, [[["good", "bad"], []], [["good", "bad"], []], [["bad", "good"], []]]),
        "topic": ("choice", {"options": ["x", "y"]}, [["x"], ["x"], ["y"]]),
        "where": ("span", {}, [[span], [span], []]),
    }
    opinions = {
        item: [
            Opinion(rater, "human", {name: given[item] for name, (_, _, given) in answers.items()}) for rater in (1, 2)
        ]
        for item in range(3)
    }
    opinions[2][1] = Opinion(2, "human", opinions[0][0].answers)
    asked = [Question(name=name, kind=kind, config=config) for name, (kind, config, _) in answers.items()]
    found = measuring.measure(asked, opinions)["questions"]
    assert {name: row["level"] for name, row in found.items()} == {
        "order": "ordinal",
        "marks": "ordinal",
        "topic": "nominal",
        "where": "F1",
    }
    assert all(row["alpha"] < 1 for row in found.values())
    assert kappas(asked[2], marks_of(asked[2], opinions))["cells"]["1 2"]["n"] == 3


def test_the_projects_page_leads_here(project, reviewer, as_user):
    fill(project)
    page = as_user(reviewer).get(reverse("project", args=[project.slug])).content.decode()
    assert reverse("agreement", args=[project.slug]) in page
    assert Item.objects.count() == 12
