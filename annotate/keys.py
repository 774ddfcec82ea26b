"""Which key does what on the workbench: actions with stable names, their keys at first, and what a user changed.

The markup takes its keys from here (`{% key "skip" %}`), so a control and its key cannot drift apart. Pure
functions, no database; `annotate/preferences.py` keeps what a user chose.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

ENTER = "enter"
SHOWN = {ENTER: "↵"}


class KeysError(ValueError):
    """A key that cannot be given to an action, with a message for the user."""


@dataclass(frozen=True)
class Action:
    """Something that a key does: its stable name (`data-action`), its key at first, and what it does.

    `number` stands for {n} in the words. What only a ranking knows may share a key with what a ranking has no use for.
    """

    name: str
    key: str
    words: str | Promise
    number: int | str = 0
    in_ranking: bool = False

    def __str__(self) -> str:
        return str(self.words).format(n=self.number)


def row(name: str, keys: str, words: str | Promise) -> list[Action]:
    """One action a key: the points of a scale, the ratings of an answer."""
    return [Action(f"{name}-{number}", key, words, number) for number, key in enumerate(keys, start=1)]


PLACES = "abcdefghij"  # the answers of a ranking, by their letters
ACTIONS = (
    Action("submit", ENTER, gettext_lazy("Submit, and on to the next")),
    Action("reason", "c", gettext_lazy("Write why")),
    Action("skip", "x", gettext_lazy("Skip; then a reason, or Enter without one")),
    Action("undo", "z", gettext_lazy("Bring the last one back to change it; again for the one before")),
    Action("onward", "n", gettext_lazy("From one brought back, on to the next without a change")),
    Action("flag", "f", gettext_lazy("Flag a problem; the item stays with you")),
    Action("history", "h", gettext_lazy("My last 50 items")),
    Action("guidelines", "g", gettext_lazy("Guidelines")),
    Action("keys", "?", gettext_lazy("The sheet of keys")),
    Action("down", "j", gettext_lazy("Scroll the answers down")),
    Action("up", "k", gettext_lazy("Scroll the answers up")),
    Action("diff", "d", gettext_lazy("Show where A and B differ")),
    Action("source", "m", gettext_lazy("Show the text as it was written, without formatting")),
    Action("panes", "v", gettext_lazy("Let each answer scroll on its own, on wide screens")),
    Action("together", "s", gettext_lazy("Scroll A and B together")),
    Action("fold", "l", gettext_lazy("Fold long answers, and unfold them")),
    Action("broad", "a", gettext_lazy("Use the whole width")),
    Action("question-before", ",", gettext_lazy("The question before")),
    Action("question-after", ".", gettext_lazy("The next question")),
    Action("both-bad", "b", gettext_lazy("Both are bad, where that is offered")),
    Action("unsure", "0", gettext_lazy("Cannot say, where that is offered")),
    *row("level", "123456789", gettext_lazy("Which is better: point {n} from A on the left to B on the right")),
    *row("rate-a", "qwert", gettext_lazy("Rate A on the marked criterion: {n} from the lowest")),
    *row("rate-b", "yuiop", gettext_lazy("Rate B on the marked criterion: {n} from the lowest")),
    *(
        Action(
            f"pick-{letter}", letter, gettext_lazy("In a ranking: pick answer {n}"), letter.upper(), in_ranking=True
        )
        for letter in PLACES
    ),
    Action("rank-10", "!", gettext_lazy("In a ranking: the tenth rank"), in_ranking=True),
)
BY_NAME = {action.name: action for action in ACTIONS}
NAME_OF = {action.key: action.name for action in ACTIONS if not action.in_ranking}
# What works in a ranking too: sending, moving on, and the digits, which are ranks there.
WORK_IN_RANKINGS = re.compile(r"submit|unsure|question-(before|after)|level-\d")


def meet(one: Action, other: Action) -> bool:
    """Can both be meant by one press?"""
    if one.in_ranking == other.in_ranking:
        return True
    everywhere = other if one.in_ranking else one
    return WORK_IN_RANKINGS.fullmatch(everywhere.name) is not None


def in_force(own: Mapping[str, str]) -> dict[str, str]:
    """Action → key: what the user chose, else the key at first. What is no action is left out."""
    return {action.name: own.get(action.name, action.key) for action in ACTIONS}


def shown(key: str) -> str:
    """A key as a hint shows it: enter → ↵."""
    return SHOWN.get(key, key)


def changed(own: Mapping[str, str], action: str, key: str) -> dict[str, str]:
    """The user's choices with `key` given to `action`. Raises KeysError where that cannot be.

    A choice that says what holds anyway is not kept, so that a better default reaches those who never chose.
    """
    if action not in BY_NAME:
        raise KeysError(_("There is no such action."))
    key = key.strip().lower()
    if key != ENTER and not (len(key) == 1 and key.isascii() and key.isprintable()):
        raise KeysError(_("Choose a letter, a digit, a sign, or Enter; all other keys belong to the browser."))
    for other, taken in in_force(own).items():
        if taken == key and other != action and meet(BY_NAME[other], BY_NAME[action]):
            raise KeysError(
                _("“%(key)s” is taken: %(other)s. Give that another key first, or choose another here.")
                % {"key": shown(key), "other": BY_NAME[other]}
            )
    kept = {name: chosen for name, chosen in own.items() if name in BY_NAME and name != action}
    return kept if key == BY_NAME[action].key else {**kept, action: key}
