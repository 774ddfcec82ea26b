"""Projects, their questions and the versions that annotations refer to."""

import pytest
from django.urls import reverse

from annotate import projects, tallies
from annotate.models import Label, Project, Version
from tests import factories

NEW = {
    "name": "Kitchen help",
    "description": "",
    "guidelines": "# Pick the better one",
    "preference-title": "Which is better?",
    "preference-points": "7",
    "preference-tie": "on",
    "preference-both_bad": "on",
    "criterion-title": "Safe",
    "criterion-max": "5",
    "criterion-anchor_low": "dangerous",
    "criterion-anchor_high": "careful",
}


def test_an_admin_makes_a_project_with_its_questions(as_user, admin):
    assert as_user(admin).post(reverse("project_new"), NEW).status_code == 302
    made = Project.objects.get(slug="kitchen-help")
    preference, safe = made.questions.all()
    assert preference.config["points"] == 7
    assert (safe.name, safe.config["anchors"]) == ("safe", {"1": "dangerous", "5": "careful"})
    assert Version.objects.get(project=made, kind="guidelines", number=1).body == "# Pick the better one"


def test_a_project_can_begin_with_a_common_set_up(as_user, admin):
    assert as_user(admin).post(reverse("project_new"), {**NEW, "beginning-questions": "process"}).status_code == 302
    made = Project.objects.get(slug="kitchen-help")
    assert [question.kind for question in made.questions.all()] == ["step", "choice"]
    refused = as_user(admin).post(reverse("project_new"), {**NEW, "name": "Other", "beginning-questions": "poem"})
    assert refused.status_code == 422


def test_a_tie_on_an_even_scale_is_refused_with_a_sentence(as_user, admin):
    shown = as_user(admin).post(reverse("project_new"), {**NEW, "preference-points": "6"})
    assert shown.status_code == 422
    assert "has no middle" in shown.content.decode()
    assert not Project.objects.filter(slug="kitchen-help").exists()


def test_two_projects_of_one_name_get_addresses_of_their_own(admin):
    slugs = [factories.project(by=admin, name="Same").slug for _ in range(3)]
    assert slugs == ["same", "same-2", "same-3"]


def test_changed_guidelines_are_a_new_version_and_the_old_one_stays(project, manager):
    before = project.guidelines
    assert projects.change_guidelines(project=project, text="new", by=manager) == 2
    assert projects.change_guidelines(project=project, text="new", by=manager) == 2
    bodies = dict(project.versions.filter(kind="guidelines").values_list("number", "body"))
    assert bodies == {1: before, 2: "new"}


def test_a_changed_rubric_is_a_new_version(project, manager):
    projects.change_question(
        project=project, name="kind", by=manager, kind="rating", title="Kind", config={"min": 1, "max": 5}
    )
    project.refresh_from_db()
    newest = project.versions.get(kind="rubric", number=project.rubric_version)
    assert [question["name"] for question in newest.body] == ["preference", "helpful", "kind"]


def test_a_question_with_labels_stays(project, manager):
    question = project.questions.get(name="helpful")
    Label.objects.create(
        item=factories.item(project), question=question, value=[1, 2], probability=None, votes=1, method="mean",
        decided_by="human",
    )  # fmt: skip
    with pytest.raises(projects.ProjectError, match="has answers already"):
        projects.remove_question(question=question, by=manager)
    assert project.questions.filter(name="helpful").exists()


def test_shares_over_a_hundred_are_refused(as_user, manager, project):
    values = {"name": "x", "state": "active", "overlap": 1, "lease_minutes": 30, "judge_share": 80, "both_share": 30}
    shown = as_user(manager).post(reverse("project_settings", args=[project.slug]), values)
    assert "80% and both&#x27;s 30% are more than 100%" in shown.content.decode()


def test_counts_add_up_over_their_shards(project):
    for _ in range(30):
        tallies.add(project_id=project.pk, counts={"items": 2, "labels_human": 1, "labels_judge": 0})
    assert tallies.read(project.pk) == {"items": 60, "labels_human": 30}


def test_the_list_of_projects_costs_the_same_for_one_and_for_many(
    as_user, admin, project, django_assert_num_queries, django_assert_max_num_queries
):
    client = as_user(admin)
    with django_assert_max_num_queries(8) as first:
        client.get(reverse("home"))
    for number in range(5):
        factories.project(by=admin, name=f"More {number}")
    with django_assert_num_queries(len(first)):
        client.get(reverse("home"))
