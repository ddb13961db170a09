"""What `mlx-mixer convert MODEL --to-torch` does."""

from importlib import import_module
from pathlib import Path

import click
from click.core import ParameterSource

from mlx_mixer.cli.output import narrate, print_foreign, print_json

_OPTIONS = ("source", "out", "to_torch", "as_json")


def write_torch(context: click.Context, model: Path, out: Path | None, as_json: bool) -> None:
    """Write a model folder as a checkpoint for PyTorch and print what was written.

    Raises:
        click.UsageError: If no folder to make was given, or options of a conversion were.
    """
    for name in context.params.keys() - _OPTIONS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError("--to-torch takes a model folder, --out and --json alone", context)
    if out is None:
        raise click.UsageError("give the folder to make: --out DIR", context)
    # Named and not imported: the library does not know the converter.
    report = import_module("convert").write_torch_checkpoint(model, out)
    if as_json:
        print_json(
            {
                "family": report.family,
                "out": str(report.out),
                "tensors": report.tensors,
                "hints": report.hints,
                "warnings": list(report.warnings),
            }
        )
        return
    for warning in report.warnings:
        narrate(f"note: {warning}")
    print_foreign(f"{report.out}  {report.family}, {report.tensors} tensors under upstream names")
