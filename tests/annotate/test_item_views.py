"""The list of items and the page of one."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.importing import take_in
from annotate.managing import item_lists
from annotate.models import Import, Item
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(as_user, reviewer):
    return as_user(reviewer)


@pytest.fixture
def address(project):
    return reverse("items", args=[project.slug])


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def links(answer):
    """The words and addresses of the links between pages."""
    return dict(re.findall(r'href="\?([^"]*)">(Newer|Older)<', answer.content.decode().replace("&amp;", "&")))


def test_items_are_shown_with_label_state_and_route(client, address, project):
    said = [{"rater": "mira", "answers": {"preference": {"choice": "b"}}}]
    take_in(project=project, items=[{"prompt": "Which?", "responses": ["x", "y"], "annotations": said, "tags": ["t"]}])
    factories.item(project, prompt="Another?")
    shown = text_of(client.get(address))

    assert re.search(r"Which\? t b \d+% · 1 person&#x27;s vote labelled not routed", shown)
    assert re.search(r"Another\? – open people 1 of 1 open", shown)


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("", ["h-open", "j-done", "none"]),
        ("state=open", ["h-open", "none"]),
        ("state=labelled", ["j-done"]),
        ("route=judge", ["j-done"]),
        ("route=none", ["none"]),
        ("state=open&route=human", ["h-open"]),
        ("state=nonsense&route=human", ["h-open"]),
        ("source=9999", []),
    ],
)
def test_the_list_can_be_narrowed(client, address, project, choice, found):
    factories.item(project, prompt="h-open", route=Item.HUMAN)
    factories.item(project, prompt="j-done", route=Item.JUDGE, state=Item.LABELLED, slots_open=0)
    factories.item(project, prompt="none", route=Item.UNROUTED, slots_open=0)
    shown = text_of(client.get(f"{address}?{choice}"))

    assert [title for title in ("h-open", "j-done", "none") if re.search(rf" {title} ", shown)] == found


def test_pages_lead_through_all_items_and_back(client, address, project, monkeypatch):
    monkeypatch.setattr(item_lists, "PAGE", 3)
    for n in range(8):
        factories.item(project, prompt=f"Item {n}.")

    seen, at = [], "state=open"
    while at:
        answer = client.get(f"{address}?{at}")
        seen.append(re.findall(r"Item (\d)\.", text_of(answer)))
        at = next((where for where, words in links(answer).items() if words == "Older"), None)
    assert seen == [["7", "6", "5"], ["4", "3", "2"], ["1", "0"]]

    back = next(where for where, words in links(answer).items() if words == "Newer")
    assert back.startswith("state=open&after=")
    middle = client.get(f"{address}?{back}")
    assert re.findall(r"Item (\d)\.", text_of(middle)) == ["4", "3", "2"]
    assert set(links(middle).values()) == {"Newer", "Older"}


def test_the_list_takes_the_same_queries_at_n_and_2n_and_leaves_large_texts_alone(client, address, project):
    def cost():
        with CaptureQueriesContext(connection) as captured:
            client.get(address)
        return [query["sql"] for query in captured]

    for _ in range(5):
        factories.item(project)
    few = cost()
    for _ in range(5):
        factories.item(project)
    many = cost()

    assert len(few) == len(many)
    assert not any('"annotate_item"."prompt",' in sql for sql in many)


def test_the_list_of_one_file_and_htmx_gets_the_table_alone(client, address, project):
    source = Import.objects.create(project=project, file_name="x", path="")
    factories.item(project, prompt="from the file", source=source)
    factories.item(project, prompt="from elsewhere")
    answer = client.get(f"{address}?source={source.pk}", headers={"HX-Request": "true"})

    assert "from the file" in text_of(answer)
    assert "from elsewhere" not in text_of(answer)
    assert "<html" not in answer.content.decode()


def test_an_empty_list_says_what_to_do(as_user, client, manager, address):
    assert "Items come from files and from generated answers" in text_of(client.get(address))
    assert reverse("import_new", args=["everyday-help"]) in as_user(manager).get(address).content.decode()


def test_the_page_of_an_item_shows_models_annotations_and_labels(client, project):
    row = {
        "id": "mail-1",
        "metadata": {"source": "by hand"},
        "prompt": [{"role": "user", "content": "Write *kindly*."}],
        "responses": [{"model": "m-1", "messages": "Dear friend"}, {"model": "m-2", "messages": ""}],
        "annotations": [
            {
                "rater": "mira",
                "order": [1, 0],
                "answers": {"preference": {"choice": "a", "strength": 2}, "helpful": [5, 1]},
                "reason": "It is kind.",
                "seconds": 41,
            },
            {
                "rater": "gpt-4",
                "kind": "judge",
                "answers": {"preference": {"choice": "unparsable"}},
                "confidence": 0.93,
                "reference": "My own try.",
            },
        ],
    }
    take_in(project=project, items=[row])
    item = Item.objects.get()
    answer = client.get(reverse("item", args=[project.slug, item.pk]))
    shown = text_of(answer)

    assert "<em>kindly</em>" in answer.content.decode()
    for words in ("m-1", "m-2", "(an empty answer)", "mira", "a, by 2", "a 5 · b 1", "b a", "It is kind.", "41 s",
                  "gpt-4", "unparsable", "93%", "My own try.", "1 person&#x27;s vote · m", "by hand"):  # fmt: skip
        assert words in shown, words


def test_an_edited_annotation_and_a_late_one_are_marked(client, project):
    said = [
        {"rater": "mira", "id": "1", "answers": {"preference": {"choice": "a"}}},
        {"rater": "mira", "id": "2", "replaces": "1", "answers": {"preference": {"choice": "b"}}},
        {"rater": "jonas", "answers": {"preference": {"choice": "b"}}, "counted": False},
    ]
    take_in(project=project, items=[{"prompt": "x", "responses": ["a", "b"], "annotations": said}])
    shown = text_of(client.get(reverse("item", args=[project.slug, Item.objects.get().pk])))

    assert "replaced later" in shown
    assert "revision 1" in shown
    assert "late, not counted" in shown


def test_annotators_see_no_items(as_user, annotator, project):
    item = factories.item(project)
    for name, args in (("items", []), ("item", [item.pk])):
        assert as_user(annotator).get(reverse(name, args=[project.slug, *args])).status_code == 404


def test_an_item_of_another_project_is_not_found(as_user, admin, project):
    other = factories.project(by=admin, name="Other")
    item = factories.item(other)

    assert as_user(admin).get(reverse("item", args=[project.slug, item.pk])).status_code == 404
