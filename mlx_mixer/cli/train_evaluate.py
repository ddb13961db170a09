"""`mlx-mixer train evaluate`."""

from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import narrate, print_json
from mlx_mixer.cli.train_options import PATH, model_named
from mlx_mixer.errors import UsageError

# Keys of a row of figures that are no accuracies.
_NO_WAYS = ("candidates", "half_width", "queries", "differences")


@click.command()
@click.argument("model", type=model_named)
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--dims", type=int, help="Compare the first so many values of the vectors alone.")
@click.option(
    "--beside", multiple=True, metavar="NAME=FILE", help="Vectors of another encoder to compare with; may be repeated."
)
@click.option("--writing/--no-writing", default=True, help="Measure perplexity too, which takes longer than all else.")
@click.option("--queries", default=2000, show_default=True, help="Queries per figure, at least.")
@click.option("--seed", default=0, show_default=True, help="Decides the trials.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    model: Path,
    pairs: tuple[Path, ...],
    dims: int | None,
    beside: tuple[str, ...],
    writing: bool,
    queries: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure MODEL on PAIRS: perplexity, and how often the right passage comes first, alone and with BM25."""
    from mlx_mixer.training.report import Settings, evaluate_model

    settings = Settings(dims=dims, beside=dict(map(named_file, beside)), writing=writing, queries=queries, seed=seed)
    found = evaluate_model(model, pairs, settings, narrate)
    if as_json:
        print_json(found)
        return
    for name, figures in found.items():
        click.echo(f"{name}  {figures['passages']:,} passages")
        if writing:
            click.echo(f"  perplexity {figures['perplexity']:.1f}  bits per byte {figures['bits_per_byte']:.3f}")
        for row in figures["top1"]:
            click.echo(f"  top-1 among {row['candidates']}")
            for each, value in row.items():
                if each not in _NO_WAYS:
                    click.echo(f"    {_called(each):<24} {value:5.1f} %{_ahead(each, row['differences'])}")


def named_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE``.

    Raises:
        UsageError: If it is not of this form, or the name is one that has a meaning.
    """
    name, equals, file = text.partition("=")
    if not (name and equals and file) or name in ("mixer", "bm25") or name in _NO_WAYS or "+" in name:
        raise UsageError(f"--beside {text}: write NAME=FILE, with a name of your own such as minilm=minilm.safetensors")
    return name, Path(file)


def _called(way: str) -> str:
    return way.replace("mixer", "this model").replace("bm25", "BM25").replace("+", " with ")


def _ahead(way: str, differences: list[dict[str, Any]]) -> str:
    """What a way is ahead of, and by how much."""
    parts = (
        f"{_called(found['second'])} {found['points']:+.1f} ± {found['half_width']:.1f}"
        for found in differences
        if found["first"] == way
    )
    line = ", ".join(parts)
    return f"   against {line}" if line else ""
