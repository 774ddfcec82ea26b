"""An item as an annotator sees it, and the form on the page turned into answers and back. One presenter a kind.

What a person sees and presses is in presented order: A is on the left. Answers are in stored order. The two meet
here, and only here. No model name passes through. Pure functions, no database.
"""

from annotate.presenting.fields import Form, Shown, field_name
from annotate.presenting.form import LONGEST, answers_of, controls, form_from, form_of, unanswered
from annotate.presenting.page import LETTERS, Side, Turn, conversation, sides, turns

__all__ = [
    "LETTERS", "LONGEST", "Form", "Shown", "Side", "Turn",
    "answers_of", "controls", "conversation", "field_name", "form_from", "form_of", "sides", "turns", "unanswered",
]  # fmt: skip
