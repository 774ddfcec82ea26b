"""The curves as one picture that opens anywhere: SVG, drawn here, so that no plotting library is needed."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 60, 60
COLORS = {
    "random": "#8a8f98", "judge-uncertainty": "#b26b00", "learned": "#1f6feb", "gain": "#8250df", "oracle": "#2b8a3e",
    "judge-errors": "#bf3989",
}  # fmt: skip
OTHER = "#444c56"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:12px;fill:#57606a}"
    ".title{font-size:17px;font-weight:600}.grid{stroke:#d8dee4}.line{fill:none;stroke-width:2}"
)

Points = Sequence[Mapping[str, float]]


def picture(report: Mapping[str, Any], title: str) -> str:
    """Label accuracy against budget for every policy, with bands, and the line of one person on everything."""
    curves: Mapping[str, Points] = report["curves"]
    target = float(report["human_accuracy"]["value"])
    values = [point[key] for points in curves.values() for point in points for key in ("low", "high")]
    low, high = floor_of(min([*values, target])), 1.0
    parts = [*frame(title, report, low, high), *human_line(target, low, high)]
    parts += [band(COLORS.get(name, OTHER), points, low, high) for name, points in curves.items()]
    parts += [line(COLORS.get(name, OTHER), points, low, high) for name, points in curves.items()]
    parts += legend(report, curves)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    named = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([head, named, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>\n"])


def floor_of(value: float) -> float:
    """The tenth below, so that curves fill the picture."""
    return max(0.0, int(value * 10) / 10)


def across(budget: float) -> float:
    return LEFT + budget * (WIDTH - LEFT - RIGHT)


def up(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def words(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def frame(title: str, report: Mapping[str, Any], low: float, high: float) -> list[str]:
    """Title, axes and grid."""
    seeds = len(report["plan"]["seeds"])
    parts = [words(LEFT, 26, title, kind="title")]
    about = f"{report['items']} items, {seeds} seeds, bands: 95% over prompts and seeds"
    parts.append(words(LEFT, 45, about, kind="small"))
    steps = round((high - low) / 0.05)
    for step in range(steps + 1):
        value = low + 0.05 * step
        y = up(value, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if step % (2 if steps > 10 else 1) == 0:
            parts.append(words(LEFT - 8, y + 4, f"{value:.2f}", "end", "small"))
    for tenth in range(0, 11, 2):
        parts.append(words(across(tenth / 10), HEIGHT - BOTTOM + 20, f"{tenth * 10}%", "middle", "small"))
    middle = across(0.5)
    parts.append(words(middle, HEIGHT - 18, "human labels, as a share of the items", "middle"))
    return parts


def human_line(target: float, low: float, high: float) -> list[str]:
    y = up(target, low, high)
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#24292f" stroke-dasharray="5 4"/>',
        words(WIDTH - RIGHT + 8, y + 4, f"one person: {target:.3f}", kind="small"),
    ]


def line(color: str, points: Points, low: float, high: float) -> str:
    path = " ".join(f"{across(p['budget']):.1f},{up(p['label_accuracy'], low, high):.1f}" for p in points)
    return f'<polyline class="line" stroke="{color}" points="{path}"/>'


def band(color: str, points: Points, low: float, high: float) -> str:
    there = [f"{across(p['budget']):.1f},{up(max(p['low'], low), low, high):.1f}" for p in points]
    back = [f"{across(p['budget']):.1f},{up(p['high'], low, high):.1f}" for p in reversed(points)]
    return f'<polygon fill="{color}" fill-opacity="0.12" points="{" ".join(there + back)}"/>'


def legend(report: Mapping[str, Any], curves: Mapping[str, Points]) -> list[str]:
    """Each policy with its area and what it saves."""
    parts, x = [], WIDTH - RIGHT + 20
    for row, name in enumerate(curves):
        y = HEIGHT - BOTTOM - 40 * (len(curves) - row)
        color = COLORS.get(name, OTHER)
        parts.append(f'<line x1="{x - 14}" x2="{x - 2}" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="3"/>')
        parts.append(words(x + 4, y, name))
        saved = f"area {report['area'][name]:.3f}, saves {report['saved_at_human_accuracy'][name]:.0%}"
        parts.append(words(x + 4, y + 16, saved, kind="small"))
    return parts
