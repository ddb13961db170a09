"""What a study found, for people: a table and the panels of a picture."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlx_mixer.study.plot import Bar, BarPanel, Line, Panel
from mlx_mixer.study.table import text_table

Found = Mapping[str, Any]
Panels = Sequence[Panel | BarPanel]
Show = Callable[[Found], tuple[str, Panels]]


def show_recovery(found: Found) -> tuple[str, Panels]:
    """Hamming distances by state, and how the models were trained."""
    head = (
        "weights",
        "outputs",
        "descent",
        "model",
        "parameters",
        "wrong tokens",
        "+-",
        "not among 5",
        "distance left",
    )
    rows = [
        (
            row["state"],
            row["outputs"],
            row["descent"],
            row["model"],
            f"{found['training'][row['model']]['size']:,}",
            f"{row['hamming']:.3f}",
            f"{row['half_width']:.3f}",
            f"{row['hamming_of_five']:.3f}",
            f"{row['distance']:.2%}",
        )
        for row in found["rows"]
    ]
    table = text_table(head, rows) + "\n" + text_table(*_training_table(found["training"].items(), "model"))
    outputs = list(dict.fromkeys(row["outputs"] for row in found["rows"]))
    return table, [_recovery_panel(found["rows"], name) for name in outputs]


def show_learning(found: Found) -> tuple[str, Panels]:
    """Held-out losses by window."""
    head, rows = _training_table([(row["model"], row) for row in found["rows"]], "model")
    windows = [str(row["context_length"]) for row in found["rows"]]
    bits = [f"{row['bits_per_byte']:.3f}" for row in found["rows"]]
    drawn = [(window, *row, bit) for window, row, bit in zip(windows, rows, bits, strict=True)]
    return text_table(("n_ctx", *head, "bits/byte"), drawn), _curve_panels(found["rows"], "next-token loss, nats")


def _training_table(
    items: Sequence[tuple[str, Found]] | Any, what: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head: tuple[str, ...] = (what, "parameters", "rate", "steps", "tokens", "TFLOP", "seconds", "held-out loss")
    rows: list[tuple[str, ...]] = [
        (
            name,
            f"{row['size']:,}",
            f"{row['rate']:g}",
            f"{row['steps']:,}",
            f"{row['tokens']:,}",
            f"{row['flops'] / 1e12:.2f}",
            f"{row['seconds']:.1f}",
            f"{row['loss']:.3f}",
        )
        for name, row in items
    ]
    return head, rows


def _curve_panels(rows: Sequence[Found], y_label: str) -> list[Panel]:
    """One panel for each window: loss by seconds of training."""
    return [
        Panel(
            f"n_ctx {length}",
            "seconds of training",
            y_label,
            [Line(row["model"], _by_seconds(row)) for row in rows if row["context_length"] == length],
        )
        for length in dict.fromkeys(row["context_length"] for row in rows)
    ]


def _by_seconds(row: Found) -> list[tuple[float, float]]:
    return [(row["seconds"] * tokens / row["tokens"], loss) for tokens, loss in row["curve"]]


def _recovery_panel(rows: Sequence[Found], outputs: str) -> BarPanel:
    states = list(dict.fromkeys(row["state"] for row in rows))
    bars = []
    for model, descent in dict.fromkeys((row["model"], row["descent"]) for row in rows):
        chosen = [row for row in rows if (row["outputs"], row["model"], row["descent"]) == (outputs, model, descent)]
        values, widths = ([row[key] for row in chosen] for key in ("hamming", "half_width"))
        bars.append(Bar(f"{model}, {descent} descent", values, widths, pale=descent != "plain"))
    title = {"all": "from the outputs of all positions", "last": "from the last position's output"}[outputs]
    return BarPanel(title, "share of wrong tokens", states, bars)


def show_autoencoder(found: Found) -> tuple[str, Panels]:
    """Held-out losses and shares of copied tokens by window."""
    head, rows = _training_table([(row["model"], row) for row in found["rows"]], "model")
    drawn = [
        (str(row["context_length"]), *cells, f"{row['copied']:.1%}")
        for row, cells in zip(found["rows"], rows, strict=True)
    ]
    return text_table(("n_ctx", *head, "copied"), drawn), _curve_panels(found["rows"], "copying loss, nats")


def show_retrieval(found: Found) -> tuple[str, Panels]:
    """Top-1 accuracies by number of candidates, and how the models were trained."""
    counts = sorted({int(n) for row in found["rows"] for n in row["top1"]})
    rows = [
        (row["stage"], row["model"], *(_percent(row["top1"].get(str(count))) for count in counts))
        for row in found["rows"]
    ]
    trained = [(f"{stage}, {name}", row) for stage, models in found["training"].items() for name, row in models.items()]
    table = text_table(("top-1 %", "model", *map(str, counts)), rows)
    lines = [
        Line(
            f"{row['model']}, {row['stage']}",
            [(int(n), 100 * figures["accuracy"]) for n, figures in row["top1"].items()],
            stroke="dotted" if row["stage"] == "untrained" else "dashed" if row["stage"] == "next-token" else "solid",
        )
        for row in found["rows"]
        if row["top1"] and not row["stage"].startswith("direct")
    ]
    panels = [
        Panel("cosine of embeddings, and BM25", "candidates", "top-1 accuracy, %", lines, log_x=True, from_zero=True)
    ]
    return table + "\n" + text_table(*_training_table(trained, "training")), [*panels, *_direct_panels(found["rows"])]


def _direct_panels(rows: Sequence[Found]) -> list[BarPanel]:
    direct = [row for row in rows if row["stage"].startswith("direct")]
    if not direct:
        return []
    stages = list(dict.fromkeys(row["stage"] for row in direct))
    bars = []
    for model in dict.fromkeys(row["model"] for row in direct):
        figures = [next(iter(row["top1"].values())) for row in direct if row["model"] == model]
        shares, widths = ([100 * item[name] for item in figures] for name in ("accuracy", "half_width"))
        bars.append(Bar(model, shares, widths))
    return [BarPanel("retrieval mixer on frozen embeddings", "top-1 accuracy, %", stages, bars, whole=100)]


def _percent(figures: Found | None) -> str:
    return "" if figures is None else f"{100 * figures['accuracy']:.1f}+-{100 * figures['half_width']:.1f}"


SHOWS: Mapping[str, Show] = {
    "recovery": show_recovery,
    "learning": show_learning,
    "retrieval": show_retrieval,
    "autoencoder": show_autoencoder,
}
