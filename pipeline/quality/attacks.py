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
from annotate.models import Project, User
from pipeline.judging import calls, plans, protocol, settling
from pipeline.judging.config import Protocol, protocol_of
from pipeline.judging.plans import Plan, Subject
from pipeline.models import Block, Judge, ProbeLimit, Study, StudyCall
from pipeline.quality import audits, probes, studies

GOOD = 0  # the good answer's place in stored order; the attack is 1


def start(*, judge: Judge, by: User | None) -> Study:
    """Try the judge on all probes. Raises StudyError."""
    orders = [protocol.order_key(order) for order in protocol.ORDERS]
    rows = [(key, "", order) for key in probes.PROBES for order in orders]
    return studies.create(judge=judge, kind=Study.PROBES, rows=rows, by=by, config={"probes": probes.VERSION})


def plan(study: Study, call: StudyCall) -> Plan[tuple[str, str]]:
    """Ask about the probe's question with both answers, as the judge is asked about items."""
    probe = probes.PROBES[call.key]
    answers = [[said(probe.good)], [said(probe.attack(call.order.index(1 - GOOD)))]]
    subject = Subject([{"role": "user", "content": probe.question}], answers, call.order)
    return verdict(study.judge, protocol.brief_of(study.judge.project, study.judge.prompt, how_of(study)), subject)


def how_of(study: Study) -> Protocol:
    """The judge's own protocol, for the preference alone."""
    return replace(protocol_of(study.judge.protocol), questions="")


def verdict(judge: Judge, brief: protocol.Brief, subject: Subject) -> Plan[tuple[str, str]]:
    """The judge's choice in stored order, and what is wrong where there is none. Tools are left out."""
    outcome = yield from plans.whole(brief, replace(protocol_of(judge.protocol), questions=""), subject)
    choice = str(outcome.answers.get(brief.question, {}).get("choice", "unparsable"))
    if choice not in audits.SPOKEN:
        return "", outcome.error or "It named neither answer."
    return choice, ""


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


KIND = studies.Kind(plan=plan, finish=finish, anew=True)


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
    """Block the judge or let it go, by its newest trial and the project's limit; is it blocked?"""
    Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    limit, trial = limit_of(judge.project), newest(judge)
    share = trial.result.get("share") if trial else None
    there = Block.objects.filter(judge=judge).first()
    if trial is None or share is None or not limit.blocks or 100 * share <= limit.percent:
        if there is not None:
            there.delete()
            settling.resume(judge=judge)
        return False
    if there is None or there.study_id != trial.pk:
        Block.objects.update_or_create(judge=judge, defaults={"study": trial, "evaluator": trial.evaluator})
    settling.halt(judge=judge, message=sentence(share, limit))
    return True


def sentence(share: float, limit: ProbeLimit) -> str:
    return (
        f"Blocked: {share:.1%} of the attacks fooled it, and the project lets {limit.percent:g}% pass. Give it "
        "another prompt or set up another model; or let more pass on its Quality page."
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
    for judge in Judge.objects.filter(project=project).select_related("project", "model_version"):
        review(judge)
    return kept


def look(project: Project) -> None:
    """The worker's look: let go what is another evaluator now, and try what is new, where the project wants that."""
    judges = Judge.objects.filter(project=project).select_related("project", "model_version")
    for judge in judges.filter(block__isnull=False):
        review(judge)
    if limit_of(project).automatic:
        for judge in judges.filter(enabled=True, kind=Judge.ENDPOINT):
            tried = Study.objects.filter(judge=judge, kind=Study.PROBES, evaluator=audits.evaluator_of(judge))
            if not tried.exists():
                start(judge=judge, by=None)


def most_units(judge: Judge) -> int:
    """About the most that a trial costs, by the first request of one of its usual questions."""
    study = Study(judge=judge)
    first = next(plan(study, StudyCall(key="opener/0", order_key="0-1")))
    units = sum(calls.bound(judge, request.form.messages) for request in first if isinstance(request, plans.Ask))
    return units * len(probes.PROBES) * len(protocol.ORDERS)
