"""What an annotator asks for while reading: the text as written, and where two answers differ; and at what cost."""

import re

import pytest
from django.urls import reverse

from annotate import preferences, queue
from annotate.models import Assignment, Item
from tests import factories


@pytest.fixture
def client(as_user, annotator):
    return as_user(annotator)


def held(project, user, *answers: str, **fields) -> Assignment:
    factories.item(project, responses=answers, **fields)
    return queue.next_assignment(user=user, project=project)


def shown(client, name: str, project, assignment) -> str:
    return client.get(reverse(name, args=[project.slug, assignment.pk])).content.decode()


def test_the_source_is_escaped_and_names_its_place(client, project, annotator):
    assignment = held(project, annotator, "*one* <b>", "two")
    text = shown(client, "label_source", project, assignment)
    letter = "AB"[assignment.order.index(0)]
    assert f'data-of="{letter}-0">*one* &lt;b&gt;</pre>' in text
    assert 'data-of="asked-0">' in text


def test_who_left_the_source_on_has_it_with_the_item_and_others_do_not(client, project, annotator):
    held(project, annotator, "*one*", "two")
    page = reverse("label", args=[project.slug])
    assert '<pre class="source"' not in client.get(page).content.decode()
    preferences.change_reading(user=annotator, name="source", on=True)
    text = client.get(page).content.decode()
    assert re.search(r'<pre class="source" dir="auto" data-of="[AB]-0">\*one\*</pre>', text)
    assert 'data-of="asked-0">' in text


def test_the_differences_stand_in_presented_order(client, project, annotator):
    assignment = held(project, annotator, "Yes, dear.", "Yes, sir.")
    text = shown(client, "label_diff", project, assignment)
    left, right = ("dear", "sir") if assignment.order == [0, 1] else ("sir", "dear")
    assert f"<del>{left}</del>" in text
    assert f"<ins>{right}</ins>" in text


@pytest.mark.parametrize("answers", [("only",), ("a", "b", "c")])
def test_there_are_differences_of_two_answers_only(client, project, annotator, answers):
    assignment = held(project, annotator, *answers)
    assert shown(client, "label_diff", project, assignment) == ""
    page = client.get(reverse("label", args=[project.slug])).content.decode()
    assert 'data-aid="diff"' not in page


def test_the_differences_of_long_answers_are_marked(client, project, annotator):
    left = " ".join(f"w{n % 700}" for n in range(5000))
    right = " ".join(f"w{n % 700}" if n % 3 else f"v{n}" for n in range(5000))
    assignment = held(project, annotator, left, right)
    text = shown(client, "label_diff", project, assignment)
    assert text.count("<ins>") > 1000


def test_a_long_conversation_is_folded_up_to_its_last_turn(client, project, annotator):
    asked = [{"role": "system", "content": "Be brief."}]
    asked += [{"role": role, "content": f"turn {n}"} for n in range(9) for role in ("user", "assistant")]
    asked += [{"role": "tool", "content": "3 °C"}, {"role": "user", "content": "And so?"}]
    factories.item(project)
    Item.objects.update(prompt=asked)
    text = client.get(reverse("label", args=[project.slug])).content.decode()
    assert re.search(r'<details class="history"><summary>20 earlier turns', text)
    assert [word in text for word in ("Instructions", "Tool", "Person", "Assistant")] == [True] * 4
    assert text.index("</details>") < text.index("And so?")
