"""What a label says on the pages, and how many votes stand behind its probability."""

import pytest

from annotate.models import Label, Question
from annotate.templatetags import labels

SPAN = {"response": 0, "start": 0, "end": 3, "tag": "x", "share": 1.0}


def label(kind="preference", value="a", votes=1, by="judge", **fields) -> Label:
    return Label(question=Question(kind=kind), value=value, votes=votes, decided_by=by, **fields)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("preference", "both_bad", "both bad"),
        ("rating", [4.5, None], "a 4.5 · b –"),
        ("ranking", [2, 1, 2], "b > a = c"),
        ("choice", ["polite", "short"], "polite, short"),
        ("choice", [], "–"),
        ("step", [["good", "bad", "bad"], ["good", None]], "a step 2 · b no error"),
        ("span", [SPAN], "1 span"),
    ],
)
def test_the_outcome_of_every_kind(kind, value, words):
    assert labels.outcome(label(kind, value)) == words


def test_a_single_vote_is_told_beside_its_modest_probability():
    assert labels.few_votes(label(votes=1)) == "1 judge vote"
    assert labels.few_votes(label(votes=2, by="human")) == "2 people's votes"
    assert labels.few_votes(label(votes=3, by="human")) == ""
    assert labels.votes(label(votes=0, by="prior")) == "no vote, a model's guess"


def test_what_a_probability_means():
    assert labels.meaning(label(method="majority")).startswith("A smoothed share of 1 judge vote:")
    assert labels.meaning(label(method="Dawid–Skene, fit 3", votes=2)) == "Dawid–Skene, fit 3, of 2 judge votes"


def test_doubt():
    assert labels.doubt(label(details={"standard_errors": [0.346, None, 0.5]})) == "± 0.35 · ± 0.50 (standard error)"
    assert labels.doubt(label(details={"agreement": 0.62})) == "agreement 0.62"
    assert labels.doubt(label()) == ""
