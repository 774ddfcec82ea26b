"""Attacks on a judge: its probes as a study, and what follows when they fool it.

The probes are asked with the judge's own prompt, in the project's words, in both orders. Where more of them fool the
judge than the project lets pass, the judge is blocked: it is asked nothing more until its model or prompt is another,
or somebody lets more pass. The sole writer of Block and ProbeLimit.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction

from annotate import audit
from annotate.models import Exclusion, Project, Question, Rater, User
from annotate.quality import exclusion
from pipeline import money
from pipeline.judging import calls, plans, protocol, settling
from pipeline.judging.plans import Subject
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError
from pipeline.ml.configs import ConfigError
from pipeline.models import Block, Judge, ProbeLimit, Study, StudyCall
from pipeline.quality import audits, probes, studies

GOOD = 0  # the good answer's place in stored order; the attack is 1


def start(*, judge: Judge, by: User | None) -> Study:
    """Try the judge on all probes. Raises StudyError."""
    orders = [protocol.order_key(order) for order in calls.orders(judge, 2)]
    rows = [(key, "", order) for key in probes.PROBES for order in orders]
    return studies.create(judge=judge, kind=Study.PROBES, rows=rows, by=by, config={"probes": probes.VERSION})


def subject(study: Study, call: StudyCall) -> Subject:
    """The probe's question with both answers, as the judge is asked about items."""
    probe = probes.PROBES[call.key]
    answers = [[said(probe.good)], [said(probe.attack(call.order.index(1 - GOOD)))]]
    return Subject([{"role": "user", "content": probe.question}], answers, call.order)


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


FOOLED = {"a": 0.0, "tie": 0.5, "b": 1.0}


def finish(study: Study, asked: Sequence[StudyCall]) -> dict[str, Any]:
    """How often the judge was fooled; then it is blocked, or let go."""
    of_probe: dict[str, list[float]] = defaultdict(list)
    for call in asked:
        if call.state == StudyCall.ANSWERED:
            of_probe[call.key].append(FOOLED[call.choice])
    result = {
        **probes.summary([(key, sum(shares) / len(shares)) for key, shares in of_probe.items()]),
        "unparsable": sum(call.state == StudyCall.UNPARSABLE for call in asked),
        "failed": sum(call.state == StudyCall.FAILED for call in asked),
        "questions": len(asked),
    }
    Study.objects.filter(pk=study.pk).update(state=Study.DONE, result=result)
    review(study.judge)
    return result


KIND = studies.Kind(finish=finish, subject=subject, anew=True)


# --- What follows ---------------------------------------------------------------------------------------------
def limit_of(project: Project) -> ProbeLimit:
    """What the project lets pass; the suggestion where it has said nothing."""
    return ProbeLimit.objects.filter(project=project).first() or ProbeLimit(project=project)


def newest(judge: Judge) -> Study | None:
    """The newest whole trial of the judge as it is now."""
    done = Study.objects.filter(judge=judge, kind=Study.PROBES, state=Study.DONE, evaluator=audits.evaluator_of(judge))
    return done.order_by("-id").first()


@transaction.atomic
def review(judge: Judge) -> bool:
    """Block the judge or let it go, by its newest trial and the project's limit; is it blocked?

    While it is blocked, what it said before does not count either: a judge that nonsense fools may have been fooled
    there. Its answers are left out as a person's would be, and taken in again when it is let go.
    """
    Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    limit, trial = limit_of(judge.project), newest(judge)
    share = trial.result.get("share") if trial else None
    there = Block.objects.filter(judge=judge).first()
    if trial is None or share is None or not limit.blocks or 100 * share <= limit.percent:
        if there is not None:
            there.delete()
            settling.resume(judge=judge)
            take_in_again(there)
        return False
    if there is None or there.study_id != trial.pk:
        there, _ = Block.objects.update_or_create(
            judge=judge,
            defaults={"study": trial, "evaluator": trial.evaluator},
            create_defaults={"study": trial, "evaluator": trial.evaluator, "exclusion": left_out(judge, share)},
        )
    settling.halt(judge=judge, message=sentence(share, limit))
    return True


def left_out(judge: Judge, share: float) -> Exclusion | None:
    """Leave the judge's answers out; None where somebody has done so already."""
    if Rater.objects.filter(pk=judge.rater_id, excluded_at__isnull=False).exists():
        return None
    return exclusion.exclude(rater=judge.rater, by=None, reason=f"{share:.1%} of the attacks fooled the judge.")


def take_in_again(block: Block) -> None:
    """Let the answers count again that the block had left out, unless somebody has decided otherwise meanwhile."""
    made = block.exclusion
    if made is None or made.state not in (Exclusion.EXCLUDING, Exclusion.EXCLUDED):
        return
    if Exclusion.objects.filter(rater=made.rater).first() == made:
        exclusion.undo(exclusion=made, by=None)


def sentence(share: float, limit: ProbeLimit) -> str:
    return (
        f"Blocked: {share:.1%} of the attacks fooled it, and the project lets {limit.percent:g}% pass. What it said "
        "before does not count meanwhile. Give it another prompt or set up another model; or let more pass on its "
        "Quality page."
    )


@transaction.atomic
def set_limit(*, project: Project, percent: float, blocks: bool, automatic: bool, by: User) -> ProbeLimit:
    """Change what the project lets pass; its judges are blocked or let go at once."""
    kept, _ = ProbeLimit.objects.get_or_create(project=project)
    values = {"percent": percent, "blocks": blocks, "automatic": automatic}
    old = {name: getattr(kept, name) for name in values}
    for name, value in values.items():
        setattr(kept, name, value)
    kept.save()
    audit.record_change(project=project, by=by, kind="probe_limit", object_id=kept.pk, old=old, new=values)
    for judge in Judge.objects.filter(project=project).select_related("project", "rater", "model_version"):
        review(judge)
    return kept


def look(project: Project) -> None:
    """The worker's look: let go what is another evaluator now, and try what is new, where the project wants that."""
    judges = Judge.objects.filter(project=project).select_related("project", "rater", "model_version", "prompt")
    for judge in judges.filter(block__isnull=False):
        review(judge)
    if limit_of(project).automatic and project.questions.filter(kind=Question.PREFERENCE).exists():
        for judge in judges.filter(enabled=True):
            if not was_tried(judge) and not unaffordable(judge):
                start(judge=judge, by=None)


def was_tried(judge: Judge) -> bool:
    """Has somebody begun to try the judge as it is now?"""
    return Study.objects.filter(judge=judge, kind=Study.PROBES, evaluator=audits.evaluator_of(judge)).exists()


def unaffordable(judge: Judge) -> str:
    """Why a trial is not begun by itself; empty where nothing speaks against it."""
    try:
        most, left = most_units(judge), judge.units_left()
    except (ProtocolError, SecretError, ConfigError) as error:
        return str(error)
    if left is None or most <= left:
        return ""
    return (
        f"It may cost up to {money.amount(most):.4f}, and the spend cap leaves {money.amount(max(0, left)):.4f}: "
        "raise the cap, or try it by hand and it stops at the cap."
    )


def most_units(judge: Judge) -> int:
    """About the most that a trial costs, by the first requests of one of its usual questions; 0 for models of ours.

    Of a cascade, every tier may be asked in each order. Raises ProtocolError or SecretError.
    """
    if judge.kind in Judge.BY_RUNS:
        return 0
    study, call = Study(judge=judge), StudyCall(key="opener/0", order_key="0-1")
    voices = studies.voices_of(study, KIND, "")
    _, plan = studies.plan_of(study, KIND, voices, call)
    asked = [request for request in next(plan) if isinstance(request, plans.Ask)]
    if judge.kind == Judge.CASCADE:
        asked = [replace(asked[0], member=member) for member in voices.by_id]
    units = sum(settling.bound(voices.by_id[request.member].judge, request.form.messages) for request in asked)
    return units * len(probes.PROBES) * len(calls.orders(judge, 2))
