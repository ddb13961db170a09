"""`mlx-mixer bench`."""

from dataclasses import asdict
from importlib.metadata import version

import click

from mlx_mixer.cli.output import narrate, print_json


@click.command()
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(model_name: str | None, as_json: bool) -> None:
    """Measure how fast this machine runs the models."""
    # Everything here needs MLX, so nothing is imported before the command runs.
    import mlx.core as mx

    from mlx_mixer.benchmarks.embedding import query_figures
    from mlx_mixer.benchmarks.matmul import blas_figures
    from mlx_mixer.benchmarks.models import model_figures
    from mlx_mixer.checkpoint import resolve_model

    folder = resolve_model(model_name)
    narrate("measuring matmul with and without the tuned BLAS ...")
    figures = blas_figures()
    narrate(f"measuring {folder.name} ...")
    figures |= model_figures(folder)
    narrate("measuring a short query on random weights ...")
    figures |= query_figures()
    device = f"{mx.default_device()}, mlx {version('mlx')}"
    if as_json:
        print_json({"device": device, "figures": {name: asdict(figure) for name, figure in figures.items()}})
        return
    click.echo(device)
    for name, figure in figures.items():
        goal = f"   goal {figure.goal}" if figure.goal else ""
        span = f"({figure.min:,.1f} to {figure.max:,.1f})"
        click.echo(f"{name:28}{figure.value:>12,.1f} {figure.unit:12}{span:26}{goal}")
