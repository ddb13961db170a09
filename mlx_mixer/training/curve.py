"""The course of training runs as a small table and a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from mlx_mixer.errors import MixerError, ModelNotFoundError

# One point stands for so many steps.
STEPS_PER_POINT = 10
_WIDTH, _HEIGHT, _MARGIN = 900, 360, 48
_COLOURS = ("#3b6ea5", "#b5562b", "#4c8c4a", "#7d5aa6")
_GRID_LINES = 5

Curve = list[tuple[int, float]]


def read_curves(logs: Sequence[Path]) -> dict[str, Curve]:
    """Mean loss of every few steps of each log, under the name of its folder.

    Raises:
        ModelNotFoundError: If a log is missing.
        MixerError: If one holds no step.
    """
    return {log.resolve().parent.name: _curve(log) for log in logs}


def curve_lines(curves: Mapping[str, Curve]) -> str:
    """JSON lines ``{"run", "step", "loss"}``."""
    return "".join(
        json.dumps({"run": run, "step": step, "loss": round(loss, 4)}) + "\n"
        for run, curve in curves.items()
        for step, loss in curve
    )


def curve_svg(curves: Mapping[str, Curve]) -> str:
    """A picture with the runs one after the other, steps to the right and loss upwards."""
    steps = sum(curve[-1][0] for curve in curves.values())
    highest = max(loss for curve in curves.values() for _, loss in curve)
    parts = [_grid(highest)]
    before = 0
    for index, (run, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        points = " ".join(f"{_x(before + step, steps):.1f},{_y(loss, highest):.1f}" for step, loss in curve)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        label = escape(f"{run}: {curve[-1][0]} steps, {curve[-1][1]:.2f} nats")
        parts.append(_text(_x(before, steps) + 6, _MARGIN / 2 + 16 * (index % 2), label, colour))
        before += curve[-1][0]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _curve(log: Path) -> Curve:
    if not log.is_file():
        raise ModelNotFoundError(f"{log} does not exist")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    if not steps:
        raise MixerError(f"{log} holds no step")
    groups = (steps[start : start + STEPS_PER_POINT] for start in range(0, len(steps), STEPS_PER_POINT))
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def _grid(highest: float) -> str:
    levels = [highest * index / _GRID_LINES for index in range(_GRID_LINES + 1)]
    return "\n".join(_grid_line(level, _y(level, highest)) for level in levels)


def _grid_line(level: float, y: float) -> str:
    line = f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
    return line + _text(8, y + 4, f"{level:.1f}", "#555555")


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{text}</text>'


def _x(step: int, steps: int) -> float:
    return _MARGIN + (_WIDTH - 2 * _MARGIN) * step / steps


def _y(loss: float, highest: float) -> float:
    return _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * loss / highest
