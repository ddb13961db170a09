"""The course of training runs as a small table and a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.plot import COLOURS, Line, line_chart

# One point stands for so many steps.
STEPS_PER_POINT = 10

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
    lines, before = [], 0
    for number, (run, curve) in enumerate(curves.items()):
        points = [(before + step, loss) for step, loss in curve]
        label = f"{run}: {curve[-1][0]} steps, {curve[-1][1]:.2f} nats"
        lines.append(Line(points, label, COLOURS[number % len(COLOURS)]))
        before += curve[-1][0]
    return line_chart(lines, title="loss, nats", from_zero=True)


def _curve(log: Path) -> Curve:
    if not log.is_file():
        raise ModelNotFoundError(f"{log} does not exist")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    if not steps:
        raise MixerError(f"{log} holds no step")
    return averaged(steps, STEPS_PER_POINT)


def averaged(points: Sequence[tuple[int, float]], count: int) -> Curve:
    """The mean of every `count` points, at the place of the last of them."""
    groups = (points[start : start + count] for start in range(0, len(points), count))
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
