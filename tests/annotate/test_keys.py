"""Every action has one key, the user's own where they chose one, and never two actions the same."""

import itertools
import re
from pathlib import Path

import pytest
from django.urls import reverse

from annotate import keys, preferences, queue
from tests import factories

TEMPLATES = Path(__file__).parents[2] / "templates" / "annotate"


def test_no_two_actions_share_a_key_at_first():
    shared = [
        (one.name, other.name)
        for one, other in itertools.combinations(keys.ACTIONS, 2)
        if one.key == other.key and keys.meet(one, other)
    ]
    assert shared == []


def test_a_ranking_s_own_key_may_be_one_that_a_ranking_has_no_use_for():
    assert keys.changed({}, "pick-a", "s") == {"pick-a": "s"}
    for key in ("b", "1", "0", "enter", ".", "!"):  # another answer, a rank, as it stands, sending, the next question
        with pytest.raises(keys.KeysError):
            keys.changed({}, "pick-a", key)
    with pytest.raises(keys.KeysError, match="pick answer A"):
        keys.changed({"pick-a": "["}, "level-3", "[")


def test_a_choice_holds_and_the_rest_stays():
    own = keys.changed({}, "skip", "]")
    force = keys.in_force(own)
    assert force["skip"] == "]"
    assert force["undo"] == "z"


def test_a_key_that_is_taken_is_refused_with_the_action_that_has_it():
    with pytest.raises(keys.KeysError, match="“z” is taken: Bring the last one back"):
        keys.changed({}, "skip", "Z")
    with pytest.raises(keys.KeysError, match="point 3"):
        keys.changed({}, "skip", "3")


def test_a_freed_key_can_be_given_away_and_then_not_taken_back():
    own = keys.changed(keys.changed({}, "undo", "]"), "skip", "z")
    assert own == {"undo": "]", "skip": "z"}
    with pytest.raises(keys.KeysError):
        keys.changed(own, "undo", "z")


def test_the_first_key_again_is_no_choice():
    assert keys.changed({"skip": "]"}, "skip", "x") == {}


@pytest.mark.parametrize("key", ["", " ", "tab", "ф", "ab", "\n", "f5"])
def test_what_belongs_to_the_browser_is_refused(key):
    with pytest.raises(keys.KeysError):
        keys.changed({}, "skip", key)


def test_an_action_that_is_gone_is_forgotten():
    assert "dance" not in keys.in_force({"dance": "]"})
    assert keys.changed({"dance": "]"}, "skip", "[") == {"skip": "["}


def test_every_action_named_in_the_markup_is_one_and_has_its_own_key():
    named = set()
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        for action, key in re.findall(r'data-action="([\w-]+)"[^>]*? data-key="([^"]*)"', text):
            assert key == f"{{% key '{action}' %}}", template.name
            named.add(action)
    assert named <= set(keys.BY_NAME)
    assert {"submit", "skip", "undo", "flag", "history", "diff", "source", "guidelines", "keys"} <= named


def test_the_user_s_keys_stand_in_the_markup(project, annotator, as_user):
    item = factories.item(project)
    for action, key in (("skip", "]"), ("level-1", "-"), ("rate-a-5", "["), ("submit", "=")):
        preferences.change_key(user=annotator, action=action, key=key)
    page = as_user(annotator).get(reverse("label", args=[project.slug])).content.decode()
    assert item.title in page
    assert 'data-action="skip" data-key="]"' in page
    assert 'data-action="submit" data-key="="' in page
    assert re.search(r'value="1" data-rate="-"', page)
    assert 'data-rate="["' in page
    assert "q–[" in page
    assert 'data-key="x"' not in page


def test_the_page_of_keys_changes_refuses_and_resets(annotator, as_user):
    client = as_user(annotator)
    htmx = {"HTTP_HX_REQUEST": "true"}
    assert client.post(reverse("keys_change"), {"action": "skip", "key": "]"}, **htmx).status_code == 200
    refused = client.post(reverse("keys_change"), {"action": "undo", "key": "]"}, **htmx)
    assert refused.status_code == 422
    assert "is taken" in refused.content.decode()
    annotator.refresh_from_db()
    assert preferences.own_keys(annotator) == {"skip": "]"}
    plain = client.post(reverse("keys_change"), {"action": "skip", "key": "=", "from": "everyday-help"})
    assert plain.url == reverse("keys") + "?from=everyday-help"  # and so with the way back to labelling
    assert client.post(reverse("keys_reset")).status_code == 302
    annotator.refresh_from_db()
    assert preferences.own_keys(annotator) == {}


def test_reading_aids_are_remembered_and_shown_at_once(project, annotator, as_user):
    client = as_user(annotator)
    queue.rater_for(user=annotator, project=project)
    for name, on in (("panes", "1"), ("broad", "1"), ("broad", "0"), ("nonsense", "1")):
        assert client.post(reverse("reading"), {"name": name, "on": on}).status_code == 204
    annotator.refresh_from_db()
    assert annotator.preferences["reading"] == {"panes": True, "broad": False}
    page = client.get(reverse("label", args=[project.slug])).content.decode()
    assert 'class="bench reads-panes"' in page
