"""A project's own reasons to skip and to flag: written as words, offered by digit, translated where at first."""

import pytest
from django.urls import reverse
from django.utils import translation

from annotate import preferences, reasons
from annotate.models import Flag, Project
from tests import factories


def test_those_at_first_are_read_in_each_language_and_own_words_as_written():
    kept = reasons.from_text("harmful\n\n  needs   a lawyer \nHarmful\n", reasons.SKIP)
    assert kept == "harmful\nneeds a lawyer"
    with translation.override("de"):
        harmful = str(reasons.SKIP["harmful"])
        assert harmful != "harmful"
        assert reasons.offered(kept, reasons.SKIP) == [("harmful", harmful), ("needs a lawyer", "needs a lawyer")]
        assert reasons.from_text(reasons.as_text(kept, reasons.SKIP), reasons.SKIP) == kept


@pytest.mark.parametrize("at_first", [reasons.SKIP, reasons.FLAG])
def test_the_words_at_first_left_alone_or_taken_away_are_no_choice(at_first):
    assert reasons.from_text(reasons.as_text("", at_first), at_first) == ""
    assert reasons.from_text(" \n", at_first) == ""
    assert [value for value, _words in reasons.offered("", at_first)] == list(at_first)


@pytest.mark.parametrize("text", ["\n".join("abcdefghij"), "x" * 61])
def test_a_reason_without_a_digit_and_one_too_long_are_refused(text):
    with pytest.raises(ValueError, match="at most 9|longer than 60"):
        reasons.from_text(text, reasons.SKIP)


def test_a_manager_s_reasons_are_offered_by_digit_and_no_others_are_taken(project, manager, annotator, as_user):
    settings = as_user(manager).get(reverse("project_settings", args=[project.slug])).context["form"].initial
    changed = {
        **{name: value for name, value in settings.items() if value is not None},
        "skip_reasons": "unclear\nneeds a lawyer",
        "flag_reasons": "a licence is missing",
    }
    assert as_user(manager).post(reverse("project_settings", args=[project.slug]), changed).status_code == 302
    assert Project.objects.get().skip_reasons == "unclear\nneeds a lawyer"
    item = factories.item(project)
    client = as_user(annotator)
    preferences.change_language(user=annotator, code="de")
    page = client.get(reverse("label", args=[project.slug])).content.decode()
    assert 'value="needs a lawyer" data-chip="2"' in page
    assert 'value="a licence is missing" data-chip="1"' in page
    assert 'value="broken"' not in page
    address = reverse("label_flag", args=[project.slug, item.assignments.get().pk])
    assert client.post(address, {"kind": "broken"}, headers={"HX-Request": "true"}).status_code == 422
    said = client.post(address, {"kind": "a licence is missing"}, headers={"HX-Request": "true"})
    assert "a licence is missing" in said.content.decode()
    assert Flag.objects.get().kind == "a licence is missing"
