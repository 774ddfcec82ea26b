"""What people decided and why, for proposing and for scoring: two halves by prompt, so that nothing scores itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from annotate import slots
from annotate.agreement import decided_by_people
from annotate.models import Annotation, Item, Project, Question, Rater, Response
from annotate.questions import text_of
from pipeline.quality import audits
from pipeline.routing import audit_draw

NEWEST = 5000  # items with people's answers that are looked at
PROPOSING, SCORING = "proposing", "scoring"


@dataclass(frozen=True)
class Decided:
    """An item that people decided: a, b, tie or both_bad. No policy chose it because a judge looked wrong."""

    item: int
    prompt: str
    people: str


@dataclass
class Said:
    """What people wrote about answers: of those they preferred, and of the others."""

    preferred: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def half_of(prompt: str) -> str:
    """Which half a prompt is in: drawn by hash, so that it stays there as data grows."""
    return PROPOSING if hashlib.sha256(f"rubric\0{prompt}".encode()).digest()[0] % 2 else SCORING


def decided(project: Project, half: str) -> list[Decided]:
    """The newest items of a half on which people preferred a side or saw a tie, in an order drawn by hash."""
    question = project.questions.filter(kind=Question.PREFERENCE).first()
    if question is None:
        return []
    newest = audit_draw.labelled(project).order_by("-pk").values_list("pk", "prompt_hash")[:NEWEST]
    prompts = {pk: prompt for pk, prompt in newest if half_of(prompt) == half}
    found = [
        Decided(item, prompts[item], choice)
        for item, said in audits.people_on(list(prompts)).items()
        if (choice := decided_by_people(question, said)) in ("a", "b", "tie")
    ]
    return sorted(found, key=lambda each: hashlib.sha256(f"{each.item}".encode()).hexdigest())


def reasons(project: Project) -> Said:
    """People's words on the items of the proposing half.

    A reason given with a preference says why the preferred answer is better. A critique of each answer belongs to the
    side that its answer is on. Where nothing is said of the others, their side is the answers' own words: what people
    write in reasons and answers do not.
    """
    asked = list(project.questions.all())
    preference = next((question.name for question in asked if question.kind == Question.PREFERENCE), "")
    critiques = [question for question in asked if question.kind == Question.CRITIQUE]
    chosen = {each.item: each.people for each in decided(project, PROPOSING)}
    said = Said()
    for batch in slots.batches(list(chosen)):
        rows = Annotation.objects.filter(item__in=batch, rater__kind=Rater.HUMAN, counted=True)
        for answers, reason in rows.filter(rater__excluded_at=None).values_list("answers", "reason"):
            take(said, answers.get(preference, {}).get("choice", ""), answers, reason, critiques)
    if not said.others:
        said.others = [text for pair in texts_of(list(chosen)).values() for text in pair]
    return said


def take(said: Said, choice: str, answers: dict[str, Any], reason: str, critiques: Sequence[Question]) -> None:
    """Add one person's words about one item."""
    if choice not in ("a", "b"):
        return
    if reason.strip():
        said.preferred.append(reason)
    for question in critiques:
        answer = answers.get(question.name)
        if isinstance(answer, list):
            for place, critique in enumerate(answer):
                if critique:
                    side = said.preferred if place == "ab".index(choice) else said.others
                    side.append(words_of(critique))
        elif answer:
            said.preferred.append(words_of(answer))


def words_of(critique: dict[str, Any]) -> str:
    return ". ".join([*critique.get("reasons", []), critique.get("text", "")])


def texts_of(item_ids: Sequence[int]) -> dict[int, list[str]]:
    """Item → the texts of its responses."""
    found: dict[int, list[str]] = {}
    for batch in slots.batches(item_ids):
        rows = Response.objects.filter(item__in=batch).order_by("item", "position")
        for item, messages in rows.values_list("item_id", "messages"):
            found.setdefault(item, []).append(text_of(messages))
    return found


def whole(item_ids: Sequence[int]) -> dict[int, Item]:
    """Item → with its responses."""
    return {item.pk: item for item in Item.objects.filter(pk__in=item_ids).prefetch_related("responses")}
