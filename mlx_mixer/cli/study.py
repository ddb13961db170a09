"""`mlx-mixer study recovery|learning|retrieval|autoencoder`."""

import time
from collections.abc import Callable
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any, get_args

import click

from mlx_mixer.cli.output import narrate, print_json
from mlx_mixer.study.settings import (
    AutoencoderSettings,
    EqualBy,
    LearningSettings,
    RecoverySettings,
    RetrievalSettings,
    StudySettings,
)

PATH = click.Path(path_type=Path)
_TEXTS_HELP = "Document, .jsonl, folder or library file; may be repeated. Python's own library if omitted."
_PAIRS_HELP = "File of pairs (.jsonl, .jsonl.gz); may be repeated. Docstrings of Python's own library if omitted."


class Numbers(click.ParamType["tuple[int, ...]"]):
    """Whole numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read ``32,128,512``."""
        try:
            found = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers such as 32,128", param, ctx)
        if min(found) < 2:
            self.fail(f"{min(found)} is too small; give numbers from 2 on", param, ctx)
        return found


def study_options(kind: type[StudySettings]) -> Callable[[Any], Any]:
    """An option for every setting, and those that all studies share."""
    shared = [
        click.option("-o", "--out", required=True, type=PATH, help="Folder of the study; an unfinished one goes on."),
        click.option("--quick", is_flag=True, help="Small sizes: about a minute, to see that it works."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]
    options = [*shared, *(_option(item) for item in fields(kind))]

    def add(command: Any) -> Any:  # whatever click made of the function so far
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _option(item: "Field[Any]") -> Callable[[Any], Any]:
    if isinstance(item.default, tuple):
        kind: Any = Numbers()
    elif item.default in get_args(EqualBy):
        kind = click.Choice(get_args(EqualBy))
    else:
        kind = type(item.default)
    shown = f"{item.metadata['help']}  [{_shown(item.default)}; quick: {_shown(item.metadata['quick'])}]"
    return click.option(f"--{item.name.replace('_', '-')}", item.name, default=None, type=kind, help=shown)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@click.group()
def study() -> None:
    """Measure the paper's claims on this machine, masked mixer beside Llama."""


@study.command()
@click.option("--texts", multiple=True, type=PATH, help=_TEXTS_HELP)
@study_options(RecoverySettings)
def recovery(texts: tuple[Path, ...], **options: Any) -> None:
    """Recover inputs from outputs by gradient descent (about 50 minutes on 2 cores)."""
    _run("recovery", RecoverySettings, options, texts)


@study.command()
@click.option("--texts", multiple=True, type=PATH, help=_TEXTS_HELP)
@study_options(LearningSettings)
def learning(texts: tuple[Path, ...], **options: Any) -> None:
    """Learn to predict the next token, for equal compute (about 20 minutes on 2 cores)."""
    _run("learning", LearningSettings, options, texts)


@study.command()
@click.option("--pairs", multiple=True, type=PATH, help=_PAIRS_HELP)
@click.option("--held-out", multiple=True, type=PATH, help="Pairs to report on; a part of the others if omitted.")
@study_options(RetrievalSettings)
def retrieval(pairs: tuple[Path, ...], held_out: tuple[Path, ...], **options: Any) -> None:
    """Find the passage that answers a query, by each model's embeddings (about 20 minutes on 2 cores)."""
    if held_out and not pairs:
        raise click.UsageError("--held-out needs --pairs to train on")
    _run("retrieval", RetrievalSettings, options, pairs, held_out)


@study.command()
@click.option("--texts", multiple=True, type=PATH, help=_TEXTS_HELP)
@study_options(AutoencoderSettings)
def autoencoder(texts: tuple[Path, ...], **options: Any) -> None:
    """Put windows of text into one vector and back (about 15 minutes on 2 cores)."""
    _run("autoencoder", AutoencoderSettings, options, texts)


def _run(
    name: str,
    kind: type[StudySettings],
    options: dict[str, Any],
    data: tuple[Path, ...],
    held_out: tuple[Path, ...] = (),
) -> None:
    # MLX and mlx-lm are imported once there is something to do.
    from mlx_mixer.study.run import Sources, run_study

    started = time.monotonic()
    out, quick, as_json = (options.pop(key) for key in ("out", "quick", "as_json"))
    chosen = {key: value for key, value in options.items() if value is not None}
    settings = replace(kind.quick() if quick else kind(), **chosen)
    report = run_study(name, Sources(data, held_out), settings, out, narrate)
    narrate(f"done in {(time.monotonic() - started) / 60:.1f} min; picture: {report.picture}")
    if as_json:
        print_json({**report.found, "picture": str(report.picture)})
    else:
        click.echo(report.table, nl=False)
