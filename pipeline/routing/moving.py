"""What the raw export takes along of judging and routing: prompts, policies, what they spent, and every decision.

With the decisions come their propensities, so that audits stay audits after a move, and each item can still say why it
went where it went. Judges themselves stay behind: their addresses and keys are of the place. So do fits and beliefs,
which are computed again.
"""

from collections.abc import Iterator
from typing import Any

from django.db.models import Model

from annotate import beside
from annotate.beside import Named, Row, each, moment, person
from annotate.importing.beside import RESTORE, WRITERS, Place, at
from annotate.importing.beside import Row as Taken
from annotate.models import Project
from pipeline.models import JudgePrompt, Route, RoutingPolicy, RoutingState
from pipeline.routing import by_hand

PROMPT, POLICY, SPENT, DECISION = "judge prompt", "routing policy", "routing spent", "routing decision"
DECIDED = ("number", "decision", "reason", "propensity", "chances", "features", "people", "expected_gain", "cost",
           "policy", "policy_version")  # fmt: skip


# --- Out ------------------------------------------------------------------------------------------------------


def prompts(project: Project, named: Named) -> Iterator[Row]:
    for one in each(JudgePrompt.objects.filter(project=project).select_related("created_by")):
        said = {name: vars(one)[name] for name in ("number", "name", "templates", "principles", "note")}
        yield {**said, "by": person(one.created_by, named), "at": moment(one.created_at)}


def policies(project: Project, named: Named) -> Iterator[Row]:
    for one in each(RoutingPolicy.objects.filter(project=project).select_related("created_by")):
        said = {name: vars(one)[name] for name in ("number", "settings", "note", "evidence")}
        yield {**said, "by": person(one.created_by, named), "at": moment(one.created_at)}


def spent(project: Project, _named: Named) -> Iterator[Row]:
    for one in each(RoutingState.objects.filter(project=project)):
        yield {"answers": one.spent, "made": one.made}


def decisions(project: Project, named: Named) -> Iterator[Row]:
    """A decision by hand names who made it, unless people stand under pseudonyms."""
    for one in each(Route.objects.filter(item__project=project).select_related("item")):
        row = {"item": one.item.external_id, **{name: vars(one)[name] for name in DECIDED}}
        if one.policy == by_hand.NAME and named(one.reason) != one.reason:
            row["reason"] = "Decided by hand."
        yield {**row, "at": moment(one.created_at)}


# --- In -------------------------------------------------------------------------------------------------------


def prompt(place: Place, row: Taken) -> JudgePrompt:
    return JudgePrompt(
        project=place.project, number=row["number"], name=row["name"], templates=row.get("templates", {}),
        principles=row.get("principles", ""), note=row.get("note", ""), created_by=place.user(row.get("by")),
        created_at=at(row["at"]),
    )  # fmt: skip


def policy(place: Place, row: Taken) -> RoutingPolicy:
    return RoutingPolicy(
        project=place.project, number=row["number"], settings=row["settings"], note=row.get("note", ""),
        evidence=row.get("evidence", {}), created_by=place.user(row.get("by")), created_at=at(row["at"]),
    )  # fmt: skip


def state(place: Place, row: Taken) -> RoutingState:
    return RoutingState(project=place.project, spent=row["answers"], made=row.get("made", {}))


def decision(place: Place, row: Taken) -> Route:
    said = {name: row[name] for name in DECIDED if name in row}
    return Route(item_id=place.item(row), created_at=at(row["at"]), **said)


def restore(_project: Project, rows: list[Any]) -> None:
    """Rows of one kind, as they were: what is there already under the same number stays."""
    model: type[Model] = type(rows[0])
    model._default_manager.bulk_create(rows, batch_size=beside.BATCH, ignore_conflicts=True)


def offer() -> None:
    """Have the raw export take these along."""
    kinds = {PROMPT: (prompts, prompt), POLICY: (policies, policy), SPENT: (spent, state),
             DECISION: (decisions, decision)}  # fmt: skip
    for kind, (write, read) in kinds.items():
        beside.KINDS[kind], WRITERS[kind], RESTORE[read] = write, read, restore
