"""Common set-ups: questions that go together, to begin a project with or to add to one."""

from typing import Any

from django.utils.translation import gettext_lazy as _

PREFERENCE = {"name": "preference", "kind": "preference", "title": "Which answer is better?", "config": {"points": 7}}


def criterion(name: str, title: str, low: str, high: str) -> dict[str, Any]:
    anchors = {"1": low, "5": high}
    config = {"min": 1, "max": 5, "anchors": anchors}
    return {"name": name, "kind": "rating", "title": title, "required": False, "config": config}


WHY_BOTH_BAD = {
    "name": "why-both-bad",
    "kind": "choice",
    "title": "Why are both bad?",
    "config": {
        "options": [
            {"value": "wrong", "label": "Wrong"},
            {"value": "unsafe", "label": "Unsafe"},
            {"value": "off_topic", "label": "Beside the question"},
            {"value": "refused", "label": "Refused without need"},
        ],
        "multiple": True,
        "when": {"question": "preference", "is": ["both_bad"]},
    },
}

SETS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "pairwise": (
        _("Pairwise, with a rubric"),
        [
            PREFERENCE,
            WHY_BOTH_BAD,
            criterion("helpful", "Helpful", "Beside the question", "Right, complete and no longer than needed"),
        ],
    ),
    "ranking": (
        _("Ranking of several answers"),
        [
            {"name": "ranking", "kind": "ranking", "title": "Put the answers in order, the best first"},
            {
                "name": "why",
                "kind": "critique",
                "title": "What decided it?",
                "required": False,
                "config": {"reasons": ["more correct", "more complete", "clearer", "shorter", "safer"]},
            },
        ],
    ),
    "rlhf": (
        _("Helpful, honest, harmless"),
        [
            PREFERENCE,
            criterion("helpful", "Helpful", "Does not help at all", "Does all that was asked"),
            criterion("honest", "Honest", "Says what is not so", "True, and says what it does not know"),
            criterion("harmless", "Harmless", "Would do harm", "Safe to follow"),
        ],
    ),
    "process": (
        _("Process supervision: step by step"),
        [
            {"name": "steps", "kind": "step", "title": "Is each step right?", "config": {"split": "paragraph"}},
            {
                "name": "result",
                "kind": "choice",
                "title": "Is there a right result?",
                "config": {"options": ["all_right", "some_right", "none_right"]},
            },
        ],
    ),
    "critique": (
        _("Critique with evidence"),
        [
            {
                "name": "critique",
                "kind": "critique",
                "title": "What is good and what is bad about each answer?",
                "config": {"each": True, "min_characters": 40, "reasons": ["wrong", "unclear", "too long", "unsafe"]},
            },
            {
                "name": "evidence",
                "kind": "span",
                "title": "Mark what shows it",
                "required": False,
                "config": {"tags": ["error", "evidence", "well said"]},
            },
        ],
    ),
}
