"""What a judge's page shows of its quality, in words and places on a drawing. Measures nothing itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotate.models import Annotation, Item, Question
from pipeline import money
from pipeline.judging import calls
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError
from pipeline.ml.configs import ConfigError
from pipeline.models import Block, Calibration, Judge, JudgePrompt, JudgeReport, ProbeLimit, Proposal, Study, StudyCall
from pipeline.quality import attacks, audits, calibrating, comparing, measuring, probes, proposals, studies
from pipeline.routing import audit_draw

SIZE = 200.0  # of a drawing, in its own units
SOURCES = {audits.DRAWN: _("drawn by lot"), audits.FILE: _("from a file"), audits.BEFORE: _("people first")}


def page(judge: Judge, name: str = "") -> dict[str, Any]:
    """Everything that the page shows about calibration and leanings, on the question of this name or the first."""
    asked = measuring.questions_of(judge.rater)
    question = next((each for each in asked if each.name == name), asked[0] if asked else None)
    kept = JudgeReport.objects.filter(rater=judge.rater).select_related("since_by", "rater__project").first()
    now = audits.evaluator_of(judge)
    is_current = kept is not None and bool(kept.report) and kept.evaluator == now
    report = measuring.report_on(kept, question) if kept and question and is_current else None
    fits = list(Calibration.objects.filter(rater=judge.rater).select_related("question").order_by("-pk")[:10])
    force = measuring.in_force(judge.rater, question) if question else None
    return {
        "question": question,
        "is_first": bool(asked) and question == asked[0],
        "kept": kept,
        "report": report,
        "sources": sources(report) if report else [],
        "leans": leans(report) if report and "leans" in report else [],
        "evaluator": now,
        "stale": kept is not None and kept.evaluator not in ("", now),
        "measuring": kept is not None and kept.wanted_at is not None,
        "calibration": force,
        "tried": tried_maps(force) if force else [],
        "others": [{"fit": fit, "method": METHODS[fit.method]} for fit in fits if force is None or fit.pk != force.pk],
        "plot": plots(force, question) if force and question else None,
        "candidates": candidates(judge, question),
        "each_question": question_rows(judge, kept if is_current else None),
        "enough": measuring.ENOUGH,
    }


METHODS = {
    calibrating.IDENTITY: _("as it says"),
    calibrating.TEMPERATURE: _("temperature"),
    calibrating.ISOTONIC: _("isotonic steps"),
}
NO_CALIBRATION = {
    Question.RANKING: _("not calibrated: an order of answers is no option that could be called 80% sure"),
    Question.CRITIQUE: _("not calibrated: words are neither right nor wrong"),
    Question.STEP: _("not calibrated: marks on steps; their agreement with people stands under Agreement"),
    Question.SPAN: _("not calibrated: passages are marked, no option is chosen"),
    Question.CHOICE: _("not calibrated: several options may be taken at once"),
}


def tried_maps(calibration: Calibration) -> list[dict[str, Any]]:
    """What each map did on unseen prompts, in words. None of a calibration from before they were compared."""
    rows = calibration.report.get("candidates", [])
    return [{**row, "words": METHODS[row["method"]], "is_own": row["method"] == calibrating.IDENTITY} for row in rows]


def question_rows(judge: Judge, kept: JudgeReport | None) -> list[dict[str, Any]]:
    """One row for each question of the project: what is known of the judge on it, or why there is no calibration."""
    now = audits.evaluator_of(judge)
    mine = Calibration.objects.filter(rater=judge.rater, evaluator=now)
    fitted = set(mine.values_list("question", flat=True).distinct())
    rows = []
    for question in judge.project.questions.all():
        row: dict[str, Any] = {"question": question}
        if audits.can_be_calibrated(question):
            row["report"] = measuring.report_on(kept, question) if kept else None
            row["calibration"] = measuring.in_force(judge.rater, question)
            row["tried"] = tried_maps(row["calibration"]) if row["calibration"] else []
            row["is_held"] = row["calibration"] is None and question.pk in fitted
        else:
            row["why_not"] = NO_CALIBRATION[question.kind]
        rows.append(row)
    return rows


def short(judge: Judge) -> dict[str, Any]:
    """In a line, for the judge's own page: is it calibrated, has it changed, do attacks fool it?"""
    question, trial = measuring.first_of(judge.rater), attacks.newest(judge)
    kept = JudgeReport.objects.filter(rater=judge.rater).first()
    mine = kept.report if kept and kept.evaluator == audits.evaluator_of(judge) else {}
    return {
        "calibration": measuring.in_force(judge.rater, question) if question else None,
        "audits": mine.get("audits"),
        "changed": mine.get("drift", {}).get("alarm") is not None,
        "trial": trial,
    }


def candidates(judge: Judge, question: Question | None) -> int:
    """How many items people have labelled could be drawn to measure the judge."""
    return audit_draw.candidates(judge.project, judge.rater).count() if question else 0


def plots(calibration: Calibration, question: Question) -> dict[str, Any]:
    """The reliability tables before and after as drawings; `floor` is where their confidence begins."""
    floor = 0.5 if question.kind == Question.PREFERENCE else 0.0
    drawn = {name: plot(calibration.report[name]["reliability"], floor) for name in ("before", "after")}
    return {**drawn, "floor": floor, "start": SIZE * (1 - floor)}


def plot(rows: Sequence[Mapping[str, Any]], floor: float = 0.5) -> list[dict[str, float]]:
    """Rows of a reliability table as places on a square drawing: confidence to the right, accuracy upwards.

    The drawing runs from `floor` to 1 to the right and from 0 to 1 upwards.
    """
    return [
        {
            "x": round((row["confidence"] - floor) / (1 - floor) * SIZE, 1),
            "y": round((1 - row["accuracy"]) * SIZE, 1),
            "top": round((1 - row["to"]) * SIZE, 1),
            "bottom": round((1 - row["from"]) * SIZE, 1),
            "r": round(2.5 + 5 * row["weight"] ** 0.5, 1),
        }
        for row in rows
    ]


TRAITS = {
    "longer": _("the longer answer"),
    "lists": _("more list items"),
    "headings": _("more headings"),
    "bold": _("more bold"),
    "own model": _("its own model's answer"),
}


def leans(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a trait, in words."""
    traits = report["leans"]["traits"]
    return [{"words": words, **traits[name]} for name, words in TRAITS.items() if name in traits]


def sources(report: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """Where audits came from, in words."""
    return [(SOURCES[name], count) for name, count in report["audits"]["sources"].items()]


# --- Attacks --------------------------------------------------------------------------------------------------
ATTACKS = {
    "empty": _("empty answer"),
    "symbol": _("one symbol"),
    "opener": _("“Thought process:”"),
    "step by step": _("“Let us solve this step by step.”"),
    "flattery": _("flattery"),
    "instructions": _("instructions to the judge"),
    "padding": _("padded length"),
    "references": _("invented references"),
}


def attacks_on(judge: Judge) -> dict[str, Any]:
    """The judge's newest trial, the one that is under way, and what fooled it."""
    trial = attacks.newest(judge)
    last = Study.objects.filter(judge=judge, kind=Study.PROBES).first()
    open_ = last if last is not None and last.state != Study.DONE else None
    limit = attacks.limit_of(judge.project)
    return {
        "trial": trial,
        "kinds": kind_rows(trial) if trial else [],
        "fooled": fooled_by(trial) if trial else [],
        "trial_cost": cost_of(trial) if trial else None,
        "open_trial": progress(open_) if open_ else None,
        "under_way": open_ is not None and open_.state == Study.DUE,
        "questions": len(calls.orders(judge, 2)) * len(probes.PROBES),
        "is_ours": judge.kind in Judge.BY_RUNS,
        "most_cost": most_cost(judge),
        "limit": limit,
        "not_tried": not_tried(judge, limit) if trial is None and open_ is None else "",
    }


def kind_rows(trial: Study) -> list[dict[str, Any]]:
    kinds = trial.result["kinds"]
    return [{"words": words, **kinds[kind]} for kind, words in ATTACKS.items() if kind in kinds]


def fooled_by(trial: Study) -> list[dict[str, Any]]:
    """One attack of each kind that the judge named better: the question, the attack, and the judge's own words."""
    of_kind: dict[str, StudyCall] = {}
    for call in trial.calls.filter(choice="b", key__in=probes.PROBES).order_by("pk"):
        of_kind.setdefault(probes.PROBES[call.key].kind, call)
    return [
        {
            "question": probes.PROBES[call.key].question,
            "attack": probes.PROBES[call.key].attack(call.order.index(1)) or _("(nothing)"),
            "reply": call.reply,
        }
        for call in of_kind.values()
    ]


def cost_of(study: Study) -> Any:
    return money.amount(sum(study.calls.values_list("cost_units", flat=True)))


def silenced_on(item: Item) -> list[Block]:
    """The blocks of judges that have answered this item: why their verdicts do not count on it."""
    answered = Annotation.objects.filter(item=item, counted=True).values("rater")
    blocks = Block.objects.filter(judge__rater__in=answered, judge__rater__excluded_at__isnull=False)
    return list(blocks.select_related("judge__project", "study"))


def progress(study: Study) -> dict[str, Any]:
    """How far a study is."""
    states = list(study.calls.values_list("state", flat=True))
    waiting = sum(state == StudyCall.PENDING for state in states)
    return {"study": study, "done": len(states) - waiting, "of": len(states), "cost": cost_of(study)}


def most_cost(judge: Judge) -> Any:
    """The most that a trial may cost; None where the judge cannot be asked."""
    try:
        return money.amount(attacks.most_units(judge))
    except (ProtocolError, SecretError, ConfigError):
        return None


def not_tried(judge: Judge, limit: ProbeLimit) -> Any:
    """Why a judge that was not tried will not be by itself, in words; "" where the worker is about to."""
    if not limit.automatic:
        return _("The project tries judges only when somebody says so.")
    if not judge.enabled:
        return _("It is switched off: it is tried once it is in use.")
    return attacks.unaffordable(judge)


# --- The rubric and the prompt --------------------------------------------------------------------------------
SHOWN = 30  # proposals on the page


def rubric_of(judge: Judge) -> dict[str, Any]:
    """What is proposed for a judge, and on what it can be scored."""
    mine = Proposal.objects.filter(judge=judge).select_related("prompt", "study", "decided_by", "judge__model_version")
    open_ = list(mine.filter(state=Proposal.PROPOSED)[:SHOWN])
    others = Study.objects.filter(judge=judge).exclude(kind=Study.PROBES).exclude(state=Study.DONE)
    under_way = [progress(study) for study in others[:5]]
    written = Study.objects.filter(judge=judge, kind=Study.WRITING, state=Study.DONE).first()
    return {
        "criteria": [proposal_row(each) for each in open_ if each.kind == Proposal.CRITERION],
        "prompt_proposals": [proposal_row(each) for each in open_ if each.kind == Proposal.PROMPT],
        "settled": list(mine.exclude(state=Proposal.PROPOSED)[:SHOWN]),
        "open_studies": under_way,
        "under_way": any(each["study"].state == Study.DUE for each in under_way),
        "cannot": {name: studies.cannot(judge, kind) for name, kind in CANNOT.items()},
        "write_error": written.result.get("error", "") if written else "",
        "held_out": len(proposals.held_out(judge.project)),
        "least": comparing.LEAST,
        "usual": proposals.USUAL,
        "prompts": JudgePrompt.objects.filter(project=judge.project).exclude(name=judge.prompt_version),
    }


CANNOT = {"write": Study.WRITING, "criterion": Study.CRITERION, "prompt": Study.PROMPT}


def p_in_words(p: float | None) -> str:
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def proposal_row(proposal: Proposal) -> dict[str, Any]:
    """A proposal with its newest score, and whether it may be used."""
    study = proposal.study
    return {
        "proposal": proposal,
        "score": study.result if study is not None and study.state == Study.DONE else None,
        "cost": cost_of(study) if study is not None and study.state == Study.DONE else None,
        "asking": study is not None and study.state == Study.DUE,
        "cannot": studies.cannot(proposal.judge, studies.kind_of(proposal)),
        "p": p_in_words(study.result.get("p")) if study is not None and study.result else "",
        "is_old": study is not None and study.evaluator != audits.evaluator_of(proposal.judge),
        "beats": proposals.beats(proposal),
    }
