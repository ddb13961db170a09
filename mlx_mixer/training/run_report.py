"""The report of a run: one page without anything from elsewhere, light or dark as the reader likes it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlx_mixer.safe_text import safe_line
from mlx_mixer.training.curve import averaged
from mlx_mixer.training.plot import COLOURS, Line, line_chart
from mlx_mixer.training.record import RunRecord

# Points of a smoothed line; few enough to see a course, enough to see a bend.
_POINTS = 60
_STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 58rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.5rem 0; }
dt { opacity: .65; font-size: .85rem; } dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top; }
td:first-child { opacity: .65; } svg { width: 100%; height: auto; margin: .5rem 0; }"""

Figures = Sequence[tuple[str, str]]


def report_html(title: str, record: RunRecord, model: Mapping[str, Any], figures: Figures = ()) -> str:
    """Write the report of a run.

    Args:
        title: Name of the model.
        record: The run.
        model: The model's configuration and sizes, name to value.
        figures: What was measured at the end, name to text.
    """
    body = "\n".join(
        [
            f"<h1>{_text(title)}</h1>",
            f"<p>Training report: {_text(record.kind)}.</p>",
            _headline(record),
            *_charts(record),
            _section("Figures", dict(figures)),
            _section("Settings", record.settings),
            _section("Model", model),
            _section("Machine", {**record.summary()["versions"], "device": record.summary()["device"]}),
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>\n{_STYLE}\n</style></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def duration(seconds: float) -> str:
    """A length of time for people: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def headline(record: RunRecord) -> dict[str, str]:
    """The run in a few figures for people."""
    summary = record.summary()
    if not record.steps:
        return {}
    found = {
        "steps": f"{summary['steps']:,}",
        "tokens": f"{summary['tokens']:,}",
        "time in steps": duration(summary["seconds"]),
        "tokens per second": f"{summary['tokens_per_second']:,.0f}" if summary["tokens_per_second"] else "",
        "loss at the end": f"{summary['loss']:.3f} nats",
    }
    if record.best:
        found["best validation"] = f"{record.measure.text(record.best[1])} (step {record.best[0]:,})"
    if record.processes > 1:
        found["processes"] = str(record.processes)
    return {name: value for name, value in found.items() if value}


def _headline(record: RunRecord) -> str:
    items = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in headline(record).items()
    )
    return f"<dl>{items}</dl>"


def _charts(record: RunRecord) -> list[str]:
    steps = record.steps
    if not steps:
        return []
    losses = [(entry["step"], entry["loss"]) for entry in steps]
    smooth = averaged(losses, max(1, len(losses) // _POINTS))
    charts = ["<h2>Course</h2>", line_chart([Line(losses, "", style="faint"), Line(smooth, "")], title="loss, nats")]
    if record.scores:
        measure = record.measure
        points = [(step, measure.factor * score) for step, score in record.scores]
        charts.append(line_chart([Line(points, "", COLOURS[1], "dots")], title=measure.name))
    for name, title, colour in (
        ("gradient_norm", "norm of the gradient before clipping", COLOURS[3]),
        ("learning_rate", "learning rate", COLOURS[2]),
    ):
        if all(name in entry for entry in steps):
            points = [(entry["step"], entry[name]) for entry in steps]
            charts.append(line_chart([Line(points, "", colour)], title=title, from_zero=True))
    return charts


def _section(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(_value(value))}</td></tr>" for name, value in values.items())
    return f"<h2>{_text(title)}</h2>\n<table>{rows}</table>"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_value(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _text(value: str) -> str:
    return escape(safe_line(value))
