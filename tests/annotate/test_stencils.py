"""What is rendered once and filled in, and statements that are compiled once: the same as made anew each time."""

import pytest
from django.urls import reverse

from annotate import compiled, preferences, queue, stencils
from annotate.models import Assignment, Item
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
    del compiled.statements[next(key for key in compiled.statements if key[1] == "test")]
