"""`mlx-mixer train autoencoder`."""

import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.cli.train_options import (
    PATH,
    Progress,
    finish,
    loop_options,
    loop_settings,
    model_named,
    seconds_since,
    sources,
    texts_argument,
)


@click.command()
@texts_argument("texts")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--init", type=model_named, metavar="MODEL", help="Autoencoder to start from.")
@click.option("--tokenizer", type=PATH, help="Folder of the tokenizer of a fresh model.")
@click.option("--valid", multiple=True, type=PATH, help="Texts to judge by; 2 % of the windows by default.")
@click.option("--hidden-size", default=256, show_default=True, help="Width of a fresh model, and of its vectors.")
@click.option("--layers", "num_layers", default=4, show_default=True, help="Blocks of a fresh encoder.")
@click.option("--decoder-layers", "num_decoder_layers", default=4, show_default=True, help="Blocks of a fresh decoder.")
@click.option("--context-length", default=64, show_default=True, help="Window of a fresh model, in tokens.")
@click.option("--intermediate-size", default=512, show_default=True, help="Inner width of a fresh model's blocks.")
@click.option("--compressed-size", type=int, help="Width of a bottleneck between the two.")
@click.option(
    "--decoder-input",
    type=click.Choice(["repeat", "unroll"]),
    default="repeat",
    show_default=True,
    help="How the vector fills the decoder's positions.",
)
@click.option("--batch-size", default=64, show_default=True, help="Windows of a batch.")
@loop_options(steps=2000, learning_rate=2e-3, warmup=100)
def autoencoder(
    texts: tuple[Path, ...],
    docs: bool,
    out: Path,
    init: Path | None,
    tokenizer: Path | None,
    valid: tuple[Path, ...],
    batch_size: int,
    half: bool,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model to give TEXTS back from one vector: documents, .jsonl files and folders of them."""
    from mlx_mixer.training.autoencoder_run import AutoencoderRun, AutoencoderSizes, train_autoencoder

    started = time.monotonic()
    sizes = AutoencoderSizes(**{size.name: options.pop(size.name) for size in fields(AutoencoderSizes)})
    loop = loop_settings(options)
    run = AutoencoderRun(
        data=sources(texts, docs),
        out=out,
        init=init,
        tokenizer=tokenizer,
        sizes=sizes,
        valid=valid,
        batch_size=batch_size,
        half=half,
        loop=loop,
    )
    summary = train_autoencoder(run, resume=resume, report=Progress(loop.steps), narrate=narrate)
    line = f"{out}  {summary.training.steps} steps  loss {summary.training.loss:.3f}"
    held_out = summary.held_out
    if held_out is not None:
        line += f"  held-out loss {held_out.loss:.3f}  {100 * held_out.accuracy:.1f} % of tokens come back"
    values = {"out": str(out), **asdict(summary.training), "held_out": asdict(held_out) if held_out else None}
    finish({**values, "seconds": seconds_since(started)}, as_json, line)
