"""Every kind of question as a plain form: posted without a script, kept as a draft, and refused with a sentence."""

import pytest
from django.urls import reverse

from annotate import projects, queue
from annotate.models import Annotation, Assignment, Membership
from tests import factories

TEXTS = ("Yes.\n\nTruly **so**.", "No way.")
ASKED = [
    {"name": "better", "kind": "preference"},
    {"name": "safer", "kind": "preference", "required": False, "config": {"points": 3}},
    {"name": "why", "kind": "choice",
     "config": {"options": ["x", "y"], "multiple": True, "when": {"question": "better", "is": ["both_bad"]}}},
    {"name": "help", "kind": "rating"},
    {"name": "order", "kind": "ranking"},
    {"name": "said", "kind": "critique", "config": {"min_characters": 5, "reasons": ["wrong", "long"]}},
    {"name": "steps", "kind": "step"},
    {"name": "proof", "kind": "span", "config": {"tags": ["error"]}},
]  # fmt: skip
FORM = {
    "answer-better": "both_bad",
    "answer-why-0": "x",
    "answer-why-1": "y",
    "answer-help-0": "4",
    "answer-help-1": "2",
    "answer-order-0": "1",
    "answer-order-1": "1",
    "answer-said": "Because.",
    "answer-said-1": "long",
    "answer-steps-0-0": "good",
    "answer-steps-1-0": "bad",
    "answer-proof": 'A [error] "Truly **so"',
}


@pytest.fixture
def held(admin) -> Assignment:
    """An item with every kind of question, leased to an annotator who sees it in stored order."""
    project = projects.create_project(name="Kinds", by=admin, asked=ASKED)
    member = factories.member(project, "kim", Membership.ANNOTATOR)
    factories.item(project, "So?", TEXTS)
    assignment = queue.next_assignment(user=member, project=project)
    Assignment.objects.update(order=[0, 1])
    return Assignment.objects.get(pk=assignment.pk)


@pytest.fixture
def send(held, as_user):
    client = as_user(held.rater.user)

    def post(what: str, form: dict):
        return client.post(reverse(f"label_{what}", args=[held.item.project.slug, held.pk]), form)

    return post


def test_a_plain_form_answers_every_kind(send):
    assert send("submit", FORM).status_code == 302
    assert Annotation.objects.get().answers == {
        "better": {"choice": "both_bad"},
        "why": ["x", "y"],
        "help": [4, 2],
        "order": [1, 1],
        "said": {"text": "Because.", "reasons": ["long"]},
        "steps": [["good", None], ["bad"]],
        "proof": [{"response": 0, "start": 6, "end": 16, "text": "Truly **so", "tag": "error"}],
    }


def test_a_draft_of_every_kind_is_filled_in_again(send, held, as_user):
    assert send("draft", FORM).json()["saved"]
    assert Assignment.objects.get().draft["form"] == FORM
    page = as_user(held.rater.user).get(reverse("label", args=[held.item.project.slug])).content.decode()
    assert page.count(" checked") == 8
    assert page.count(" selected") == 2
    assert ">Because.</textarea>" in page
    assert "A [error] &quot;Truly **so&quot;</textarea>" in page


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("answer-why", "“why” still needs an answer"),
        ("answer-order-1", "“order” still needs a rank for B"),
        ("answer-steps-1", "“steps” still needs a step of B judged"),
        ("answer-proof", "mark at least one passage"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_kept(without, sentence, send):
    refused = send("submit", {name: value for name, value in FORM.items() if not name.startswith(without)})
    assert refused.status_code == 422
    assert sentence in refused.content.decode()
    assert ">Because.</textarea>" in refused.content.decode()
    assert not Annotation.objects.exists()


def test_what_is_not_asked_any_more_is_dropped(send):
    assert send("submit", {**FORM, "answer-better": "1"}).status_code == 302
    assert "why" not in Annotation.objects.get().answers
