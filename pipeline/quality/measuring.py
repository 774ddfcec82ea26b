"""A judge against people: its report and its calibrations. The sole writer of JudgeReport and Calibration.

What is measured comes from its annotations by its present model, prompt and protocol, question by question: every
preference, choice and rating that it answers. A calibration is fitted anew when a quarter more audits have come (ten
at least), when the judge becomes another evaluator, and when somebody says that older audits no longer count.

A person's wish to have a judge measured now is kept on its report until a worker has done it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from annotate import audit, slots
from annotate.measuring import newest_change
from annotate.models import Project, Question, Rater, Response, User
from annotate.questions import check_config, text_of
from annotate.statistics.intervals import wilson
from annotate.statistics.kappa import kappa
from pipeline.judging.concluding import model_name
from pipeline.models import Block, Calibration, Judge, JudgeReport
from pipeline.quality import audits, calibrating, drifting, grading, leaning, options
from pipeline.quality.audits import Audit, Reading
from pipeline.quality.grading import Answer, Graded, Grades

ENOUGH = 20  # audits on which people preferred a side: routing.md §6 finds 20 to 50 enough to start
GROWTH, AT_LEAST = 1.25, 10  # how many more audits make a new fit worth while
READ = 3000  # items whose texts are looked at for leanings
WATCHED = 3000  # audits that the test for drift looks at
REST = timedelta(minutes=5)  # a judge is measured by the worker no more often


WAY = 2  # of fitting: a calibration that was fitted in an earlier way is fitted anew
PATIENCE = timedelta(minutes=10)  # then the worker that began to measure is taken for dead


def refresh(project: Project) -> int:
    """Measure every judge of the project about which something may be new; returns how many."""
    newest = newest_change(project)
    known = dict(JudgeReport.objects.filter(rater__project=project).values_list("rater", "change"))
    rested = timezone.now() - REST
    resting = set(JudgeReport.objects.filter(measured_at__gt=rested).values_list("rater", flat=True))
    judges = Rater.objects.filter(project=project, kind=Rater.JUDGE, excluded_at=None).select_related("project")
    due = [rater for rater in judges if known.get(rater.pk) != newest and rater.pk not in resting]
    return sum(measure(rater) is not None for rater in due)


def questions_of(rater: Rater) -> list[Question]:
    """The questions on which judges of the project can be measured, preferences first."""
    asked = [question for question in rater.project.questions.all() if audits.can_be_calibrated(question)]
    return sorted(asked, key=lambda question: question.kind != Question.PREFERENCE)


def measure(rater: Rater) -> JudgeReport | None:
    """Measure a judge now, and fit calibrations anew where due; None where the project asks nothing to compare."""
    asked = questions_of(rater)
    if not asked:
        return None
    change = newest_change(rater.project)
    kept, _ = JudgeReport.objects.get_or_create(rater=rater)
    found, own = audits.material_of(rater), own_model(rater)
    reports: dict[str, Any] = {}
    for question in asked:
        measured = measured_on(question, found, kept.since, own, rater)
        reports[question.name] = measured.report
        if fit_is_due(newest_fit(rater, question, found.evaluator, kept.since), measured.sided):
            fit(rater=rater, question=question, measured=measured, evaluator=found.evaluator, since=kept.since)
    kept.evaluator, kept.change, kept.measured_at = found.evaluator, change, timezone.now()
    kept.report = {**reports.pop(asked[0].name), "others": reports}
    kept.save(update_fields=["evaluator", "change", "measured_at", "report"])
    return kept


class Measured(NamedTuple):
    """What is known of a judge on one question: its report, its audits, and those a calibration is fitted on."""

    report: dict[str, Any]
    found: Reading | Grades
    sided: Sequence[Audit] | Sequence[Graded]


def measured_on(
    question: Question, found: audits.Material, since: datetime | None, own: str, rater: Rater
) -> Measured:
    if question.kind == Question.PREFERENCE:
        reading = audits.read(rater, question, since, found)
        return Measured(report_of(reading, question, own), reading, sides(reading.audits))
    graded = grading.read(question, found, since)
    return Measured(graded_report(graded, question), graded, graded.audits)


# --- When somebody asks for it --------------------------------------------------------------------------------
def ask(rater: Rater) -> None:
    """Somebody wants the judge measured now: a worker does it."""
    JudgeReport.objects.get_or_create(rater=rater)
    JudgeReport.objects.filter(rater=rater).update(wanted_at=timezone.now(), error="")


def wanted() -> list[int]:
    """The judges (as raters) that somebody wants measured, and that no living worker measures."""
    return list(free().values_list("rater", flat=True))


def free() -> Any:
    dead = timezone.now() - PATIENCE
    return JudgeReport.objects.exclude(wanted_at=None).filter(Q(began_at=None) | Q(began_at__lt=dead))


def measure_wanted(rater_id: int) -> bool:
    """Measure a judge that somebody wants measured, unless another worker does; was it this one?"""
    if not free().filter(rater=rater_id).update(began_at=timezone.now()):
        return False
    kept = JudgeReport.objects.select_related("rater__project").get(rater=rater_id)
    done: dict[str, Any] = {"began_at": None}
    try:
        measure(kept.rater)
    except Exception:
        done |= {"wanted_at": None, "error": "It could not be measured: the worker's log says why."}
        raise
    finally:
        JudgeReport.objects.filter(rater=rater_id).update(**done)
    # who asked again meanwhile is served again
    JudgeReport.objects.filter(rater=rater_id, wanted_at=kept.wanted_at).update(wanted_at=None)
    return True


def own_model(rater: Rater) -> str:
    judge = Judge.objects.filter(rater=rater).select_related("model_version").first()
    return model_name(judge) if judge else ""


# --- The report -----------------------------------------------------------------------------------------------
def report_of(reading: Reading, question: Question, own: str) -> dict[str, Any]:
    """What the judge's page shows, as plain data."""
    found = reading.audits
    weights = np.asarray([each.weight for each in found])
    sided = sides(found)
    return {
        "question": question.title,
        "kind": question.kind,
        "audits": {
            "n": len(found),
            "sided": len(sided),
            "needed": max(0, ENOUGH - len(sided)),
            "effective": calibrating.effective(weights),
            "prompts": len({each.prompt for each in found}),
            "sources": Counter(each.source for each in found),
            "left_out": dict(reading.left_out),
            "unparsable": len(reading.unparsable),
            "others": reading.others,
            "items": len(reading.verdicts),
        },
        "accuracy": accuracy(found, reading.unparsable),
        "sided": accuracy(sided),
        "kappa": kappa_of(found),
        "leans": leaning.report(compared(reading, own)),
        "drift": drift_of([Seen(each.at, each.source, each.prompt, each.verdict.item, each.right) for each in found]),
    }


def graded_report(found: Grades, question: Question) -> dict[str, Any]:
    """What the page shows of a choice or a rating, as plain data."""
    votes = grading.votes_of(question, found)
    right = (votes.judge * votes.people).sum(axis=1)
    rows = zip(found.audits, right, strict=True)
    return {
        "question": question.title,
        "kind": question.kind,
        "audits": {
            "n": len(found.audits),
            "sided": len(found.audits),
            "needed": max(0, ENOUGH - len(found.audits)),
            "effective": calibrating.effective(votes.weights),
            "prompts": len(set(votes.prompts)),
            "sources": Counter(each.source for each in found.audits),
            "left_out": dict(found.left_out),
            "items": len(found.answers),
        },
        **options.agreement(votes),
        "drift": drift_of([Seen(each.at, each.source, each.prompt, each.item, float(part)) for each, part in rows]),
    }


def sides(found: Sequence[Audit]) -> list[Audit]:
    """The audits on which people preferred one response."""
    return [each for each in found if each.people in ("a", "b")]


def accuracy(found: Sequence[Audit], unparsable: Sequence[float] = ()) -> dict[str, Any]:
    """How often it says what people decided: an unreadable verdict is wrong, one order only is half right.

    Audits weigh by how rarely they were drawn; the interval is Wilson's with the number of equally weighted audits
    that would say as much.
    """
    weights = np.asarray([*(each.weight for each in found), *unparsable])
    if not len(weights):
        return leaning.share(0, 0)
    right = np.asarray([*(each.right for each in found), *(0.0 for _ in unparsable)])
    value, n = float(np.average(right, weights=weights)), calibrating.effective(weights)
    low, high = wilson(value * n, n)
    return {"share": value, "low": low, "high": high, "n": len(weights)}


def kappa_of(found: Sequence[Audit]) -> dict[str, Any]:
    """Cohen's kappa of the judge's one vote with people's decision; audits count alike."""
    options = sorted({each.people for each in found} | {each.verdict.one_word for each in found})
    place = {option: number for number, option in enumerate(options)}
    table = np.zeros((len(options), len(options)))
    for each in found:
        table[place[each.people], place[each.verdict.one_word]] += 1
    return kappa(table)


class Seen(NamedTuple):
    """One audit as the test for drift sees it; `right` is how much of the judge's vote fell on people's decision."""

    at: datetime
    source: str
    prompt: str
    item: int
    right: float


def drift_of(found: Sequence[Seen]) -> dict[str, Any]:
    """Has the judge become worse, by its audits in the order in which they came, and since when does it look so?

    The test needs audits that would be as good as shuffled. So those from files, whose order is no time, are left
    out; of each prompt only the first counts; and those of one day, which may have been worked through in the order
    of a list, are shuffled.
    """
    first: dict[str, Seen] = {}
    for each in sorted((each for each in found if each.source != audits.FILE), key=by_day):
        first.setdefault(each.prompt, each)
    watched = list(first.values())[-WATCHED:]
    said = drifting.watch([1 - each.right for each in watched], [draw(each, "cut") for each in watched])
    days = {
        name: watched[said[name]].at.isoformat() if said[name] is not None and said[name] < len(watched) else None
        for name in ("alarm", "change")
    }
    return {**said, "warm_up": drifting.WARM_UP, "alarm_at": days["alarm"], "change_at": days["change"]}


def by_day(seen: Seen) -> tuple[Any, ...]:
    return seen.at.date(), draw(seen, "order")


def draw(seen: Seen, what: str) -> float:
    return drifting.draw_of(f"{what} {seen.item}")


def compared(reading: Reading, own: str) -> list[leaning.Compared]:
    """The judge's items as rows for its leanings: audits first, then its newest."""
    of_item = {each.verdict.item: each for each in reading.audits}
    newest = sorted(reading.verdicts, key=lambda item: -reading.verdicts[item].annotation)
    ordered = [*of_item, *(item for item in newest if item not in of_item)]
    chosen = [item for item in ordered if item in reading.prompts][:READ]
    texts = texts_of(chosen)
    return [row_of(reading, of_item.get(item), item, texts[item], own) for item in chosen if item in texts]


def texts_of(item_ids: Sequence[int]) -> dict[int, tuple[list[str], list[str]]]:
    """Item → the texts of its two responses, and the models that wrote them."""
    found: dict[int, tuple[list[str], list[str]]] = {}
    for batch in slots.batches(item_ids):
        rows = Response.objects.filter(item__in=batch).order_by("item", "position")
        for item, model, messages in rows.values_list("item_id", "model", "messages"):
            texts, models = found.setdefault(item, ([], []))
            texts.append(text_of(messages))
            models.append(model)
    return {item: pair for item, pair in found.items() if len(pair[0]) == 2}


def row_of(
    reading: Reading, audited: Audit | None, item: int, pair: tuple[list[str], list[str]], own: str
) -> leaning.Compared:
    verdict = reading.verdicts[item]
    people = {"a": 1.0, "b": 0.0}.get(audited.people) if audited else None
    texts, models = pair
    cuts: dict[str, list[str]] = {"tag": [str(tag) for tag in reading.tags[item]]}
    if all(models):
        cuts["models"] = [" · ".join(sorted(set(models)))]
    if audited:
        year, week, _ = audited.at.isocalendar()
        cuts[leaning.WEEK] = [f"{year} week {week:02d}"]
    return leaning.Compared(
        prompt=reading.prompts[item],
        judge=verdict.share_first,
        people=people,
        places=tuple(each.first for each in verdict.said if each.first is not None),
        orders=len(verdict.said),
        same=verdict.kind != audits.DIFFERS,
        traits=leaning.traits_of(texts, models, own),
        right=audited.right if audited else None,
        slices=cuts,
    )


# --- Calibration ----------------------------------------------------------------------------------------------
def newest_fit(rater: Rater, question: Question, evaluator: str, since: datetime | None) -> Calibration | None:
    """The newest calibration of this evaluator, on audits that still count."""
    counted = {"evaluator": evaluator, "fitted_on__since": since.isoformat() if since else None}
    return Calibration.objects.filter(rater=rater, question=question, **counted).order_by("-number").first()


def report_on(kept: JudgeReport, question: Question) -> Mapping[str, Any]:
    """The part of a report that is about this question; empty where it was not measured."""
    report: Mapping[str, Any] = kept.report
    others: Mapping[str, Mapping[str, Any]] = report.get("others", {})
    if question.name in others:
        return others[question.name]
    return report if question == first_of(kept.rater) else {}


def first_of(rater: Rater) -> Question | None:
    """The question that a report is about first of all."""
    return next(iter(questions_of(rater)), None)


def has_changed(kept: JudgeReport, question: Question) -> bool:
    """Has the judge become worse, on this question or on the one that it is measured on first of all?"""
    return any(report.get("drift", {}).get("alarm") is not None for report in (kept.report, report_on(kept, question)))


def in_force(rater: Rater, question: Question) -> Calibration | None:
    """What the judge's answers are worth now; None for a new evaluator, too few audits, one that has drifted, and one
    that attacks fool (`attacks`).
    """
    kept = JudgeReport.objects.filter(rater=rater).select_related("rater__project").first()
    if kept is None or has_changed(kept, question) or Block.objects.filter(judge__rater=rater).exists():
        return None
    return newest_fit(rater, question, audits.current_evaluator(rater), kept.since)


def fit_is_due(last: Calibration | None, sided: Sequence[Any]) -> bool:
    count = len(sided)
    if count < ENOUGH:
        return False
    if last is None or last.fitted_on.get("way") != WAY:
        return True
    return bool(count >= max(last.fitted_on["sided"] * GROWTH, last.fitted_on["sided"] + AT_LEAST))


@transaction.atomic
def fit(
    *, rater: Rater, question: Question, measured: Measured, evaluator: str, since: datetime | None
) -> Calibration:
    """Fit and keep a new calibration under the next number."""
    Rater.objects.select_for_update(no_key=True).get(pk=rater.pk)  # one number at a time
    if isinstance(measured.found, Grades):
        mapped, report = options.calibrate(grading.votes_of(question, measured.found))
        method, parameters = mapped.method, {**mapped.parameters, "options": list(measured.found.options)}
        rows = [
            [each.item, each.part, each.answer.annotation, each.answer.vote, each.people, round(each.weight, 9)]
            for each in measured.found.audits
        ]
        newest = max(each.answer.annotation for each in measured.found.audits)
    else:
        chosen, report = calibrating.calibrate(pairs_of(sides(measured.found.audits)))
        method, parameters = chosen.method, {**chosen.parameters, "neither": neither_of(measured.found, question)}
        rows = [
            [
                each.verdict.item,
                each.verdict.annotation,
                round(each.verdict.margin, 9),
                each.people,
                round(each.weight, 9),
            ]
            for each in measured.found.audits
        ]
        newest = max(each.verdict.annotation for each in measured.found.audits)
    numbers = Calibration.objects.filter(rater=rater, question=question).aggregate(most=Max("number"))
    return Calibration.objects.create(
        rater=rater,
        question=question,
        number=(numbers["most"] or 0) + 1,
        evaluator=evaluator,
        method=method,
        parameters=parameters,
        fitted_on={
            "way": WAY,
            "audits": len(rows),
            "sided": len(measured.sided),
            "sources": Counter(each.source for each in measured.found.audits),
            "newest_annotation": newest,
            "since": since.isoformat() if since else None,
            # so that it can be fitted again and come out the same
            "sha256": hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest(),
        },
        report=report,
    )


def pairs_of(sided: Sequence[Audit]) -> calibrating.Pairs:
    """The audits as arrays; weights have a mean of 1."""
    weights = np.asarray([each.weight for each in sided])
    return calibrating.Pairs(
        margins=np.asarray([each.verdict.margin for each in sided]),
        outcomes=np.asarray([float(each.people == "a") for each in sided]),
        weights=weights / weights.mean(),
        prompts=[each.prompt for each in sided],
    )


def neither_of(reading: Reading, question: Question) -> dict[str, Any]:
    """How often people choose no side, by the kind of verdict."""
    config = check_config(question.kind, question.config)
    ways_out = ["tie", *(["both_bad"] if config.get("both_bad", True) else [])]
    return calibrating.neither(
        [each.verdict.kind for each in reading.audits],
        [each.people for each in reading.audits],
        np.asarray([each.weight for each in reading.audits]),
        ways_out,
    )


def map_of(calibration: Calibration) -> calibrating.Calibrated:
    return calibrating.Calibrated(calibration.method, calibration.parameters)


def posterior_of(calibration: Calibration, verdict: audits.Verdict) -> dict[str, float]:
    """What a calibrated judge says of an item: option → probability."""
    first = float(map_of(calibration)(np.asarray([verdict.margin]))[0])
    shares: Mapping[str, Any] = calibration.parameters["neither"]
    return calibrating.posterior(first, shares.get(verdict.kind, shares[""]))


def choice_posterior(calibration: Calibration, answer: Answer) -> dict[str, float]:
    """The same of a choice; the caller sees to it that the options are still those of the calibration."""
    mapped = options.Mapped(calibration.method, False, calibration.parameters)
    found = mapped(np.asarray([answer.vote]))[0]
    return dict(zip(calibration.parameters["options"], found.tolist(), strict=True))


@transaction.atomic
def start_anew(*, rater: Rater, by: User) -> JudgeReport:
    """From now on only what was audited since the day on which the judge began to look different counts.

    Where it does not look different, only what comes after this moment.

    The calibration starts anew with what is left, and so does the test for drift.
    """
    kept, _ = JudgeReport.objects.get_or_create(rater=rater)
    changed = kept.report.get("drift", {}).get("change_at")
    before = kept.since.isoformat() if kept.since else None
    day = datetime.fromisoformat(changed).replace(hour=0, minute=0, second=0, microsecond=0) if changed else None
    kept.since, kept.since_by = day or timezone.now(), by
    kept.save(update_fields=["since", "since_by"])
    audit.record(
        project=rater.project,
        by=by,
        verb=audit.CHANGED,
        kind="judge",
        object_id=rater.pk,
        words=rater.name,
        before={"audits_since": before},
        after={"audits_since": kept.since.isoformat()},
    )
    return kept
