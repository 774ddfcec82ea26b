"""An item answered outside the queue, in stored order: by a manager who says what is expected, by a reviewer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate import history, presenting, rubrics
from annotate.models import Annotation, Item, Question
from annotate.questions import AnswerError
from annotate.submitting import asked_about, texts_of


@dataclass
class Answering:
    """What the page shows of an item, and what came back from it: `answers` in stored order, or a `problem`."""

    item: Item
    form: presenting.Form = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    def __post_init__(self) -> None:
        self.responses = list(self.item.responses.all())
        self.order = [response.position for response in self.responses]
        self.asked: list[Question] = asked_about(rubrics.questions_of(self.item.project), len(self.order))
        self.shown = presenting.Shown(tuple(self.order), texts_of(self.item, self.asked))

    def fill(self, answers: Mapping[str, Any], reason: str = "") -> "Answering":
        """Show these answers on the form."""
        self.form = presenting.form_of(answers, reason, self.asked, self.shown)
        return self

    def read(self, posted: Mapping[str, str]) -> "Answering":
        """Take what was sent. Any question may be left out, but not all."""
        self.form = presenting.form_from(posted, self.asked, self.shown)
        try:
            self.answers = presenting.answers_of(self.form, self.asked, self.shown)
        except AnswerError as error:
            self.problem = str(error)
        if not self.problem and not self.answers:
            self.problem = "Answer at least one question."
        return self

    def context(self) -> dict[str, Any]:
        """What `annotate/_asks.html` and `annotate/quality/_sides.html` need."""
        before, last = presenting.conversation(self.item)
        return {
            "item": self.item,
            "history": before,
            "last": last,
            "sides": presenting.sides(self.responses, self.order),
            # Who answers outside the queue may answer any question, also one that is asked under a condition.
            "controls": [
                {**control, "is_asked": True, "when": None}
                for control in presenting.controls(self.asked, self.shown, self.form)
            ],
            "problem": self.problem,
        }


def in_words(answers: Mapping[str, Any], questions: list[Question], order: list[int]) -> str:
    """Answers as somebody sees them to whom the responses are shown in this order."""
    return history.words(Annotation(answers=dict(answers)), questions, order)
