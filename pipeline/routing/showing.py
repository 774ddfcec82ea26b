"""What the routing page shows: the policy in words, the budget and where it goes, what another budget would give.

Reads what is kept; measures nothing. Each is a fixed number of queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import queries
from annotate.models import Item, Project
from pipeline.models import Certificate, LabelFit, RoutingPolicy, RoutingState
from pipeline.routing import comparing, deciding, guard
from pipeline.routing.adopting import InForce, in_force
from pipeline.routing.buying import under_way
from pipeline.routing.choosing import buying, opening, plans
from pipeline.routing.delivering import Audited
from pipeline.routing.fixed_share import NAME as SHARES
from pipeline.routing.forms import RANKINGS

ARMS = {
    opening.AUDIT: gettext_lazy("audits, drawn from everything new"),
    opening.RULE: gettext_lazy("by a rule"),
    opening.EXPLORE: gettext_lazy("drawn to check a rule"),
    opening.FIRST: gettext_lazy("the judge first"),
    opening.ALONE: gettext_lazy("no judge was there"),
    SHARES: gettext_lazy("by fixed shares"),
    buying.SEED: gettext_lazy("drawn evenly, to begin with"),
    buying.VALUE: gettext_lazy("by the ranking"),
    buying.EVEN: gettext_lazy("drawn evenly beside the ranking"),
    buying.AGAIN: gettext_lazy("one more, where people disagreed"),
    buying.REVIEW: gettext_lazy("left to a reviewer"),
    buying.SURE: gettext_lazy("sure enough: places closed"),
    buying.UNPAID: gettext_lazy("judges' money used up"),
    guard.NAME: gettext_lazy("a response without content"),
    buying.KIN: gettext_lazy("like an audit that contradicted the judge"),
}
RANKING_WORDS = {
    plans.SHARES: gettext_lazy("drawn by lot, judges' labels"),
    plans.LEARNED: gettext_lazy("learned"),
    plans.UNCERTAINTY: gettext_lazy("judges' doubt"),
    plans.ERRORS: gettext_lazy("judge's errors"),
    plans.TRIAGE: gettext_lazy("warning signs"),
    plans.GAIN: gettext_lazy("gain by counts"),
    plans.INFORMATION: gettext_lazy("information"),
}
WIDTH, HEIGHT = 640.0, 240.0  # of the drawing, in its own units
DEFAULT_SHARE = 20


def page(project: Project, share: float | None = None) -> dict[str, Any]:
    """Everything on the page but its poll."""
    policy, state = in_force(project), RoutingState.objects.filter(project=project).first()
    report = state.report if state else {}
    return {
        "project": project,
        "policy": policy,
        "state": state,
        "ranking_words": dict(RANKINGS)[policy.plan.ranking],
        "versions": list(RoutingPolicy.objects.filter(project=project).select_related("created_by")[:10]),
        "fit": LabelFit.objects.filter(project=project).defer("parameters").first(),
        "report": report,
        "proposal": proposal(report, policy),
        "errors": report.get("errors"),
        "certificate": Certificate.objects.filter(project=project).defer("audits").first(),
        "money": money(project, state),
        **standing(project),
        **what_if(project, policy, state, share),
    }


def standing(project: Project) -> dict[str, Any]:
    """What the page's poll renews: counts and the newest decisions."""
    progress = queries.progress(project)
    policy = in_force(project)
    return {
        "project": project,
        "progress": progress,
        "routed": sum(progress["routed"].values()),
        "waiting": deciding.unrouted(project).count(),
        "policy": policy,
        "stuck": deciding.waiting_for_judge(project),
        "routes": deciding.newest_routes(project),
        "state": RoutingState.objects.filter(project=project).first(),
        "under_way": under_way(project).count(),
    }


# --- Money ----------------------------------------------------------------------------------------------------


def money(project: Project, state: RoutingState | None) -> dict[str, Any]:
    """What each part of the policy decided and asked for, the largest first; what people and judges cost."""
    made = state.made if state else {}
    price = comparing.price_of_person(project)
    asked = sum(answers for _, answers in made.values())
    rows = [
        {
            "words": ARMS.get(arm, arm),
            "decisions": decisions,
            "answers": answers,
            "share": answers / asked if asked else None,
            "cost": None if price is None else answers * price,
        }
        for arm, (decisions, answers) in sorted(made.items(), key=lambda pair: (-pair[1][1], -pair[1][0]))
    ]
    return {
        "rows": rows,
        "price": price,
        "people": None if price is None or state is None else state.spent * price,
        "judges": comparing.judges_spent(project),
        "currency": project.currency,
    }


# --- Audits ---------------------------------------------------------------------------------------------------


def audits(project: Project, most: int = 200) -> dict[str, Any]:
    """The certificate with its newest audits, in words."""
    kept = Certificate.objects.filter(project=project).first()
    rows = [Audited(*row) for row in kept.audits[:most]] if kept else []
    named = Item.objects.filter(pk__in=[row.item for row in rows]).values_list("pk", "title", "external_id")
    titles = {pk: title or key for pk, title, key in named}
    shown = [
        {**asdict(row), "right": row.right, "title": titles[row.item], "arm": ARMS.get(row.arm, row.arm)}
        for row in rows
        if row.item in titles
    ]
    return {"project": project, "certificate": kept, "audits": shown, "total": len(kept.audits) if kept else 0}


# --- What if --------------------------------------------------------------------------------------------------


def share_now(project: Project, policy: InForce, items: int) -> float:
    """The budget in force as a share of the items, 0 to 1; a fifth where there is none."""
    total = policy.plan.budget.total
    return DEFAULT_SHARE / 100 if total is None or not items else min(1.0, total / items)


def what_if(
    project: Project, policy: InForce, state: RoutingState | None, share: float | None = None
) -> dict[str, Any]:
    """What a budget of this share would give, by the project's own past; in words where that says too little."""
    items = queries.progress(project)["items"]
    report = state.report if state else {}
    share = share_now(project, policy, items) if share is None else min(1.0, max(0.0, share))
    found: dict[str, Any] = {"share": share, "percent_now": round(100 * share), "items": items,
                             "labels": round(share * items), "report": report}  # fmt: skip
    price = comparing.price_of_person(project)
    found["cost"] = None if price is None else round(share * items) * price
    rows, name = report.get("curves", {}), policy.plan.ranking
    if name not in rows:  # nothing compared yet, or by an earlier version of the app
        return found
    return {
        **found,
        "curve_words": RANKING_WORDS[name],
        "now": at(rows[name], share),
        "none": rows[plans.SHARES][0],
        "everything": report["human_accuracy"],
        "table": [
            {
                "words": RANKING_WORDS[each],
                **at(rows[each], share),
                "area": report["area"][each],
                "saved": report["saved"][each],
                "mine": each == name,
                "best": each == report["best"],
                "lead": report["leads"].get(each),
            }
            for each in sorted(rows, key=lambda each: -report["area"][each])
        ],
        "drawing": drawing(rows, name, share, report["human_accuracy"]["value"]),
    }


def at(points: Sequence[Mapping[str, float]], share: float) -> dict[str, float]:
    """A curve at a budget, by straight lines between its points."""
    budgets = [point["budget"] for point in points]
    return {
        name: float(np.interp(share, budgets, [point[name] for point in points]))
        for name in ("label_accuracy", "low", "high", "human_labels")
    }


def drawing(
    rows: Mapping[str, Sequence[Mapping[str, float]]], name: str, share: float, target: float
) -> dict[str, Any]:
    """The curve with its band, the one drawn by lot, and the budget's place, in the drawing's units."""
    lowest = [point["low"] for point in rows[name]] + [point["label_accuracy"] for point in rows[plans.SHARES]]
    floor = max(0.0, int(min([target, *lowest]) * 10) / 10)

    def place(budget: float, value: float) -> str:
        return f"{budget * WIDTH:.1f},{(1 - (value - floor) / (1 - floor)) * HEIGHT:.1f}"

    upper = [place(point["budget"], point["high"]) for point in rows[name]]
    lower = [place(point["budget"], point["low"]) for point in reversed(rows[name])]
    steps = [round(floor + 0.1 * step, 1) for step in range(round((1 - floor) * 10) + 1)]
    return {
        "band": " ".join([*upper, *lower]),
        "line": " ".join(place(point["budget"], point["label_accuracy"]) for point in rows[name]),
        "lot": " ".join(place(point["budget"], point["label_accuracy"]) for point in rows[plans.SHARES]),
        "target": f"{(1 - (target - floor) / (1 - floor)) * HEIGHT:.1f}",
        "x": f"{share * WIDTH:.1f}",
        "grid": [{"value": value, "y": f"{(1 - (value - floor) / (1 - floor)) * HEIGHT:.1f}"} for value in steps],
    }


def proposal(report: Mapping[str, Any], policy: InForce) -> dict[str, Any] | None:
    """The ranking that past data speak for instead of the one in force, with its evidence."""
    best, mine = comparing.proposed(report, policy.plan), policy.plan.ranking
    if best is None:
        return None
    difference, low, high = report["leads"][mine]
    return {
        "ranking": best,
        "words": RANKING_WORDS[best],
        "area": report["area"][best],
        "mine": RANKING_WORDS[mine],
        "area_now": report["area"][mine],
        "low": low,
        "high": high,
        "note": _("By the comparison on %(n)s pairs of the project's own.") % {"n": report["pairs"]},
        "evidence": {name: report[name] for name in ("area", "saved", "leads", "pairs", "seeds")},
    }
