"""Lines over steps as an SVG picture, without a plotting library.

Text and axes take the colour of what is around them, so a picture in a page follows the page's dark or light theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 900, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 36
COLOURS = ("#3b6ea5", "#b5562b", "#4c8c4a", "#7d5aa6")
# Below it the logarithm of a step is none.
_SMALLEST = 1e-290
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """One line of a picture.

    Attributes:
        points: ``(x, y)`` from left to right, at least one.
        label: Its name, for people; it may be any text.
        colour: As SVG writes it.
        style: "line", a "faint" one behind the others, or "dots", which are joined.
    """

    points: Points
    label: str
    colour: str = COLOURS[0]
    style: Literal["line", "faint", "dots"] = "line"


def line_chart(lines: Sequence[Line], *, title: str = "", x_label: str = "step", from_zero: bool = False) -> str:
    """A picture of some lines over a common axis.

    Args:
        lines: At least one.
        title: What the vertical axis shows, with its unit.
        x_label: What the horizontal one shows.
        from_zero: Whether the vertical axis starts at 0.

    Returns:
        An ``<svg>`` element.
    """
    values = [y for line in lines for _, y in line.points]
    ticks = nice_ticks(0.0 if from_zero else min(values), max(values))
    right = max(x for line in lines for x, _ in line.points)
    scale = _Scale(min(0.0, *(x for line in lines for x, _ in line.points)), right, ticks[0], ticks[-1])
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    parts = [_grid_line(scale.y(tick), _number(tick, digits)) for tick in ticks]
    for step in nice_ticks(scale.left, scale.right):
        if step <= scale.right:
            parts.append(_text(scale.x(step), HEIGHT - _BOTTOM + 18, f"{step:,.10g}", anchor="middle"))
    parts.append(_text(WIDTH - _RIGHT, HEIGHT - 4, x_label, anchor="end", faint=True))
    parts.append(_text(_LEFT, 14, title, bold=True))
    parts += [_drawn(line, scale) for line in lines]
    named = [line for line in lines if line.label]
    room = (WIDTH - _LEFT) // max(1, len(named))
    parts += [
        _text(_LEFT + 10 + room * number, 29, line.label, colour=line.colour) for number, line in enumerate(named)
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img">\n{body}\n</svg>\n'
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round values, evenly spaced, the first at or below `low` and the last at or above `high`."""
    span, size = high - low, max(abs(low), abs(high))
    if span <= 1e-9 * size or size < _SMALLEST:
        span = size if size >= _SMALLEST else 1.0
    rough = span / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [step * number for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - self.left) / ((self.right - self.left) or 1.0)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - self.low) / (self.high - self.low)


def _drawn(line: Line, scale: _Scale) -> str:
    places = [(scale.x(x), scale.y(y)) for x, y in line.points]
    width, opacity = (1, 0.35) if line.style == "faint" else (1.8, 1)
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = (
        f'<polyline points="{joined}" fill="none" stroke="{line.colour}" stroke-width="{width}" opacity="{opacity}" '
        'stroke-linejoin="round"/>'
    )
    if line.style == "dots":
        drawn += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in places)
    return drawn


def _grid_line(y: float, label: str) -> str:
    line = f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity="0.15"/>'
    return line + _text(_LEFT - 8, y + 4, label, anchor="end", faint=True)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if digits <= 4 else f"{value:.1e}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = "currentColor",
    anchor: str = "start",
    bold: bool = False,
    faint: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    opacity = ' opacity="0.65"' if faint else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{weight}{opacity}>{escape(text)}</text>'
    )
