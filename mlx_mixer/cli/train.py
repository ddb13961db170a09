"""`mlx-mixer train`: the group, and its commands `tokenizer` and `curve`."""

import time
from importlib import import_module
from pathlib import Path

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.cli.train_autoencoder import autoencoder
from mlx_mixer.cli.train_evaluate import evaluate
from mlx_mixer.cli.train_language import language
from mlx_mixer.cli.train_options import PATH, finish, seconds_since, sources, texts_argument
from mlx_mixer.cli.train_reranker import reranker
from mlx_mixer.cli.train_retrieval import retrieval
from mlx_mixer.cli.train_teacher import teacher


@click.group()
def train() -> None:
    """Train a tokenizer, a language model or an embedder."""


@train.command()
@texts_argument("texts")
@click.option("-o", "--out", required=True, type=PATH, help="Folder to make.")
@click.option("--vocab-size", default=8192, show_default=True, help="Number of pieces.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def tokenizer(texts: tuple[Path, ...], docs: bool, out: Path, vocab_size: int, as_json: bool) -> None:
    """Learn a SentencePiece tokenizer from TEXTS: documents, .jsonl files and folders of them; - reads stdin."""
    # Libraries for training are imported once there is something to train.
    from mlx_mixer.atomic import atomic_directory
    from mlx_mixer.training.data import read_texts
    from mlx_mixer.training.tokenizer import train_tokenizer

    started = time.monotonic()
    found = read_texts(sources(texts, docs), narrate)
    narrate(f"learning {vocab_size} pieces from {len(found):,} texts")
    model = train_tokenizer(found, vocab_size)
    with atomic_directory(out) as folder:
        (folder / "tokenizer.model").write_bytes(model)
        # Named and not imported: the library does not know the converter.
        import_module("convert.words.tokenizers").install_tokenizer(folder / "tokenizer.model", folder, vocab_size)
    summary = {"out": str(out), "vocab_size": vocab_size, "texts": len(found), "seconds": seconds_since(started)}
    finish(summary, as_json, f"{out}  {vocab_size} pieces")


@train.command()
@click.argument("logs", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", required=True, type=PATH, help="Folder for loss_curve.jsonl and loss_curve.svg.")
def curve(logs: tuple[Path, ...], out: Path) -> None:
    """Draw the losses of LOGS, training_log.jsonl files of runs that followed each other."""
    from mlx_mixer.atomic import write_atomically
    from mlx_mixer.training.curve import curve_lines, curve_svg, read_curves

    curves = read_curves(logs)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "loss_curve.jsonl", curve_lines(curves).encode())
    write_atomically(out / "loss_curve.svg", curve_svg(curves).encode())
    click.echo(str(out / "loss_curve.svg"))


train.add_command(language)
train.add_command(retrieval)
train.add_command(teacher)
train.add_command(evaluate)
train.add_command(reranker)
train.add_command(autoencoder)
