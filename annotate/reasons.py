"""Why an item is skipped and what may be wrong with it: the words at hand, a project's own or those at first.

A project keeps one reason a line; none means those at first. Of these the value stands in the line, so that each
annotator reads it in their language; a manager's own words are kept and shown as they were written.
"""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Flag

MOST = 9  # each has a digit
LONGEST = 60  # characters

Reasons = Mapping[str, str | Promise]

SKIP: Reasons = {
    "unclear": gettext_lazy("unclear"),
    "not my field": gettext_lazy("not my field"),
    "harmful": gettext_lazy("harmful"),
    "broken": gettext_lazy("broken"),
}
FLAG: Reasons = dict(Flag.KINDS)


def offered(lines: str, at_first: Reasons) -> list[tuple[str, str]]:
    """The reasons to choose from: what is kept, and the words on the screen in the reader's language."""
    values = lines.splitlines() or list(at_first)
    return [(value, str(at_first.get(value, value))) for value in values]


def as_text(lines: str, at_first: Reasons) -> str:
    """The reasons in words, one a line, for a manager to change."""
    return "\n".join(words for _value, words in offered(lines, at_first))


def from_text(text: str, at_first: Reasons) -> str:
    """What is kept of the words that a manager wrote; nothing where they are those at first.

    Raises ValueError for too many reasons and for a line that is too long.
    """
    known = {str(words).casefold(): value for value, words in at_first.items()}
    written = [" ".join(line.split()) for line in text.replace("\x00", "").splitlines()]
    values = list(dict.fromkeys(known.get(line.casefold(), line) for line in written if line))
    if len(values) > MOST:
        raise ValueError(_("Give at most %(most)s reasons: each has a digit.") % {"most": MOST})
    for value in values:
        if len(value) > LONGEST:
            raise ValueError(
                _("“%(reason)s…” is longer than %(most)s characters.") % {"reason": value[:20], "most": LONGEST}
            )
    return "" if values == list(at_first) else "\n".join(values)
