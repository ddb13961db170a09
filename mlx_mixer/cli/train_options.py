"""What the training commands share: their dials, a line of progress, and how they end."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.output import narrate, print_json
from mlx_mixer.cli.train_progress import Progress as Progress
from mlx_mixer.paths import default_paths

if TYPE_CHECKING:
    from mlx_mixer.training.loop import LoopSettings, TrainingSummary

PATH = click.Path(path_type=Path)


def model_named(name: str) -> Path:
    """The folder of what names a model everywhere: a folder, a name below the models folder, or "default"."""
    from mlx_mixer.checkpoint import resolve_model

    return resolve_model(name)


def loop_options(
    steps: int, learning_rate: float, warmup: int, *, validate_every: int = 100, has_half: bool = True
) -> Callable[[Any], Any]:
    """The dials that all objectives share, with this objective's defaults."""
    half = click.option("--half", is_flag=True, help="Write the weights in float16.")
    options = [
        click.option("--steps", default=steps, show_default=True, help="Optimiser steps in all."),
        click.option("--learning-rate", default=learning_rate, show_default=True, help="Peak learning rate."),
        click.option("--warmup-steps", default=warmup, show_default=True, help="Steps of linear rise."),
        click.option(
            "--schedule",
            type=click.Choice(["cosine", "linear", "constant"]),
            default="cosine",
            show_default=True,
            help="How the rate falls after the peak, to a tenth of it.",
        ),
        click.option("--embedding-rate", default=1.0, show_default=True, help="Factor on the rate of token vectors."),
        click.option("--weight-decay", default=0.01, show_default=True, help="AdamW's weight decay."),
        click.option("--clip-norm", default=1.0, show_default=True, help="Largest norm of a gradient."),
        click.option(
            "--average",
            type=click.Choice(["none", "ema", "tail"]),
            default="none",
            show_default=True,
            help="Average of the weights that is kept if validation finds it better.",
        ),
        click.option("--checkpoint-every", default=100, show_default=True, help="Steps between checkpoints."),
        click.option(
            "--validate-every",
            default=validate_every,
            show_default=True,
            help="Steps between validations.",
        ),
        click.option("--patience", default=0, show_default=True, help="Validations without a best before stopping."),
        click.option("--seed", default=0, show_default=True, help="Decides every random choice."),
        *([half] if has_half else []),
        click.option("--resume", is_flag=True, help="Go on with an unfinished run in the --out folder."),
        click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
    ]

    def add(command: Any) -> Any:  # whatever click made of the function so far
        for option in reversed(options):
            command = option(command)
        return command

    return add


def texts_argument(name: str) -> Callable[[Any], Any]:
    """Where texts come from: arguments, and the library on request; hand what the command gets to `sources`."""

    def add(command: Any) -> Any:  # whatever click made of the function so far
        docs = click.option("--docs", is_flag=True, help="Learn from the passages of your library too.")
        return click.argument(name, nargs=-1, type=PATH)(docs(command))

    return add


def sources(texts: tuple[Path, ...], docs: bool) -> tuple[Path, ...]:
    """The paths to read texts from.

    Raises:
        UsageError: If there is none, or no library.
    """
    if not docs:
        if not texts:
            raise click.UsageError("give files or folders of text, - for standard input, or --docs for your library")
        return texts
    library = default_paths().library
    if not library.is_file():
        raise click.UsageError("your library is empty; add files with: mlx-mixer docs add PATH")
    return (*texts, library)


def narrate_first(message: str) -> None:
    """Tell people what is going on, in the first of the processes that train together."""
    from mlx_mixer.training.ranks import current_ranks

    if current_ranks().is_first:
        Progress.make_room()
        narrate(message)


def loop_settings(options: dict[str, Any]) -> "LoopSettings":
    from mlx_mixer.training.loop import LoopSettings

    return LoopSettings(**options)


def finish_run(out: Path, summary: "TrainingSummary", started: float, as_json: bool) -> None:
    """Say how a run ended, in the first of the processes that trained together."""
    from mlx_mixer.training.ranks import current_ranks

    if not current_ranks().is_first:
        return
    best = "" if summary.best_score is None else f"  best validation {summary.best_score:.3f}"
    values = {"out": str(out), **asdict(summary), "seconds": seconds_since(started)}
    finish(values, as_json, f"{out}  {summary.steps} steps  loss {summary.loss:.3f}{best}")


def seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def finish(summary: dict[str, Any], as_json: bool, line: str) -> None:
    if as_json:
        print_json(summary)
    else:
        click.echo(line)
