"""Criteria and prompts that might bring a judge nearer to people: proposed, scored on held-out labels, accepted by a
person. The sole writer of Proposal.

People's items fall into two halves by prompt (`people.half_of`). Proposals come from one: from phrases that stand out
in people's reasons, or from the judge as a writer. They are scored on the other: the same items are judged in the
present and in the proposed way, and what counts is the paired difference.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from annotate import audit, projects
from annotate.models import Project, Question, User
from annotate.questions import QuestionError
from pipeline.judging import calls, prompts, protocol
from pipeline.judging.config import protocol_of
from pipeline.judging.plans import Subject
from pipeline.judging.setup import change_judge, record
from pipeline.models import Judge, JudgePrompt, Proposal, Study, StudyCall
from pipeline.quality import attacks, comparing, people, phrasing, studies
from pipeline.quality.wording import Change, as_it_is

PRESENT, PROPOSED = ARMS = ("present", "proposed")
USUAL, MOST = 60, 500  # items of a score


class ProposalError(Exception):
    """A proposal cannot be made, scored or accepted; the message says why and what to do."""


# --- Proposing ------------------------------------------------------------------------------------------------
def from_phrases(*, judge: Judge, by: User | None) -> list[Proposal]:
    """Propose a criterion for each phrase that stands out in people's reasons. Raises ProposalError for none."""
    said = people.reasons(judge.project)
    found = phrasing.contrast(said.preferred, said.others)
    if not found:
        raise ProposalError(
            f"No phrase stands out in {len(said.preferred)} reasons: it takes three reasons that say the same. Ask "
            "people why, with a critique question."
        )
    return [keep(judge, by, Proposal.PHRASES, **of_phrase(phrase)) for phrase in found]


def of_phrase(phrase: phrasing.Phrase) -> dict[str, Any]:
    """A criterion in the words of a phrase, with what it rests on."""
    return {
        "title": phrase.words[:1].upper() + phrase.words[1:],
        "description": f"What people mean when they write “{phrase.words}” of the answer that they prefer.",
        "low": f"Not what people mean by “{phrase.words}”"[:200],
        "high": f"Plainly what people mean by “{phrase.words}”"[:200],
        "evidence": {"preferred": phrase.preferred, "others": phrase.others, "contrast": round(phrase.contrast, 2)},
    }


def keep(judge: Judge, by: User | None, source: str, *, title: str, **values: Any) -> Proposal:
    """A criterion that is not proposed already under the same title."""
    there = Proposal.objects.filter(project=judge.project, kind=Proposal.CRITERION, title__iexact=title)
    open_ = there.filter(state=Proposal.PROPOSED).first()
    return open_ or Proposal.objects.create(
        project=judge.project,
        judge=judge,
        kind=Proposal.CRITERION,
        source=source,
        title=title[:160],
        created_by=by,
        **values,
    )


@transaction.atomic
def by_hand(*, judge: Judge, by: User, title: str, **values: str) -> Proposal:
    """A person's own criterion."""
    made = keep(judge, by, Proposal.PERSON, title=title, **values)
    record(judge, audit.CREATED, by, after={"criterion": title})
    return made


@transaction.atomic
def propose_prompt(*, judge: Judge, prompt: JudgePrompt, source: str, by: User | None) -> Proposal:
    """Another version of the words for this judge. Raises ProposalError for the one that it has."""
    if prompt.pk == judge.prompt_id or prompt.project_id != judge.project_id:
        raise ProposalError("This is the prompt that the judge has: choose or write another one.")
    made, _ = Proposal.objects.get_or_create(
        judge=judge,
        kind=Proposal.PROMPT,
        prompt=prompt,
        state=Proposal.PROPOSED,
        defaults={"project": judge.project, "source": source, "title": prompt.name, "created_by": by},
    )
    return made


@transaction.atomic
def propose_principles(*, judge: Judge, principles: str, source: str, by: User | None) -> Proposal:
    """The judge's present words with other principles, as a new version. Raises ProposalError or PromptError."""
    present = judge.prompt or prompts.first_prompt(judge.project)
    saved = prompts.save_prompt(
        project=judge.project,
        templates=present.templates,
        principles=principles,
        note=f"proposed for {judge.name}",
        by=by,
    )
    return propose_prompt(judge=judge, prompt=saved, source=source, by=by)


# --- Scoring --------------------------------------------------------------------------------------------------
def held_out(project: Project) -> list[people.Decided]:
    """The items that proposals are scored on, in their drawn order."""
    return people.decided(project, people.SCORING)


@transaction.atomic
def score(*, proposal: Proposal, judge: Judge, count: int, by: User | None) -> Study:
    """Judge held-out items in both ways. Raises ProposalError, or StudyError."""
    if proposal.state != Proposal.PROPOSED:
        raise ProposalError("This has been decided already: only what is proposed is scored.")
    items = held_out(judge.project)[: min(count, MOST)]
    if len(items) < comparing.LEAST:
        raise ProposalError(
            f"There are {len(items)} held-out items that people decided, and it takes {comparing.LEAST}: let people "
            "label more."
        )
    orders = [protocol.order_key(order) for order in calls.orders(judge, 2)]
    made = studies.create(
        judge=judge,
        kind=studies.kind_of(proposal),
        rows=[(str(each.item), arm, order) for each in items for arm in ARMS for order in orders],
        by=by,
        config={"proposal": proposal.pk, "people": {str(each.item): [each.people, each.prompt] for each in items}},
    )
    Proposal.objects.filter(pk=proposal.pk).update(study=made)
    return made


def subject(study: Study, call: StudyCall) -> Subject | None:
    """The held-out item of a call."""
    item = people.whole([int(call.key)]).get(int(call.key))
    return Subject(item.prompt, calls.answers_of(item), call.order) if item is not None else None


def change(study: Study, arm: str) -> Change:
    """The words of an arm: as they are, or as they would be if the proposal were accepted."""
    if arm != PROPOSED:
        return as_it_is
    proposal = Proposal.objects.select_related("prompt").get(pk=study.config["proposal"])
    if proposal.kind == Proposal.PROMPT:
        how = replace(protocol_of(study.judge.protocol), questions="")
        return lambda brief: protocol.brief_of(study.judge.project, proposal.prompt, how)
    asked = protocol.asked_question(question_of(proposal))
    return lambda brief: replace(brief, criteria=(*brief.criteria, asked.criterion), ratings=(*brief.ratings, asked))


def finish(study: Study, asked: Sequence[StudyCall]) -> dict[str, Any]:
    """What the two ways come to, on the items that both could be read on."""
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    decided = study.config["people"]
    for call in asked:
        if call.state == StudyCall.ANSWERED:
            shares[call.key, call.arm].append(float(call.choice == decided[call.key][0]))
    pairs = [
        comparing.Pair(prompt, mean(shares[item, PRESENT]), mean(shares[item, PROPOSED]))
        for item, (_, prompt) in decided.items()
        if shares[item, PRESENT] and shares[item, PROPOSED]
    ]
    unread = {arm: sum(call.arm == arm and call.state != StudyCall.ANSWERED for call in asked) for arm in ARMS}
    return {**comparing.compare(pairs), "unread": unread, "items": len(decided)}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


KIND = studies.Kind(finish=finish, subject=subject, change=change)


# --- Deciding -------------------------------------------------------------------------------------------------
def question_of(proposal: Proposal) -> Question:
    """The rating question that a criterion becomes."""
    return projects.question_from(spec_of(proposal), 0)


def spec_of(proposal: Proposal) -> dict[str, Any]:
    anchors = {rating: text for rating, text in (("1", proposal.low), ("5", proposal.high)) if text}
    return {
        "name": free_name(proposal),
        "kind": Question.RATING,
        "title": proposal.title,
        "description": proposal.description,
        "required": False,
        "config": {"min": 1, "max": 5, "anchors": anchors},
    }


def free_name(proposal: Proposal) -> str:
    """A name for files that the project does not use yet."""
    stem = re.sub(r"[^a-z0-9-]", "", slugify(proposal.title))[:50] or "criterion"
    taken = set(proposal.project.questions.values_list("name", flat=True))
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)


def beats(proposal: Proposal) -> bool:
    """Has it brought the judge nearer to people, by its newest score and more than by chance?"""
    study = proposal.study
    return study is not None and study.state == Study.DONE and study.result.get("points") == "toward"


@transaction.atomic
def accept(*, proposal: Proposal, by: User) -> None:
    """Take a criterion into the rubric as a new version, or give the judge the proposed prompt. Raises ProposalError.

    A prompt must have beaten the present one; a criterion is a person's decision, whatever its score.
    """
    locked = Proposal.objects.select_for_update(of=("self",)).select_related(*WHOLE).get(pk=proposal.pk)
    if locked.state != Proposal.PROPOSED:
        raise ProposalError("This has been decided already.")
    if locked.kind == Proposal.PROMPT:
        use_prompt(locked, by)
    else:
        try:
            projects.add_questions(project=locked.project, asked=[spec_of(locked)], by=by)
        except QuestionError as error:
            raise ProposalError(str(error)) from None
    settle(locked, Proposal.ACCEPTED, by)


WHOLE = ("project", "judge__project", "judge__prompt", "prompt", "study")


def use_prompt(proposal: Proposal, by: User) -> None:
    judge, prompt = proposal.judge, proposal.prompt
    if not beats(proposal) or proposal.study is None or proposal.study.prompt_version != judge.prompt_version:
        raise ProposalError("It has not beaten the prompt that the judge has now: score it on held-out items first.")
    assert prompt is not None
    attacks.review(change_judge(judge=judge, by=by, prompt=prompt))


def dismiss(*, proposal: Proposal, by: User) -> None:
    """Leave a proposal out."""
    settle(proposal, Proposal.DISMISSED, by)


def settle(proposal: Proposal, state: str, by: User) -> None:
    values = {"state": state, "decided_by": by, "decided_at": timezone.now()}
    if Proposal.objects.filter(pk=proposal.pk, state=Proposal.PROPOSED).update(**values):
        score_ = proposal.study.result if proposal.study else {}
        numbers = {name: score_.get(name) for name in ("difference", "low", "high", "n")}
        audit.record(
            project=proposal.project,
            by=by,
            verb=audit.ACCEPTED if state == Proposal.ACCEPTED else audit.REMOVED,
            kind=proposal.kind,
            object_id=proposal.pk,
            words=proposal.title,
            after={"source": proposal.source, **numbers},
        )
