"""What is rendered once and filled in, and statements that are compiled once: the same as made anew each time."""

from datetime import UTC, datetime

import pytest
from django.db.models import Exists, OuterRef
from django.urls import reverse

from annotate import compiled, preferences, queue, stencils
from annotate.models import Assignment, Item, Membership, Response
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def _nothing_remembered():
    stencils.remembered.clear()


def region(client, project, pk="") -> str:
    return client.get(reverse("label", args=[project.slug]), **HTMX).content.decode()


def test_no_stand_in_reaches_the_page_and_each_item_has_its_own_addresses(as_user, project, annotator):
    client = as_user(annotator)
    seen = set()
    for _ in range(2):
        factories.item(project)
        text = region(client, project)
        pk = Assignment.objects.get(state="leased").pk
        assert "stand-in" not in text
        assert str(stencils.PK) not in text
        for name in ("label_submit", "label_draft", "label_flag"):
            assert reverse(name, args=[project.slug, pk]) in text
        seen.add(text.split('name="key" value="')[1][:32])
        queue.skip(assignment=Assignment.objects.get(pk=pk))
    assert len(seen) == 2
    assert stencils.remembered


def test_a_form_that_is_begun_or_another_key_is_drawn_as_it_is(as_user, project, annotator):
    client = as_user(annotator)
    factories.item(project)
    region(client, project)
    Assignment.objects.update(draft={"form": {"reason": "so far"}})
    assert ">so far</textarea>" in region(client, project)
    Assignment.objects.update(draft={})
    assert 'data-key="x"' in region(client, project)
    preferences.change_key(user=annotator, action="skip", key="-")
    assert 'data-action="skip" data-key="-"' in region(client, project)


def test_a_compiled_statement_finds_what_the_queryset_finds(project, admin):
    items = [factories.item(project) for _ in range(3)]
    factories.item(factories.project(by=admin, name="Other"))

    def build(project_id: int, least: int):
        return Item.objects.filter(project=project_id, pk__gte=least).order_by("pk")

    for first in (0, 2):
        found = list(compiled.run("test", build, project.pk, items[first].pk))
        assert found == items[first:]
        assert found == list(build(project.pk, items[first].pk))
    with pytest.raises(ValueError, match="as it is given"):
        compiled.run("a float", lambda least: Item.objects.filter(priority__gte=least), 1)


def test_a_compiled_statement_reads_what_is_selected_along_and_annotated(project, annotator):
    def build(slug: str, user_id: int):
        own = Membership.objects.filter(project__slug=slug, user=user_id).select_related("project")
        return own.annotate(there=Exists(Item.objects.filter(project=OuterRef("project"))))

    assert compiled.first("test along", build, "no-such", annotator.pk) is None
    found = compiled.first("test along", build, project.slug, annotator.pk)
    assert (found.project.name, found.project.created_at) == (project.name, project.created_at)
    assert found.there is False
    item = factories.item(project)
    assert compiled.first("test along", build, project.slug, annotator.pk).there is True
    rows = compiled.run(
        "test rows", lambda pk: Response.objects.filter(item=pk).values_list("position", "messages"), item.pk
    )
    assert rows == list(Response.objects.filter(item=item).values_list("position", "messages"))


def test_a_compiled_update_changes_only_what_its_queryset_finds(project):
    first, second = factories.item(project), factories.item(project)

    def build(pk: int, priority: float, at: datetime, title: str):
        return Item.objects.filter(pk=pk), {"priority": priority, "created_at": at, "title": title, "tags": ["new"]}

    for priority, day in ((0.25, 1), (-3.0, 2)):
        at = datetime(2026, 1, day, 12, tzinfo=UTC)
        assert compiled.update("test", build, first.pk, priority, at, f"Day {day}") == 1
        first.refresh_from_db()
        assert (first.priority, first.created_at, first.title, first.tags) == (priority, at, f"Day {day}", ["new"])
    second.refresh_from_db()
    assert second.tags != ["new"]
    assert compiled.update("test", build, 0, 1.0, at, "Nobody") == 0


def test_a_compiled_insert_writes_what_save_writes(project):
    item = factories.item(project)
    for position in (7, 8):
        said = [{"role": "assistant", "content": "é"}]
        made = compiled.insert(Response(item=item, position=position, messages=said))
        kept = Response.objects.get(pk=made.pk)
        assert (kept.position, kept.messages, kept.metadata, kept.author) == (position, said, {}, "")
        assert not made._state.adding


def test_fixed_words_stand_in_the_compiled_text_and_given_ones_do_not(project):
    """On PostgreSQL; SQLite takes all values apart. The same is found either way."""
    item = factories.item(project, title="100% of it")

    def build(pk: int):
        return Item.objects.filter(pk=pk, title="100% of it", state__in=["open", "labelled"]).order_by("pk")[:1]

    for _ in range(5):  # the first runs are planned anew, the later ones are prepared
        assert compiled.run("test words", build, item.pk) == [item]
    assert compiled.run("test words", build, item.pk + 1) == []
