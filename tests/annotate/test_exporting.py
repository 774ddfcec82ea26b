"""The raw export: a project written, taken in elsewhere, and written again is the same, for every kind of question."""

import json
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone

from annotate import beside, flags, pools, projects, queue
from annotate.commands import Failed, WrongUse
from annotate.importing.taking_in import take_in
from annotate.managing import curating, saved_views
from annotate.models import Annotation, Assignment, Comment, Flag, Item, Label, Project, Rater, Suspicion
from annotate.quality import discussion, review, watching
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
    return json.loads((folder / "project.json").read_text()), lines(folder / "items.jsonl")


def lines(path) -> list[dict]:
    return [json.loads(row) for row in path.read_text().splitlines()]


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


@pytest.fixture
def in_use(full, admin) -> Project:
    """With members, money, reasons, pools, and all that can stand beside items."""
    projects.change_settings(
        project=full, by=admin, pay_rate=Decimal("0.1250"), pay_unit="answer", currency="CHF", skip_reasons="no time"
    )
    mira, rita = factories.member(full, "mira", "annotator"), factories.member(full, "rita", "reviewer")
    full.memberships.filter(user=mira).update(pay_rate=Decimal("0.2"), skills=["de"])
    pools.save_pool(project=full, name="Germans", people=[], skills=["de", "law"], by=admin)
    rater = full.raters.get(name="mira")
    Rater.objects.filter(pk=rater.pk).update(user=mira)
    one, two = full.items.get(external_id="one"), full.items.get(external_id="two")
    leased = Assignment.objects.create(item=two, rater=rater, order=[0], expires_at=factories.later())
    flags.raise_flag(assignment=leased, kind="broken", comment="Cut off.")
    flags.resolve(flag=Flag.objects.get(), by=rita, resolution="Thank you.")
    queue.skip(assignment=leased, reason="no time")
    asked = discussion.add(item=one, author=mira, role="annotator", body="Is it?")
    discussion.add(item=one, author=rita, role="reviewer", body="It is.", parent=asked)
    review.decide(item=one, by=rita, answers={"better": {"choice": "a", "strength": 1}}, comment="See page 2.")
    doubt = {"signal": "fast", "value": 0.5, "low": 0.4, "high": 0.6, "n": 40, "threshold": 0.3}
    decided = {"state": "dismissed", "note": "Short items.", "decided_by": rita, "decided_at": timezone.now()}
    watching.restore(rows=[Suspicion(rater=rater, **doubt, **decided)])
    choices = {"q": "x", "rater": str(rater.pk), "pool": str(full.pools.get(name="Germans").pk), "source": "7"}
    saved_views.save_view(project=full, owner=rita, name="Mine", choices=choices, shared=True)
    curating.set_archived(full, {two.pk: True})
    return full


def test_what_stands_beside_items_is_the_same_too(in_use, tmp_path):
    first = written(in_use, tmp_path / "first", "--names")
    call_command("import_project", str(tmp_path / "first"), "--slug", "again", "--json")
    again = Project.objects.get(slug="again")
    assert written(again, tmp_path / "second", "--names") == first
    rows = lines(tmp_path / "first" / "beside.jsonl")
    assert {row["kind"] for row in rows} == {
        kind for kind, rows in beside.KINDS.items() if rows.__module__ == beside.__name__
    }
    assert lines(tmp_path / "second" / "beside.jsonl") == rows
    assert (again.pay_rate, again.currency, again.skip_reasons) == (Decimal("0.125"), "CHF", "no time")
    assert again.memberships.get(user__username="mira").pay_rate == Decimal("0.2")
    rater, pool = again.raters.get(name="mira"), again.pools.get(name="Germans")
    assert again.saved_views.get().choices == {"q": "x", "rater": str(rater.pk), "pool": str(pool.pk)}
    assert again.items.get(external_id="two").state == "archived"


def test_under_pseudonyms_comments_keep_their_authors_apart_and_nobody_is_named(in_use, tmp_path):
    written(in_use, tmp_path / "raw")
    text = "".join(path.read_text() for path in (tmp_path / "raw").glob("*.json*"))
    assert "mira" not in text
    assert "rita" not in text
    call_command("import_project", str(tmp_path / "raw"), "--slug", "again", "--json")
    asked, answered = Comment.objects.filter(item__project__slug="again").order_by("pk")
    assert (asked.author, asked.written_by, answered.parent) == (None, "person-1", asked)
    assert answered.written_by not in ("", "person-1")
    assert not Project.objects.get(slug="again").memberships.exists()


def test_an_answer_must_fit_what_was_asked_when_it_was_given(full, admin, tmp_path):
    """A scale that was changed and a question that was removed since: their answers come back as they were."""
    changed = {"kind": "rating", "title": "Help", "required": False, "config": {"min": 1, "max": 3}}
    projects.change_question(project=full, name="help", by=admin, **changed)
    projects.remove_question(question=full.questions.get(name="said"), by=admin)
    full.refresh_from_db()
    first = written(full, tmp_path / "first", "--names")
    assert first[1][0]["annotations"][2]["answers"] == ANSWERS
    call_command("import_project", str(tmp_path / "first"), "--slug", "again", "--json")
    assert written(Project.objects.get(slug="again"), tmp_path / "second", "--names") == first
    rows = lines(tmp_path / "first" / "items.jsonl")
    rows[0]["annotations"][2]["rubric_version"] = full.rubric_version
    (tmp_path / "first" / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(Failed, match="Row 1: .*Help"):
        call_command("import_project", str(tmp_path / "first"), "--slug", "third")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"kind": "dance"}', "there is no “dance”"),
        ('{"kind": "flag", "item": "nowhere"}', "this flag cannot be read"),
    ],
)
def test_a_row_beside_items_that_cannot_be_read_is_named_and_brings_nothing_in(row, complaint, full, tmp_path):
    written(full, tmp_path / "raw")
    (tmp_path / "raw" / "beside.jsonl").write_text(row + "\n")
    with pytest.raises(Failed, match=f"Row 1: .*{complaint}"):
        call_command("import_project", str(tmp_path / "raw"), "--slug", "again")
    assert not Project.objects.filter(slug="again").exists()


@pytest.mark.parametrize(
    ("name", "rows", "complaint"),
    [
        ("members", [{"name": "mira"}], "“members” in project.json cannot be read"),
        ("pools", [{"name": "x", "people": [], "skills": []}], "Nobody could label its items"),
    ],
)
def test_members_and_pools_that_cannot_be_read_keep_the_project_out(name, rows, complaint, full, tmp_path):
    body, _items = written(full, tmp_path / "raw")
    (tmp_path / "raw" / "project.json").write_text(json.dumps({**body, name: rows}))
    with pytest.raises(Failed, match=complaint):
        call_command("import_project", str(tmp_path / "raw"), "--slug", "again")
    assert not Project.objects.filter(slug="again").exists()


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
    with django_assert_max_num_queries(22):
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
