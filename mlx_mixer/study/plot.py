"""Lines and bars in panels beside each other, as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from mlx_mixer.study.settings import LLAMA, MIXER
from mlx_mixer.training.plot import COLOURS, nice_ticks

_PANEL_WIDTH, _HEIGHT = 380, 340
_LEFT, _RIGHT, _BOTTOM = 58, 14, 48
_OF_CONTENDERS = {MIXER: COLOURS[0], LLAMA: COLOURS[1]}
_LEGEND_ROW = 14
_DASHES = {"solid": "", "dashed": ' stroke-dasharray="6 3"', "dotted": ' stroke-dasharray="1.5 2.5"'}


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: For the legend; begins with a contender's name, which decides the colour.
        points: x and y.
        stroke: Tells lines of one colour apart.
    """

    name: str
    points: Sequence[tuple[float, float]]
    stroke: Literal["solid", "dashed", "dotted"] = "solid"


@dataclass(frozen=True)
class Panel:
    """One coordinate system.

    Attributes:
        title: Above it.
        x_label: Below it.
        y_label: Beside it.
        lines: What is in it; at least one point in all.
        log_x: Whether x counts in powers of 2.
        from_zero: Whether the y axis begins at 0.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log_x: bool = False
    from_zero: bool = False


@dataclass(frozen=True)
class Bar:
    """Values of one contender, one for each group.

    Attributes:
        name: As of a line.
        values: Height in each group.
        half_widths: Half the interval around each.
        pale: Tells bars of one colour apart.
    """

    name: str
    values: Sequence[float]
    half_widths: Sequence[float]
    pale: bool = False


@dataclass(frozen=True)
class BarPanel:
    """Bars in groups.

    Attributes:
        title: Above it.
        y_label: Beside it.
        groups: Names below it; a comma breaks the line.
        bars: One for each contender.
        whole: Where the axis ends, and no value is above: 1, or 100 for percentages.
    """

    title: str
    y_label: str
    groups: Sequence[str]
    bars: Sequence[Bar]
    whole: float = 1.0


def panels_svg(panels: Sequence[Panel | BarPanel]) -> str:
    """Draw panels side by side."""
    width = _PANEL_WIDTH * len(panels)
    drawn = "\n".join(
        _panel(panel, index * _PANEL_WIDTH) if isinstance(panel, Panel) else _bar_panel(panel, index * _PANEL_WIDTH)
        for index, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="{width}" height="{_HEIGHT}" fill="#ffffff"/>\n{drawn}\n</svg>\n'
    )


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high, value = (math.log2(number) if self.is_log else number for number in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def _panel(panel: Panel, left: float) -> str:
    x_axis, y_axis = _axes(panel, left)
    parts = _frame(panel, left, x_axis, y_axis)
    parts += [_x_tick(value, x_axis) for value in _x_values(panel, x_axis)]
    parts.append(_text((x_axis.start + x_axis.end) / 2, _HEIGHT - 10, panel.x_label, "#555555", anchor="middle"))
    for index, line in enumerate(panel.lines):
        parts += _line(line, index, x_axis, y_axis)
    return "\n".join(parts)


def _bar_panel(panel: BarPanel, left: float) -> str:
    x_axis = _Axis(0, len(panel.groups), left + _LEFT, left + _PANEL_WIDTH - _RIGHT)
    y_axis = _Axis(0, panel.whole, _HEIGHT - _BOTTOM, _top(len(panel.bars)))
    parts = _frame(panel, left, x_axis, y_axis)
    for number, group in enumerate(panel.groups):
        for row, part in enumerate(group.split(",")):
            y = _HEIGHT - _BOTTOM + 16 + 13 * row
            parts.append(_text(x_axis.place(number + 0.5), y, part.strip(), "#555555", anchor="middle"))
    for index, bar in enumerate(panel.bars):
        parts += _bar(bar, index, panel, x_axis, y_axis)
    return "\n".join(parts)


def _top(entries: int) -> float:
    """Where a coordinate system begins, below a legend of two columns."""
    return 34.0 + _LEGEND_ROW * -(-entries // 2)


def _frame(panel: Panel | BarPanel, left: float, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    middle = (y_axis.start + y_axis.end) / 2
    turned = f' transform="rotate(-90 {left + 13:.1f} {middle:.1f})"'
    return [
        _text(left + _LEFT, 18, panel.title, "#222222", size=13),
        *(_y_tick(value, x_axis, y_axis) for value in _ticks(y_axis)),
        _text(left + 13, middle, panel.y_label, "#555555", anchor="middle", extra=turned),
    ]


def _bar(bar: Bar, index: int, panel: BarPanel, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    colour, opacity = _colour(bar.name, index), 0.5 if bar.pale else 1.0
    width = 0.8 / len(panel.bars)
    bottom = y_axis.place(0)
    parts = _legend(bar.name, index, colour, f' stroke-opacity="{opacity}" stroke-width="8"', x_axis)
    for group, (value, half_width) in enumerate(zip(bar.values, bar.half_widths, strict=True)):
        first, last = (x_axis.place(group + 0.1 + width * (index + side)) for side in (0, 0.92))
        top, middle = y_axis.place(value), (first + last) / 2
        low, high = y_axis.place(max(0.0, value - half_width)), y_axis.place(min(panel.whole, value + half_width))
        # A bar of no height would look like one that is missing.
        parts.append(
            f'<rect x="{first:.1f}" y="{min(top, bottom - 1):.1f}" width="{last - first:.1f}" '
            f'height="{max(1.0, bottom - top):.1f}" fill="{colour}" fill-opacity="{opacity}"/>'
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="#222222"/>'
        )
    return parts


def _axes(panel: Panel, left: float) -> tuple[_Axis, _Axis]:
    points = [point for line in panel.lines for point in line.points]
    x_low, x_high = _span([x for x, _ in points])
    y_low, y_high = _span([y for _, y in points] + ([0.0] if panel.from_zero else []))
    margin = 0.04 * (y_high - y_low)
    y_low = y_low if panel.from_zero and y_low == 0 else y_low - margin
    x_axis = _Axis(x_low, x_high, left + _LEFT, left + _PANEL_WIDTH - _RIGHT, panel.log_x)
    return x_axis, _Axis(y_low, y_high + margin, _HEIGHT - _BOTTOM, _top(len(panel.lines)))


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return (low / 2, high * 2) if low > 0 else (low - 1, high + 1)
    return low, high


def _line(line: Line, index: int, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    colour = _colour(line.name, index)
    dash = _DASHES[line.stroke]
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in line.points]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in places),
        *_legend(line.name, index, colour, f' stroke-width="2"{dash}', x_axis),
    ]


def _legend(name: str, index: int, colour: str, stroke: str, x_axis: _Axis) -> list[str]:
    x = x_axis.start + index % 2 * (x_axis.end - x_axis.start) / 2
    y = 34 + index // 2 * _LEGEND_ROW
    mark = f'<line x1="{x:.1f}" x2="{x + 16:.1f}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}"{stroke}/>'
    return [mark, _text(x + 20, y, name, colour)]


def _colour(name: str, index: int) -> str:
    known = next((colour for start, colour in _OF_CONTENDERS.items() if name.startswith(start)), None)
    return known or COLOURS[2 + index % (len(COLOURS) - 2)]


def _ticks(axis: _Axis) -> list[float]:
    """Round values inside an axis."""
    return [value for value in nice_ticks(axis.low, axis.high) if axis.low <= value <= axis.high]


def _x_values(panel: Panel, axis: _Axis) -> list[float]:
    if panel.log_x:
        return sorted({x for line in panel.lines for x, _ in line.points})
    return _ticks(axis)


def _y_tick(value: float, x_axis: _Axis, y_axis: _Axis) -> str:
    y = y_axis.place(value)
    grid = f'<line x1="{x_axis.start:.1f}" x2="{x_axis.end:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
    return grid + _text(x_axis.start - 6, y + 4, f"{value:g}"[:6], "#555555", anchor="end")


def _x_tick(value: float, axis: _Axis) -> str:
    return _text(axis.place(value), _HEIGHT - _BOTTOM + 16, f"{value:g}", "#555555", anchor="middle")


def _text(x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 11, extra: str = "") -> str:
    shown = escape(text)
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}"{extra}>{shown}</text>'
    )
