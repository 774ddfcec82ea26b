"""What a prompt would send about a real item, for each kind of question: nothing is asked, and nothing kept."""

from typing import Any

from annotate.models import Item, Project
from annotate.questions import KINDS
from pipeline.judging import calls, plans
from pipeline.judging.config import CRITERIA, Protocol
from pipeline.judging.plans import Ask
from pipeline.judging.protocol import ProtocolError, brief_of
from pipeline.models import JudgePrompt


def preview(project: Project, prompt: JudgePrompt, kind: str, external_id: str = "") -> dict[str, Any]:
    """{"item", "requests": [(step, messages), …]}, or {"sentence"}: why there are none."""
    how = protocol_for(project, kind)
    if how is None:
        return {"sentence": f"The project asks no question of the kind {kind}, so these words are not used yet."}
    fitting = KINDS["preference" if kind in ("criterion", "reference") else kind]
    items = calls.of_size(fitting.least, fitting.most).filter(project=project).exclude(state=Item.ARCHIVED)
    item = items.filter(external_id=external_id).first() if external_id else items.order_by("-id").first()
    if item is None:
        return {"sentence": f"There is no fitting item {external_id!r} here." if external_id else NO_ITEM}
    answers = calls.answers_of(item)
    subject = plans.Subject(item.prompt, answers, tuple(range(len(answers))))
    try:
        first = next(plans.whole(brief_of(project, prompt, how), how, subject))
    except (ProtocolError, StopIteration) as error:
        return {"sentence": str(error) or "About this item there is nothing to ask."}
    return {"item": item, "requests": [(ask.step, ask.form.messages) for ask in first if isinstance(ask, Ask)]}


NO_ITEM = "The project has no item of this kind yet: import some, or let a model answer prompts."


def protocol_for(project: Project, kind: str) -> Protocol | None:
    """A protocol whose first requests use the words for this kind; None where the project asks nothing of the kind."""
    asked = list(project.questions.all())
    if kind == "criterion":
        own = next((one.name for one in asked if one.kind == "preference" and one.config.get("criterion")), "")
        rated = any(one.kind == "rating" for one in asked)
        return Protocol(questions=own) if own else Protocol(pairwise=CRITERIA) if rated else None
    if kind == "reference":
        return Protocol(reference=True)
    named = next((one.name for one in asked if one.kind == kind and not one.config.get("criterion")), None)
    return Protocol(questions=named) if named else None
