"""The worker's report on agreement: read a bounded number of annotations, measure, keep what pages read.

The sole writer of Project.agreement, which holds the few numbers that every page has at hand, and of
Measurement.report, which holds what the agreement page shows: by question, by pair of raters, by judge, by slice.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from annotate import slots
from annotate.aggregation import SAID, current_opinions, main_first
from annotate.agreement import (
    LEVELS,
    Mark,
    Opinions,
    alpha_of,
    judge_kappas,
    judge_shares,
    kappas,
    marks_of,
    mean_share,
    spans_agreement,
)
from annotate.models import Annotation, Change, Item, Measurement, Project, Question, Rater, Response

NEWEST = 50_000  # annotations looked at: what raters agree on now, at a bounded cost
REST = 20  # a project's agreement is left alone for so many times as long as it took to compute
MOST_SLICES = 50  # of each kind, those with most units
SLICED = 6  # questions that are measured by slice

Names = Mapping[int, Sequence[str]]


def refresh(project: Project) -> bool:
    """Compute the project's agreement anew if anything was said since, and enough time has passed for its cost."""
    kept = project.agreement
    newest = newest_change(project)
    rested = time.time() - kept.get("computed", 0) >= REST * kept.get("seconds", 0)
    if newest == kept.get("change", 0) or not rested:
        return False
    began = time.time()
    opinions = read_opinions(project)
    asked = main_first(project.questions.all())
    summary, report = measure(asked, opinions), report_of(asked, opinions)
    now = timezone.now().isoformat()
    Measurement.objects.update_or_create(project=project, defaults={"report": {**report, "at": now}})
    summary |= {"at": now, "change": newest, "computed": began, "seconds": time.time() - began}
    Project.objects.filter(pk=project.pk).update(agreement=summary)
    project.agreement = summary
    return True


def newest_change(project: Project) -> int:
    """The id of the newest Change, 0 for none; one index lookup for each kind."""
    newest = 0
    for kind, _words in Change.KINDS:
        of_kind = Change.objects.filter(project=project, kind=kind).order_by("-id")
        newest = max(newest, of_kind.values_list("id", flat=True).first() or 0)
    return newest


def read_opinions(project: Project) -> Mapping[int, list[Any]]:
    """Item → the current counted opinions on it, from the project's newest annotations."""
    newest = Annotation.objects.filter(rater__project=project).order_by("-pk")[:NEWEST]
    return current_opinions(newest.values_list(*SAID))


def measure(asked: Sequence[Question], opinions: Opinions) -> dict[str, Any]:
    """Alpha for every question, the first one's also at the top, and how often judges say what people say."""
    questions = {
        question.name: {"title": question.title, **measured(question, opinions, marks_of(question, opinions))}
        for question in measurable(asked)
    }
    first = next(iter(questions.values()), {})
    summary = {key: first.get(key) for key in ("alpha", "low", "high", "units", "level")}
    return {**summary, "questions": questions, **judges_against_people(asked, opinions)}


def measurable(asked: Iterable[Question]) -> list[Question]:
    """The questions whose answers can agree: all but critiques."""
    return [question for question in asked if question.kind in LEVELS or question.kind == Question.SPAN]


def measured(question: Question, opinions: Opinions, marks: Sequence[Mark]) -> dict[str, Any]:
    return spans_agreement(question.name, opinions) if question.kind == Question.SPAN else alpha_of(question, marks)


def judges_against_people(asked: Iterable[Question], opinions: Opinions) -> dict[str, Any]:
    """`judge`: all judges together; `judges`: each by name, the one with most items first."""
    question = next((question for question in asked if question.kind == Question.PREFERENCE), None)
    if question is None:
        return {"judge": mean_share([]), "judges": []}
    of_items, _ = judge_shares(question, opinions)
    return {"judge": mean_share(list(of_items.values())), "judges": judge_rows(question, opinions)}


def judge_rows(question: Question, opinions: Opinions) -> list[dict[str, Any]]:
    """Each judge's share on what people decided, and its kappa with them."""
    _, of_judges = judge_shares(question, opinions)
    agreed = judge_kappas(question, opinions)
    names = dict(Rater.objects.filter(pk__in=of_judges).values_list("pk", "name"))
    rows = [
        {
            "name": names[judge],
            **mean_share(shares),
            "kappa": agreed[judge]["kappa"],
            "kappa_low": agreed[judge]["low"],
            "kappa_high": agreed[judge]["high"],
        }
        for judge, shares in of_judges.items()
    ]
    return sorted(rows, key=lambda row: (-row["items"], row["name"]))


# --- The report -----------------------------------------------------------------------------------------------


def report_of(asked: Sequence[Question], opinions: Opinions) -> dict[str, Any]:
    """What the agreement page shows, as plain data."""
    speaking = {opinion.rater for said in opinions.values() for opinion in said}
    names = dict(Rater.objects.filter(pk__in=speaking).values_list("pk", "name"))
    items = list(opinions)
    cuts = {"tag": tags_of(items), "models": models_of(items)}
    return {
        "annotations": sum(map(len, opinions.values())),
        "items": len(items),
        "questions": [question_report(question, opinions, names, cuts) for question in measurable(asked)[:SLICED]],
    }


def question_report(
    question: Question, opinions: Opinions, names: Mapping[int, str], cuts: Mapping[str, Names]
) -> dict[str, Any]:
    marks = marks_of(question, opinions)
    judged = question.kind == Question.PREFERENCE
    return {
        "name": question.name,
        "title": question.title,
        "kind": question.kind,
        **measured(question, opinions, marks),
        "kappas": matrix(kappas(question, marks), names),
        "judges": judge_rows(question, opinions) if judged else [],
        "slices": slices(question, marks, judge_shares(question, opinions)[0] if judged else {}, names, cuts),
    }


def matrix(found: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """The pairs as rows by name; a cell is None on the diagonal and where two have nothing in common."""
    raters = sorted(found["raters"], key=lambda rater: names[rater])
    cells = found["cells"]
    rows = [
        {"name": names[one], "cells": [cells.get(f"{min(one, other)} {max(one, other)}") for other in raters]}
        for one in raters
    ]
    return {"names": [names[rater] for rater in raters], "rows": rows}


def slices(
    question: Question,
    marks: Sequence[Mark],
    shares: Mapping[int, float],
    names: Mapping[int, str],
    cuts: Mapping[str, Names],
) -> dict[str, list[dict[str, Any]]]:
    """Cut → its slices, each with alpha among people and the judges' share on its items."""
    by_rater: dict[int, list[str]] = defaultdict(list)
    newest: dict[int, datetime] = {}
    for mark in marks:
        if names[mark.rater] not in by_rater[mark.item]:
            by_rater[mark.item].append(names[mark.rater])
        if mark.at is not None:
            newest[mark.item] = max(newest.get(mark.item, mark.at), mark.at)
    weeks = {item: [f"{at.isocalendar().year} week {at.isocalendar().week:02d}"] for item, at in newest.items()}
    all_cuts = {**cuts, "annotator": by_rater, "week": weeks}
    return {cut: slice_rows(question, marks, shares, of_items) for cut, of_items in all_cuts.items()}


def slice_rows(
    question: Question, marks: Sequence[Mark], shares: Mapping[int, float], of_items: Names
) -> list[dict[str, Any]]:
    """The slices with most units; those that nobody answered twice are left out."""
    groups: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        for name in of_items.get(mark.item, ()):
            groups[name].append(mark)
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_SLICES]
    rows = []
    for name in largest:
        items = {mark.item for mark in groups[name]}
        judged = mean_share([shares[item] for item in items if item in shares])
        found = alpha_of(question, groups[name])
        if found["units"] or judged["items"]:
            rows.append({"name": name, **found, "judge": judged})
    return rows


def in_batches(item_ids: Sequence[int], rows: Callable[[list[int]], Iterable[tuple[int, Any]]]) -> Iterable:
    for batch in slots.batches(item_ids):
        yield from rows(batch)


def tags_of(item_ids: Sequence[int]) -> dict[int, list[str]]:
    rows = in_batches(item_ids, lambda batch: Item.objects.filter(pk__in=batch).values_list("pk", "tags"))
    return {item: [str(tag) for tag in tags] for item, tags in rows}


def models_of(item_ids: Sequence[int]) -> dict[int, list[str]]:
    """Item → the models whose responses it compares, in one order: ["alpha · beta"]."""
    written: dict[int, set[str]] = defaultdict(set)
    rows = in_batches(item_ids, lambda batch: Response.objects.filter(item__in=batch).values_list("item_id", "model"))
    for item, model in rows:
        written[item].add(model)
    return {item: [" · ".join(sorted(models))] for item, models in written.items() if all(models)}
