"""The pipeline's part of an item's time line: routing, judges, snapshots, models."""

from collections.abc import Iterable

from django.urls import reverse
from django.utils.translation import gettext as _

from annotate.managing.timelines import JUDGE, Event
from annotate.models import Item
from annotate.templatetags.answers import presented
from pipeline.models import JudgeCall, ModelVersion, Route, SnapshotItem


def of_item(
    item: Item,
    *,
    routes: Iterable[Route],
    calls: Iterable[JudgeCall],
    members: Iterable[SnapshotItem],
    models: Iterable[ModelVersion],
) -> list[Event]:
    """The rows that the item's page has read, as events."""
    return [
        *(routed(route) for route in routes),
        *(asked(item, call) for call in calls if call.answered_at),
        *(cut(item, member) for member in members),
        *(learned(item, model) for model in models),
    ]


def routed(route: Route) -> Event:
    words = _("Routed: %(decision)s") % {"decision": route.get_decision_display()}
    chance = _("probability %(percent)s%%") % {"percent": round(100 * route.propensity)}
    return Event(route.created_at, words, who=route.policy, details=f"{route.reason} {chance}")


def asked(item: Item, call: JudgeCall) -> Event:
    assert call.answered_at is not None
    words = _("The judge was asked, shown as %(order)s") % {"order": presented(call.order)}
    link = reverse("judge", args=[item.project.slug, call.judge_id])
    return Event(
        call.answered_at, words, who=call.judge.name, kind=JUDGE, details=call.error or call.choice, link=link
    )


def cut(item: Item, member: SnapshotItem) -> Event:
    snapshot = member.snapshot
    words = _("Stands in snapshot %(number)s, part “%(split)s”") % {"number": snapshot.number, "split": member.split}
    return Event(snapshot.created_at, words, link=reverse("snapshot", args=[item.project.slug, snapshot.pk]))


def learned(item: Item, model: ModelVersion) -> Event:
    words = _("The model %(name)s learned from it") % {"name": model.name}
    return Event(model.created_at, words, link=reverse("model", args=[item.project.slug, model.pk]))
