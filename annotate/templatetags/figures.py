"""Numbers as people read them: shares, intervals, spans of time, sizes. Built into every template."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from annotate import rendering

register = template.Library()
UNKNOWN = (None, "")  # a template gives "" for what is not there


@register.filter
def percent(value: float | None, digits: int = 0) -> str:
    """0.684 → 68% (or 68.4% with `percent:1`); nothing known → –."""
    return "–" if value in UNKNOWN else f"{100 * value:.{digits}f}%"


@register.filter
def figure(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; nothing known → –."""
    return "–" if value in UNKNOWN else f"{value:,.{digits}f}"


@register.simple_tag
def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """Two shares as an interval: 64.9 – 71.7%; nothing known → nothing."""
    return "" if low in UNKNOWN or high in UNKNOWN else f"{100 * low:.{digits}f} – {100 * high:.{digits}f}%"


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
        f"{value:.2f} ({low:.2f} – {high:.2f})",
        *(f"{place:.1f}" for place in (left, right, middle)),
    )


@register.filter
def span(seconds: float | None) -> str:
    """Seconds as the two largest units that matter: 41 s, 3 min 20 s, 1 h 21 min, 2 d 3 h."""
    if seconds in UNKNOWN:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago: “3 min 20 s ago”; never → never."""
    return "never" if moment is None else f"{span((timezone.now() - moment).total_seconds())} ago"


@register.filter
def size(count: float | None) -> str:
    """Bytes in the unit that fits: 3.1 GB."""
    if count in UNKNOWN:
        return "–"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""


@register.filter
def last_turn(messages: list[dict[str, Any]] | None) -> str:
    """The text of the last message of a conversation."""
    return str(messages[-1]["content"]) if messages else ""


@register.filter
def markdown(text: str) -> SafeString:
    """Markdown as safe HTML."""
    return mark_safe(rendering.to_html(text))  # noqa: S308 - cleaned by rendering.to_html
