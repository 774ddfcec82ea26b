"""Numbers as people read them: shares, intervals, spans of time, sizes. Built into every template."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from annotate import attachments, rendering
from annotate.attachments import Shown
from annotate.models import Project

register = template.Library()
UNKNOWN = (None, "")  # a template gives "" for what is not there


def decimal(value: float, digits: int) -> str:
    """A number with so many decimals and the language's sign before them."""
    return str(number_format(f"{value:.{digits}f}"))


@register.filter
def percent(value: float | None, digits: int = 0) -> str:
    """0.684 → 68% (or 68.4% with `percent:1`); nothing known → –."""
    return "–" if value in UNKNOWN else _("%(number)s%%") % {"number": decimal(100 * value, digits)}


@register.filter
def figure(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; nothing known → –."""
    return "–" if value in UNKNOWN else number_format(f"{value:.{digits}f}", force_grouping=True)


@register.filter
def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign: +6.1."""
    return "–" if value is None else f"{'+' if value > 0 else '−' if value < 0 else ''}{decimal(abs(value) * 100, 1)}"


@register.simple_tag
def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """Two shares as an interval: 64.9 – 71.7%; nothing known → nothing."""
    if low in UNKNOWN or high in UNKNOWN:
        return ""
    return _("%(number)s%%") % {"number": f"{decimal(100 * low, digits)} – {decimal(100 * high, digits)}"}


@register.simple_tag
def interval_bar(value: float | None, low: float | None, high: float | None) -> SafeString:
    """A value from 0 to 1 as a dot on a line that is as long as its interval; nothing known → nothing."""
    if value in UNKNOWN or low in UNKNOWN or high in UNKNOWN:
        return SafeString("")
    left, right, middle = (200 * min(max(share, 0.0), 1.0) for share in (low, high, value))
    return format_html(
        '<svg class="interval" viewBox="-6 0 212 12" preserveAspectRatio="xMinYMid" role="img" aria-label="{}">'
        '<line class="scale" x1="0" x2="200" y1="6" y2="6"/><line x1="{}" x2="{}" y1="6" y2="6"/>'
        '<circle cx="{}" cy="6" r="4"/></svg>',
        f"{decimal(value, 2)} ({decimal(low, 2)} – {decimal(high, 2)})",
        *(f"{place:.1f}" for place in (left, right, middle)),
    )


@register.filter
def span(seconds: float | None) -> str:
    """Seconds as the two largest units that matter: 41 s, 3 min 20 s, 1 h 21 min, 2 d 3 h."""
    if seconds in UNKNOWN:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return _("%(seconds)d s") % {"seconds": whole}
    if whole < 3600:
        words = _("%(minutes)d min %(seconds)d s") if whole < 600 else _("%(minutes)d min")
        return words % {"minutes": whole // 60, "seconds": whole % 60}
    if whole < 86400:
        return _("%(hours)d h %(minutes)d min") % {"hours": whole // 3600, "minutes": whole % 3600 // 60}
    return _("%(days)d d %(hours)d h") % {"days": whole // 86400, "hours": whole % 86400 // 3600}


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago: “3 min 20 s ago”; never → never."""
    if moment is None:
        return _("never")
    return _("%(span)s ago") % {"span": span((timezone.now() - moment).total_seconds())}


@register.filter
def size(count: float | None) -> str:
    """Bytes in the unit that fits: 3.1 GB."""
    if count in UNKNOWN:
        return "–"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{decimal(amount, 1)} {unit}"
        amount /= 1000
    return ""


@register.filter
def last_turn(messages: list[dict[str, Any]] | None) -> str:
    """The text of the last message of a conversation."""
    return str(messages[-1]["content"]) if messages else ""


@register.filter
def markdown(text: str, pictures: Project | Mapping[str, Shown] | str = "") -> SafeString:
    """Markdown as safe HTML, with the pictures of a project (`|markdown:frame_project`) or those given by hash.

    Looks pictures up only where the text has any.
    """
    html = rendering.to_html(text)
    wanted = rendering.places_in(html)
    if wanted and pictures:
        found = attachments.shown(pictures, wanted) if isinstance(pictures, Project) else pictures
        html = rendering.with_pictures(html, found if isinstance(found, Mapping) else {})
    return mark_safe(html)  # noqa: S308 - cleaned by rendering.to_html
