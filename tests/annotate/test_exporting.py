"""The raw export: a project written, taken in elsewhere, and written again is the same, for every kind of question."""

import json

import pytest
from django.core.management import call_command

from annotate import projects
from annotate.commands import Failed, WrongUse
from annotate.importing.taking_in import take_in
from annotate.models import Annotation, Item, Label, Project
from tests import factories

ASKED = [
    {"name": "better", "kind": "preference", "title": "Better?", "config": {"points": 5, "unsure": True}},
    {"name": "help", "kind": "rating", "title": "Help", "required": False, "weight": 2.0, "is_veto": True},
    {"name": "order", "kind": "ranking"},
    {"name": "said", "kind": "critique", "config": {"reasons": ["wrong", "long"], "each": True}, "required": False},
    {"name": "topic", "kind": "choice", "config": {"options": ["a", {"value": "b", "label": "B!", "key": "k"}]}},
    {"name": "steps", "kind": "step", "config": {"split": "sentence"}},
    {"name": "proof", "kind": "span", "config": {"tags": ["error"]}, "required": False},
    {
        "name": "why",
        "kind": "choice",
        "config": {"options": ["x", "y"], "multiple": True, "when": {"question": "better", "is": ["both_bad"]}},
    },
]
ANSWERS = {
    "better": {"choice": "both_bad"},
    "help": [4, None],
    "order": [2, 1],
    "said": [None, {"text": "Zu 👍 kurz", "reasons": ["long"]}],
    "topic": ["b"],
    "steps": [["good", None], ["bad"]],
    "proof": [{"response": 1, "start": 2, "end": 6, "text": "tut ", "tag": "error"}],
    "why": ["x", "y"],
}
ROWS = [
    {
        "id": "one",
        "tags": ["t"],
        "metadata": {"k": [1]},
        "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Why?"}],
        "responses": [
            {"model": "m-1", "author": "mira", "messages": [{"role": "assistant", "content": "One. Two."}],
             "metadata": {"seed": 7}},
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Estut 👍"}]},
        ],
        "for": {"people": ["mira"], "skills": ["de"]},
        "annotations": [
            {"id": "1", "rater": "mira", "order": [1, 0], "answers": {"better": {"choice": "a", "strength": 2}},
             "submitted_at": "2025-01-01T10:00:00+00:00", "counted": False},
            {"id": "2", "replaces": "1", "rater": "mira", "order": [1, 0], "answers": ANSWERS, "reason": "so",
             "seconds": 4.5, "submitted_at": "2025-01-02T10:00:00+00:00"},
            {"rater": "gpt", "kind": "judge", "answers": {"order": [1, 1]}, "confidence": 0.5, "reference": "mine",
             "submitted_at": "2025-01-03T10:00:00+00:00", "metadata": {"tokens": 3}},
        ],
    },
    {"id": "two", "prompt": "And?", "responses": ["Only one."]},
    {"id": "three", "prompt": "Known?", "responses": ["A", "B"],
     "gold": {"answers": {"better": {"choice": "a"}}, "explanation": "It is.", "use": "quiz"}},
]  # fmt: skip


@pytest.fixture
def full(admin) -> Project:
    made = projects.create_project(name="Full", by=admin, asked=ASKED, guidelines="# One", overlap=3)
    projects.change_guidelines(project=made, text="# Two", by=admin)
    made.refresh_from_db()
    take_in(project=made, items=ROWS)
    return made


def written(project: Project, folder, *options: str) -> tuple[dict, list[dict]]:
    call_command("export_project", project.slug, str(folder), "--json", *options)
    rows = (folder / "items.jsonl").read_text().splitlines()
    return json.loads((folder / "project.json").read_text()), [json.loads(row) for row in rows]


def test_a_project_exported_and_taken_in_elsewhere_is_the_same(full, tmp_path):
    first = written(full, tmp_path / "first", "--names")
    call_command("import_project", str(tmp_path / "first"), "--slug", "again", "--json")
    again = Project.objects.get(slug="again")
    assert written(again, tmp_path / "second", "--names") == first
    assert first[1][0]["annotations"][2]["answers"] == ANSWERS
    item = again.items.get(external_id="one")
    assert (item.pool.people, item.pool.skills) == (["mira"], ["de"])
    assert [response.author for response in item.responses.all()] == ["mira", ""]
    assert (again.overlap, again.guideline_version, again.versions.count()) == (3, 2, 3)
    labels = [
        sorted(Label.objects.filter(item__project=project).values_list("question__name", "method", "votes"))
        for project in (full, again)
    ]
    assert labels[0] == labels[1] != []


def test_people_stand_under_pseudonyms_and_judges_by_name(full, tmp_path):
    _body, rows = written(full, tmp_path / "raw")
    text = (tmp_path / "raw" / "items.jsonl").read_text()
    assert "mira" not in text
    assert [annotation["rater"] for annotation in rows[0]["annotations"]] == ["person-1", "gpt", "person-1"]
    assert rows[0]["for"] == {"people": ["person-1"], "skills": ["de"]}
    assert [response.get("author") for response in rows[0]["responses"]] == ["person-1", None]


def test_a_folder_with_something_in_it_is_left_alone(full, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(WrongUse, match="not an empty folder"):
        call_command("export_project", full.slug, str(tmp_path))


def test_a_bad_row_brings_nothing_in_and_is_named(full, tmp_path):
    written(full, tmp_path / "raw")
    with (tmp_path / "raw" / "items.jsonl").open("a") as file:
        file.write('{"prompt": "x", "responses": []}\n')
    before = Item.objects.count(), Project.objects.count(), Annotation.objects.count()
    with pytest.raises(Failed, match="Row 4"):
        call_command("import_project", str(tmp_path / "raw"))
    with pytest.raises(Failed, match=r"project.json cannot be read"):
        call_command("import_project", str(tmp_path / "nowhere"))
    assert (Item.objects.count(), Project.objects.count(), Annotation.objects.count()) == before


def test_an_export_costs_as_many_queries_for_many_items_as_for_few(project, tmp_path, django_assert_max_num_queries):
    for _number in range(12):
        factories.item(project)
    with django_assert_max_num_queries(11):
        written(project, tmp_path / "raw")


def test_a_project_is_made_with_the_questions_of_a_file(db, tmp_path):
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(ASKED))
    call_command("create_project", "From a file", "--questions", str(file), "--json")
    made = Project.objects.get(slug="from-a-file")
    assert [question.name for question in made.questions.all()] == [spec["name"] for spec in ASKED]
    file.write_text('[{"name": "x", "kind": "span"}]')
    with pytest.raises(Failed, match="Question “x”: tags is empty"):
        call_command("create_project", "Other", "--questions", str(file))
    file.write_text("{}")
    with pytest.raises(WrongUse, match="holds no list of questions"):
        call_command("create_project", "Other", "--questions", str(file))
