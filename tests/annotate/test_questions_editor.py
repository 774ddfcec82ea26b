"""The editor of questions: what it takes, what it refuses, and that a change is a new version of the rubric."""

import pytest
from django.urls import reverse

from annotate import projects
from annotate.models import Annotation, Label, Project, Question
from annotate.question_forms import FORMS
from annotate.question_sets import SETS
from annotate.questions import QuestionError
from tests import factories

FIELDS = {
    "preference": {"points": 5, "tie": "on", "unsure": "on", "criterion": "safety"},
    "rating": {"min": 1, "max": 4, "anchors": "1: bad\n4: good: really", "weight": 2, "is_veto": "on"},
    "ranking": {"ties": ""},
    "critique": {"min_characters": 20, "reasons": "wrong\n\n too long ", "each": "on"},
    "choice": {"options": "yes | Yes, it is | y\nno", "multiple": ""},
    "step": {"split": "line"},
    "span": {"tags": "evidence\nerror"},
}
CONFIGS = {
    "preference": {"points": 5, "tie": True, "both_bad": False, "unsure": True, "criterion": "safety", "reasons": []},
    "rating": {"min": 1, "max": 4, "anchors": {"1": "bad", "4": "good: really"}},
    "ranking": {"ties": False},
    "critique": {"min_characters": 20, "reasons": ["wrong", "too long"], "each": True},
    "choice": {
        "options": [{"value": "yes", "label": "Yes, it is", "key": "y"}, {"value": "no", "label": "no"}],
        "multiple": False,
    },
    "step": {"split": "line"},
    "span": {"tags": ["evidence", "error"]},
}


@pytest.fixture
def editor(as_user, manager, project):
    """Post to the editor: `editor("add=step", title=…)`."""
    client = as_user(manager)

    def send(query: str = "", **fields):
        return client.post(f"{reverse('questions', args=[project.slug])}?{query}", fields)

    return send


def asked(project: Project, name: str) -> Question:
    return project.questions.get(name=name)


@pytest.mark.parametrize("kind", FORMS)
def test_a_question_of_every_kind_is_added_and_shown_again_as_it_was_written(kind, editor, project, as_user, manager):
    version = project.rubric_version
    assert editor(f"add={kind}", title="A new one!", required="on", **FIELDS[kind]).status_code == 302
    made = asked(project, "a-new-one")
    assert (made.kind, made.required, made.config) == (kind, True, CONFIGS[kind])
    project.refresh_from_db()
    assert project.rubric_version == version + 1
    form = FORMS[kind](others=[], editing=made)
    again = {name: value for name, value in form.initial.items() if value not in (False, [], None)}
    assert editor("question=a-new-one", **again).status_code == 302
    assert asked(project, "a-new-one").config == CONFIGS[kind]
    page = as_user(manager).get(reverse("questions", args=[project.slug]))
    assert "A new one!" in page.content.decode()


@pytest.mark.parametrize("kind", FORMS)
def test_the_preview_shows_the_question_as_it_is_being_written(kind, as_user, manager, project):
    address = f"{reverse('questions_preview', args=[project.slug])}?add={kind}"
    shown = as_user(manager).post(address, {"title": "How <b>so</b>?", **FIELDS[kind]}).content.decode()
    assert "How &lt;b&gt;so&lt;/b&gt;?" in shown
    assert f'data-kind="{kind}"' in shown
    assert not project.questions.filter(title__startswith="How").exists()
    empty = as_user(manager).get(f"{reverse('questions', args=[project.slug])}?add={kind}").content.decode()
    assert f'data-kind="{kind}"' in empty


def test_what_cannot_be_used_is_said_beside_the_form(editor, project):
    refused = editor("add=choice", title="Which?", options="one")
    assert refused.status_code == 422
    assert "list of 2 to 40 options" in refused.content.decode()
    refused = editor("add=step", title="Helpful", split="line")
    assert "a question of this key already" in refused.content.decode()
    assert editor("add=poem", title="x").status_code == 200
    assert editor("question=nothing", title="x").status_code == 404
    assert project.questions.count() == 2


def test_a_condition_is_chosen_from_the_answers_of_the_others(editor, project):
    fields = {"title": "Why?", "options": "wrong\nrude"}
    assert editor("add=choice", when=["preference=both_bad", "preference=tie"], **fields).status_code == 302
    assert asked(project, "why").config["when"] == {"question": "preference", "is": ["both_bad", "tie"]}
    page = editor(remove="preference")
    assert page.status_code == 302
    assert project.questions.filter(name="preference").exists()  # another waits for it


def test_a_change_of_what_answers_mean_wants_a_second_word(editor, project, annotator):
    rater = factories.rater(project)
    item = factories.item(project)
    Annotation.objects.create(item=item, rater=rater, order=[0, 1], order_key="0-1", answers={"helpful": [1, 2]})
    fields = {"title": "Helpful", "min": 1, "max": 9, "anchors": "", "weight": 1}
    refused = editor("question=helpful", **fields)
    assert refused.status_code == 422
    assert "has answers, and max gives them their meaning" in refused.content.decode()
    assert editor("question=helpful", **{**fields, "max": 5, "title": "Of help"}).status_code == 302  # words are free
    assert editor("question=helpful", **fields, confirm="on").status_code == 302
    assert asked(project, "helpful").config["max"] == 9
    assert asked(project, "helpful").name == "helpful"


def test_questions_are_moved_and_removed_and_each_is_a_version(editor, project):
    editor("add=step", title="Steps", split="line")
    editor(up="steps")
    assert [question.name for question in project.questions.all()] == ["preference", "steps", "helpful"]
    editor(down="helpful")  # the last one stays where it is
    editor(remove="steps")
    assert [question.name for question in project.questions.all()] == ["preference", "helpful"]
    project.refresh_from_db()
    bodies = dict(project.versions.filter(kind="rubric").values_list("number", "body"))
    names = [[question["name"] for question in bodies[number]] for number in sorted(bodies)]
    assert names[1:] == [
        ["preference", "helpful", "steps"],
        ["preference", "steps", "helpful"],
        ["preference", "helpful"],
    ]


def test_a_question_with_labels_is_not_removed(editor, project):
    question = asked(project, "helpful")
    fields = {"value": [1, 2], "probability": None, "votes": 1, "method": "mean", "decided_by": "human"}
    Label.objects.create(item=factories.item(project), question=question, **fields)
    editor(remove="helpful")
    assert project.questions.filter(name="helpful").exists()


@pytest.mark.parametrize("name", SETS)
def test_every_common_set_up_can_begin_a_project_and_be_added_to_one(name, admin, editor, project):
    _title, specs = SETS[name]
    begun = projects.create_project(name=name, by=admin, asked=specs)
    assert [question.name for question in begun.questions.all()] == [spec["name"] for spec in specs]
    assert editor(set=name).status_code == 302
    assert {spec["name"] for spec in specs} <= set(project.questions.values_list("name", flat=True))
    before = project.questions.count()
    assert editor(set=name).status_code == 302
    assert project.questions.count() == before


def test_questions_that_do_not_fit_together_are_not_written(project, manager):
    with pytest.raises(QuestionError, match="which is not asked"):
        projects.change_question(
            project=project, name="why", by=manager, kind="choice", title="Why?",
            config={"options": ["a", "b"], "when": {"question": "gone", "is": ["a"]}},
        )  # fmt: skip
    with pytest.raises(QuestionError, match="Question “x”: points is 12"):
        projects.create_project(
            name="P", by=None, asked=[{"name": "x", "kind": "preference", "config": {"points": 12}}]
        )
    assert not Project.objects.filter(name="P").exists()


def test_guidelines_are_read_while_they_are_written(as_user, manager, project):
    shown = as_user(manager).post(reverse("guidelines_preview", args=[project.slug]), {"guidelines": "# Be *kind*"})
    assert "<em>kind</em>" in shown.content.decode()
