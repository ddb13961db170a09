"""`mlx-mixer bench`."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.output import narrate, print_json

if TYPE_CHECKING:
    from mlx_mixer.benchmarks.timing import Figure

_SEARCH_HELP = "Measure searches in a library of so many passages instead, such as 100000; may be repeated."


@click.command()
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option("--documents", is_flag=True, help="Measure the document library instead of the models.")
@click.option("--search", "sizes", multiple=True, type=click.IntRange(1000), metavar="CHUNKS", help=_SEARCH_HELP)
@click.option("--convert", "conversions", is_flag=True, help="Measure conversions beside a plain copy instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(model_name: str | None, documents: bool, sizes: tuple[int, ...], conversions: bool, as_json: bool) -> None:
    """Measure how fast this machine runs the models."""
    if sizes:
        measurements = {f"searches among {size:,} passages": _searches(model_name, size) for size in sizes}
    elif documents:
        measurements = _library_measurements()
    elif conversions:
        # Named and not imported: the library does not know the converter.
        measurements = {"conversions and copies of 413 MB": import_module("convert.benchmark").conversion_figures}
    else:
        measurements = _model_measurements(model_name)
    figures: dict[str, Figure] = {}
    for number, (what, measure) in enumerate(measurements.items(), 1):
        narrate(f"[{number}/{len(measurements)}] measuring {what} ...")
        figures |= measure()
    device = _device()
    if as_json:
        print_json({"device": device, "figures": {name: asdict(figure) for name, figure in figures.items()}})
        return
    click.echo(device)
    for name, figure in figures.items():
        goal = f"   goal {figure.goal}" if figure.goal else ""
        span = f"({figure.min:,.2f} to {figure.max:,.2f})"
        click.echo(f"{name:28}{figure.value:>12,.2f} {figure.unit:12}{span:26}{goal}")


# Everything below needs MLX or SQLite helpers, so nothing is imported before the command runs.


def _model_measurements(model_name: str | None) -> "dict[str, Callable[[], dict[str, Figure]]]":
    from mlx_mixer.benchmarks.decoding import decode_figures, long_context_figures
    from mlx_mixer.benchmarks.embedding import query_figures
    from mlx_mixer.benchmarks.matmul import blas_figures
    from mlx_mixer.benchmarks.models import model_figures
    from mlx_mixer.benchmarks.passes import pass_figures
    from mlx_mixer.checkpoint import resolve_model

    folder = resolve_model(model_name)
    return {
        "matmul with and without the tuned BLAS": blas_figures,
        f"the model {model_name or 'default'}": lambda: model_figures(folder),
        "decoding, on random weights": decode_figures,
        "decoding late in long windows": long_context_figures,
        "prefill and training steps": pass_figures,
        "a short query": query_figures,
    }


def _library_measurements() -> "dict[str, Callable[[], dict[str, Figure]]]":
    from mlx_mixer.benchmarks.documents import document_figures
    from mlx_mixer.benchmarks.search import search_figures
    from mlx_mixer.embedding import load_embedder

    return {
        "walks and the reading of files": document_figures,
        "searches in large libraries": lambda: search_figures(load_embedder()),
    }


def _searches(model_name: str | None, size: int) -> "Callable[[], dict[str, Figure]]":
    from mlx_mixer.benchmarks.search import search_figures
    from mlx_mixer.embedding import load_embedder

    return lambda: search_figures(load_embedder(model_name), [size])


def _device() -> str:
    import mlx.core as mx

    return f"{mx.default_device()}, mlx {version('mlx')}"
