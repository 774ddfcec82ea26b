"""A judge against people: its report and its calibration. The sole writer of JudgeReport and Calibration.

What is measured comes from its annotations by its present model, prompt and protocol. A calibration is
fitted anew when a quarter more audits have come (ten at least), when the judge becomes another evaluator, and when
somebody says that older audits no longer count.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from annotate import audit, slots
from annotate.measuring import newest_change
from annotate.models import Project, Question, Rater, Response, User
from annotate.questions import check_config, text_of
from annotate.statistics.intervals import wilson
from annotate.statistics.kappa import kappa
from pipeline.judging.concluding import model_name
from pipeline.models import Calibration, Judge, JudgeReport
from pipeline.quality import audits, calibrating, drifting, leaning
from pipeline.quality.audits import Audit, Reading

ENOUGH = 20  # audits on which people preferred a side: routing.md §6 finds 20 to 50 enough to start
GROWTH, AT_LEAST = 1.25, 10  # how many more audits make a new fit worth while
READ = 3000  # items whose texts are looked at for leanings
WATCHED = 3000  # audits that the test for drift looks at
REST = timedelta(minutes=5)  # a judge is measured by the worker no more often


def refresh(project: Project) -> int:
    """Measure every judge of the project about which something may be new; returns how many."""
    newest = newest_change(project)
    known = dict(JudgeReport.objects.filter(rater__project=project).values_list("rater", "change"))
    rested = timezone.now() - REST
    resting = set(JudgeReport.objects.filter(measured_at__gt=rested).values_list("rater", flat=True))
    judges = Rater.objects.filter(project=project, kind=Rater.JUDGE, excluded_at=None).select_related("project")
    due = [rater for rater in judges if known.get(rater.pk) != newest and rater.pk not in resting]
    return sum(measure(rater) is not None for rater in due)


def measure(rater: Rater) -> JudgeReport | None:
    """Measure a judge now, and fit its calibration anew where due; None where the project asks no preference."""
    question = audits.preference_of(rater)
    if question is None:
        return None
    change = newest_change(rater.project)
    kept, _ = JudgeReport.objects.get_or_create(rater=rater)
    reading = audits.read(rater, question, kept.since)
    kept.evaluator, kept.change, kept.measured_at = reading.evaluator, change, timezone.now()
    kept.report = report_of(reading, question, own_model(rater))
    kept.save(update_fields=["evaluator", "change", "measured_at", "report"])
    if fit_is_due(newest_fit(rater, question, reading.evaluator, kept.since), reading):
        fit(rater=rater, question=question, reading=reading, since=kept.since)
    return kept


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
        "drift": drift_of(found),
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


def drift_of(found: Sequence[Audit]) -> dict[str, Any]:
    """Has the judge become worse, by its audits in the order in which they came, and since when does it look so?

    The test needs audits that would be as good as shuffled. So those from files, whose order is no time, are left
    out; of each prompt only the first counts; and those of one day, which may have been worked through in the order
    of a list, are shuffled.
    """
    first: dict[str, Audit] = {}
    for each in sorted((each for each in found if each.source != audits.FILE), key=by_day):
        first.setdefault(each.prompt, each)
    watched = list(first.values())[-WATCHED:]
    said = drifting.watch([1 - each.right for each in watched], [draw(each, "cut") for each in watched])
    days = {
        name: watched[said[name]].at.isoformat() if said[name] is not None and said[name] < len(watched) else None
        for name in ("alarm", "change")
    }
    return {**said, "warm_up": drifting.WARM_UP, "alarm_at": days["alarm"], "change_at": days["change"]}


def by_day(audited: Audit) -> tuple[Any, ...]:
    return audited.at.date(), draw(audited, "order")


def draw(audited: Audit, what: str) -> float:
    return drifting.draw_of(f"{what} {audited.verdict.item}")


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
        cuts["week"] = [f"{year} week {week:02d}"]
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


def in_force(rater: Rater, question: Question) -> Calibration | None:
    """What the judge's verdicts are worth now; None for a new evaluator, too few audits, or one that has drifted."""
    kept = JudgeReport.objects.filter(rater=rater).first()
    if kept is None or kept.report.get("drift", {}).get("alarm") is not None:
        return None
    return newest_fit(rater, question, audits.current_evaluator(rater), kept.since)


def fit_is_due(last: Calibration | None, reading: Reading) -> bool:
    count = len(sides(reading.audits))
    if count < ENOUGH:
        return False
    return last is None or count >= max(last.fitted_on["sided"] * GROWTH, last.fitted_on["sided"] + AT_LEAST)


@transaction.atomic
def fit(*, rater: Rater, question: Question, reading: Reading, since: datetime | None) -> Calibration:
    """Fit and keep a new calibration under the next number."""
    Rater.objects.select_for_update(no_key=True).get(pk=rater.pk)  # one number at a time
    sided = sides(reading.audits)
    weights = np.asarray([each.weight for each in sided])
    chosen, found = calibrating.calibrate(
        calibrating.Pairs(
            margins=np.asarray([each.verdict.margin for each in sided]),
            outcomes=np.asarray([float(each.people == "a") for each in sided]),
            weights=weights / weights.mean(),
            prompts=[each.prompt for each in sided],
        )
    )
    numbers = Calibration.objects.filter(rater=rater, question=question).aggregate(most=Max("number"))
    return Calibration.objects.create(
        rater=rater,
        question=question,
        number=(numbers["most"] or 0) + 1,
        evaluator=reading.evaluator,
        method=chosen.method,
        parameters={**chosen.parameters, "neither": neither_of(reading.audits, question)},
        fitted_on=provenance(reading, len(sided), since),
        report=found,
    )


def neither_of(found: Sequence[Audit], question: Question) -> dict[str, Any]:
    """How often people choose no side, by the kind of verdict."""
    config = check_config(question.kind, question.config)
    options = ["tie", *(["both_bad"] if config.get("both_bad", True) else [])]
    return calibrating.neither(
        [each.verdict.kind for each in found],
        [each.people for each in found],
        np.asarray([each.weight for each in found]),
        options,
    )


def provenance(reading: Reading, sided: int, since: datetime | None) -> dict[str, Any]:
    """What a calibration was fitted on, so that it can be fitted again and come out the same."""
    rows = [
        [each.verdict.item, each.verdict.annotation, round(each.verdict.margin, 9), each.people, round(each.weight, 9)]
        for each in reading.audits
    ]
    return {
        "audits": len(rows),
        "sided": sided,
        "sources": Counter(each.source for each in reading.audits),
        "newest_annotation": max((each.verdict.annotation for each in reading.audits), default=0),
        "since": since.isoformat() if since else None,
        "sha256": hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest(),
    }


def map_of(calibration: Calibration) -> calibrating.Calibrated:
    return calibrating.Calibrated(calibration.method, calibration.parameters)


def posterior_of(calibration: Calibration, verdict: audits.Verdict) -> dict[str, float]:
    """What a calibrated judge says of an item: option → probability."""
    first = float(map_of(calibration)(np.asarray([verdict.margin]))[0])
    shares: Mapping[str, Any] = calibration.parameters["neither"]
    return calibrating.posterior(first, shares.get(verdict.kind, shares[""]))


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
