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


@click.command()
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option(
    "--convert", "is_conversion", is_flag=True, help="Measure conversions beside a plain copy, and no models."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(model_name: str | None, is_conversion: bool, as_json: bool) -> None:
    """Measure how fast this machine runs the models."""
    # Everything here needs MLX, so nothing is imported before the command runs.
    import mlx.core as mx

    from mlx_mixer.benchmarks.decoding import decode_figures, long_context_figures
    from mlx_mixer.benchmarks.embedding import query_figures
    from mlx_mixer.benchmarks.matmul import blas_figures
    from mlx_mixer.benchmarks.models import model_figures
    from mlx_mixer.benchmarks.passes import pass_figures
    from mlx_mixer.checkpoint import resolve_model

    folder = resolve_model(model_name)
    measurements: dict[str, Callable[[], dict[str, Figure]]]
    measurements = {
        "matmul with and without the tuned BLAS": blas_figures,
        f"the model {model_name or 'default'}": lambda: model_figures(folder),
        "decoding, on random weights": decode_figures,
        "decoding late in long windows": long_context_figures,
        "prefill and training steps": pass_figures,
        "a short query": query_figures,
    }
    if is_conversion:
        # Named and not imported: the library does not know the converter.
        measurements = {
            "conversions and copies of 413 MB": import_module("convert.benchmark").conversion_figures,
        }
    figures: dict[str, Figure] = {}
    for number, (what, measure) in enumerate(measurements.items(), 1):
        narrate(f"[{number}/{len(measurements)}] measuring {what} ...")
        figures |= measure()
    device = f"{mx.default_device()}, mlx {version('mlx')}"
    if as_json:
        print_json({"device": device, "figures": {name: asdict(figure) for name, figure in figures.items()}})
        return
    click.echo(device)
    for name, figure in figures.items():
        goal = f"   goal {figure.goal}" if figure.goal else ""
        span = f"({figure.min:,.2f} to {figure.max:,.2f})"
        click.echo(f"{name:28}{figure.value:>12,.2f} {figure.unit:12}{span:26}{goal}")
