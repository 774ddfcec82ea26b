"""What narrows the list of items, how it is ordered, searched, counted, and kept as a view."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate.importing import take_in
from annotate.managing import item_lists, saved_views, searching
from annotate.managing.filters import ItemsFilter
from annotate.models import Comment, Flag, Item, Project, Rater, SavedView
from tests import factories

pytestmark = pytest.mark.django_db
ON_POSTGRESQL = connection.vendor == "postgresql"


def said(rater: str, choice: str, kind: str = "human", **more) -> dict:
    return {"rater": rater, "kind": kind, "answers": {"preference": {"choice": choice}}, **more}


@pytest.fixture
def crowd(project) -> Project:
    """Four items: one that people agree on, one on which they differ, one of a judge alone, one without a word."""
    rows = [
        {"id": "agree", "prompt": "Which sea is saltiest?", "responses": ["The Dead Sea", "The Baltic"],
         "tags": ["geo"], "annotations": [said("mira", "a"), said("jonas", "a")]},
        {"id": "differ", "prompt": "Wie heißt der größte Fluss?", "responses": ["Nil", "Amazonas"],
         "tags": ["geo", "de"], "annotations": [said("mira", "a", reason="longer"), said("jonas", "b")]},
        {"id": "judged", "prompt": "Write a limerick",
         "responses": [{"model": "poet", "messages": "There once"}, "No"],
         "annotations": [said("gpt", "b", kind="judge")]},
        {"id": "silent", "prompt": "Say nothing", "responses": ["…", "limericks are nothing"]},
    ]  # fmt: skip
    take_in(project=project, items=rows)
    for urgency, name in enumerate(["silent", "agree", "judged", "differ"]):
        Item.objects.filter(external_id=name).update(priority=urgency)
    return project


def listed(project, **asked) -> list[str]:
    """The ids of the items that an address with these choices shows, in order."""
    form = ItemsFilter(asked, project=project)
    return [item.external_id for item in item_lists.page(project, form.chosen()).items]


def rater(name: str) -> int:
    return Rater.objects.get(name=name).pk


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"tag": "de"}, {"differ"}),
        ({"tag": "d"}, set()),
        ({"label": "a"}, {"agree"}),
        ({"label": "tie"}, {"differ"}),
        ({"low": "45"}, {"agree"}),
        ({"high": "44", "low": "35"}, {"judged"}),
        ({"differ": "on"}, {"differ"}),
        ({"reason": "on"}, {"differ"}),
        ({"model": "poet"}, {"judged"}),
        ({"since": "2020-01-01"}, {"agree", "differ", "judged", "silent"}),
        ({"until": "2020-01-01"}, set()),
        ({"low": "x", "since": "never", "rater": "999999"}, {"agree", "differ", "judged", "silent"}),
        ({"label": "a", "tag": "geo", "low": "10"}, {"agree"}),
    ],
)
def test_each_choice_narrows_the_list(crowd, asked, found):
    assert set(listed(crowd, **asked)) == found


def test_the_list_is_narrowed_to_what_one_rater_did(crowd):
    assert listed(crowd, rater=rater("gpt")) == ["judged"]
    assert set(listed(crowd, rater=rater("mira"))) == {"agree", "differ"}


def test_the_list_is_narrowed_to_what_waits_flagged(crowd):
    mira = Rater.objects.get(name="mira")
    for name, resolved in (("agree", None), ("differ", timezone.now())):
        item = Item.objects.get(external_id=name)
        Flag.objects.create(project=crowd, item=item, rater=mira, kind=Flag.BROKEN, resolved_at=resolved)
    assert listed(crowd, flagged="on") == ["agree"]


def test_the_list_is_narrowed_to_what_is_discussed(crowd, reviewer):
    item = Item.objects.get(external_id="judged")
    Comment.objects.create(item=item, author=reviewer, role="reviewer", body="Is b a limerick?")
    assert listed(crowd, discussed="on") == ["judged"]


def test_the_rater_of_another_project_is_no_choice(crowd, admin):
    other = factories.rater(factories.project(by=admin, name="Other"))
    assert len(listed(crowd, rater=other.pk)) == 4


def test_an_edit_that_ends_a_disagreement_counts_as_it_stands_now(project):
    mind = [said("mira", "a", id="1"), said("mira", "b", id="2", replaces="1"), said("jonas", "b")]
    take_in(project=project, items=[{"prompt": "x", "responses": ["a", "b"], "annotations": mind}])
    assert listed(project, differ="on") == []


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("newest", ["silent", "judged", "differ", "agree"]),
        ("priority", ["differ", "judged", "agree", "silent"]),
        ("unsure", ["differ", "judged", "agree"]),
        ("sure", ["agree", "judged", "differ"]),
        ("disagreement", ["differ"]),
    ],
)
def test_the_list_is_ordered(crowd, sort, order):
    assert listed(crowd, sort=sort) == order


@pytest.mark.parametrize("sort", ["newest", "priority", "unsure", "sure"])
def test_pages_in_every_order_lead_through_all_items_once_and_back(project, sort, monkeypatch):
    """Many items share a value, so that the id must settle draws."""
    monkeypatch.setattr(item_lists, "PAGE", 3)
    votes = [["a"], ["a", "a"], ["a", "b"], ["b"], ["a"], ["a", "a"], ["b"]]
    take_in(
        project=project,
        items=[
            {"id": str(number), "prompt": f"Question {number}?", "responses": ["x", "y"],
             "annotations": [said(f"r{place}", choice) for place, choice in enumerate(given)]}
            for number, given in enumerate(votes)
        ],
    )  # fmt: skip
    Item.objects.filter(external_id__in=["1", "4", "6"]).update(priority=0.1)
    chosen = ItemsFilter({"sort": sort}, project=project).chosen()

    pages, at = [], None
    while True:
        page = item_lists.page(project, chosen, before=at)
        pages.append([item.external_id for item in page.items])
        if page.older is None:
            break
        at = page.older
    back = item_lists.page(project, chosen, after=page.newer)
    assert sorted(name for ids in pages for name in ids) == [str(number) for number in range(7)]
    assert [len(ids) for ids in pages] == [3, 3, 1]
    assert [item.external_id for item in back.items] == pages[1]
    assert item_lists.page(project, chosen, after=back.newer).newer is None


def test_a_page_from_nowhere_is_the_first(crowd):
    for key in ("x", "1_2_3", "", "_"):
        chosen = ItemsFilter({"sort": "priority"}, project=crowd).chosen()
        assert len(item_lists.page(crowd, chosen, before=key).items) == 4


# --- Words ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("saltiest", {"agree"}),
        ("SEA", {"agree"}),
        ("größte fluss", {"differ"}),
        ("amazonas", {"differ"}),
        ("sea fluss", set()),
        ("judged", {"judged"}),
        ("nonsense's", set()),
        ("%", set()),
    ],
)
def test_words_are_found_in_prompts_answers_and_ids(crowd, words, found):
    assert set(listed(crowd, q=words)) == found


@pytest.mark.skipif(not ON_POSTGRESQL, reason="PostgreSQL's own search")
def test_full_text_search_reads_whole_words_phrases_and_what_is_unwanted(crowd):
    assert set(listed(crowd, q="limerick")) == {"judged"}
    assert listed(crowd, q='"dead sea"') == ["agree"]
    assert listed(crowd, q='"sea dead"') == []
    assert listed(crowd, q="nothing -limericks") == ["silent"]  # its prompt has the one without the other
    assert listed(crowd, q="content") == []  # a key of the messages, not a word of anybody


@pytest.mark.skipif(not ON_POSTGRESQL, reason="PostgreSQL's own search")
def test_a_text_longer_than_a_tsvector_holds_is_taken_in(project):
    long = " ".join(f"word{number}" for number in range(300_000))
    factories.item(project, prompt="long", responses=(long, "short"))
    assert len(item_lists.page(project, ItemsFilter({"q": "word77"}, project=project).chosen()).items) == 1


@pytest.mark.skipif(ON_POSTGRESQL, reason="the fallback of other databases")
def test_the_fallback_is_bounded_and_says_so(crowd, monkeypatch, as_user, reviewer):
    monkeypatch.setattr(searching, "NEWEST", 2)
    assert listed(crowd, q="limerick") == ["silent", "judged"]
    assert listed(crowd, q="saltiest") == []
    page = as_user(reviewer).get(reverse("items_count", args=[crowd.slug]), {"q": "saltiest"}).content.decode()
    assert "in the newest 2 items only" in page


def test_words_of_another_project_are_not_found(crowd, admin):
    assert listed(factories.project(by=admin, name="Other"), q="saltiest") == []


# --- Sizes ----------------------------------------------------------------------------------------------------
def test_a_list_is_counted_exactly_while_that_is_cheap_and_then_about(crowd, monkeypatch, as_user, reviewer):
    client, address = as_user(reviewer), reverse("items_count", args=[crowd.slug])
    assert client.get(address).content.decode().strip() == "4 items"
    assert client.get(address, {"tag": "de"}).content.decode().strip() == "1 item"
    monkeypatch.setattr(item_lists, "COUNTED", 1)
    assert client.get(address, {"tag": "geo"}).content.decode().strip().startswith(("more than 1", "about"))


def test_every_choice_takes_the_same_queries_at_n_and_2n(crowd, as_user, reviewer):
    client, address = as_user(reviewer), reverse("items", args=[crowd.slug])
    saved_views.choose_columns(user=reviewer, columns=item_lists.COLUMNS)
    asked = {"tag": "geo", "sort": "unsure", "q": "the", "low": "1", "model": "", "differ": ""}

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(address, asked)
        return len(captured)

    few = cost()
    more = [{"prompt": f"the {n} e", "responses": ["e", "f"], "tags": ["geo"], "annotations": [said("mira", "a")]}
            for n in range(8)]  # fmt: skip
    take_in(project=crowd, items=more)
    assert cost() == few <= 20


# --- Views and columns ----------------------------------------------------------------------------------------
def test_a_view_keeps_the_choices_and_is_shared_or_not(crowd, as_user, reviewer, manager):
    client = as_user(reviewer)
    sent = {"name": "German", "choices": "tag=de&sort=unsure&state=nonsense&before=7"}
    client.post(reverse("items_view_new", args=[crowd.slug]), sent)
    view = SavedView.objects.get()
    assert view.choices == {"tag": "de", "sort": "unsure"}
    address = reverse("items", args=[crowd.slug])
    assert 'href="?tag=de&amp;sort=unsure"' in client.get(address).content.decode().replace(
        "sort=unsure&amp;tag=de", "tag=de&amp;sort=unsure"
    )
    assert "German" not in as_user(manager).get(address).content.decode()
    client.post(reverse("items_view_new", args=[crowd.slug]), {**sent, "shared": "on"})
    assert SavedView.objects.count() == 1
    assert "German" in as_user(manager).get(address).content.decode()


def test_only_its_owner_or_a_manager_deletes_a_view(crowd, as_user, reviewer, manager, admin):
    mine = SavedView.objects.create(project=crowd, owner=manager, name="mine", choices={})
    assert as_user(reviewer).post(reverse("items_view_delete", args=[crowd.slug, mine.pk])).status_code == 404
    assert as_user(admin).post(reverse("items_view_delete", args=[crowd.slug, mine.pk])).status_code == 404
    as_user(manager).post(reverse("items_view_delete", args=[crowd.slug, mine.pk]))
    assert not SavedView.objects.exists()


def test_the_columns_are_the_users_own(crowd, as_user, reviewer, manager):
    client = as_user(reviewer)
    client.post(reverse("items_columns", args=[crowd.slug]), {"columns": ["models", "votes", "nonsense"]})
    address = reverse("items", args=[crowd.slug])
    shown = client.get(address).content.decode()
    assert "a poet" in shown
    assert ">routed to</th>" not in shown
    assert ">routed to</th>" in as_user(manager).get(address).content.decode()
    client.post(reverse("items_columns", args=[crowd.slug]), {})
    assert ">routed to</th>" in client.get(address).content.decode()
