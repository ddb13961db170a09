"""`mlx-mixer train tokenizer|language|retrieval|evaluate|curve`."""

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.output import narrate, print_json

if TYPE_CHECKING:
    from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary

PATH = click.Path(path_type=Path)
# Steps are told about this often: readable on a terminal, short in a log.
_SECONDS_BETWEEN_LINES = 5.0


def loop_options(steps: int, learning_rate: float, warmup: int) -> Callable[[Any], Any]:
    """The dials that both objectives share, with this objective's defaults."""
    options = [
        click.option("--steps", default=steps, show_default=True, help="Optimiser steps in all."),
        click.option("--learning-rate", default=learning_rate, show_default=True, help="Peak learning rate."),
        click.option("--warmup-steps", default=warmup, show_default=True, help="Steps of linear rise."),
        click.option("--embedding-rate", default=1.0, show_default=True, help="Factor on the rate of token vectors."),
        click.option("--weight-decay", default=0.01, show_default=True, help="AdamW's weight decay."),
        click.option("--clip-norm", default=1.0, show_default=True, help="Largest norm of a gradient."),
        click.option("--checkpoint-every", default=100, show_default=True, help="Steps between checkpoints."),
        click.option("--seed", default=0, show_default=True, help="Decides every random choice."),
        click.option("--half", is_flag=True, help="Write the weights in float16."),
        click.option("--resume", is_flag=True, help="Go on with an unfinished run in the --out folder."),
        click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON."),
    ]

    def add(command: Any) -> Any:  # whatever click made of the function so far
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group()
def train() -> None:
    """Train a tokenizer, a language model or an embedder."""


@train.command()
@click.argument("texts", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", required=True, type=PATH, help="Folder to make.")
@click.option("--vocab-size", default=8192, show_default=True, help="Number of pieces.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def tokenizer(texts: tuple[Path, ...], out: Path, vocab_size: int, as_json: bool) -> None:
    """Learn a SentencePiece tokenizer from TEXTS: files (.txt, .md, .rst, .jsonl, .jsonl.gz) and folders."""
    # Libraries for training are imported once there is something to train.
    from mlx_mixer.atomic import atomic_directory
    from mlx_mixer.training.data import read_texts
    from mlx_mixer.training.tokenizer import train_tokenizer

    started = time.monotonic()
    found = read_texts(texts)
    narrate(f"learning {vocab_size} pieces from {len(found):,} texts")
    model = train_tokenizer(found, vocab_size)
    with atomic_directory(out) as folder:
        (folder / "tokenizer.model").write_bytes(model)
        # Named and not imported: the library does not know the converter.
        import_module("convert.words.tokenizers").install_tokenizer(folder / "tokenizer.model", folder, vocab_size)
    summary = {"out": str(out), "vocab_size": vocab_size, "texts": len(found), "seconds": _since(started)}
    _finish(summary, as_json, f"{out}  {vocab_size} pieces")


@train.command()
@click.argument("data", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--init", type=PATH, help="Model folder to start from.")
@click.option("--tokenizer", "tokenizer_folder", type=PATH, help="Folder of the tokenizer of a fresh model.")
@click.option("--hidden-size", default=256, show_default=True, help="Width of a fresh model.")
@click.option("--layers", default=4, show_default=True, help="Blocks of a fresh model.")
@click.option("--context-length", default=256, show_default=True, help="Window of a fresh model, in tokens.")
@click.option("--intermediate-size", default=512, show_default=True, help="Inner width of a fresh model's blocks.")
@click.option("--tokens-per-batch", default=4096, show_default=True, help="Positions of a batch.")
@click.option("--keep-embeddings", is_flag=True, help="Leave token vectors and pooling as they are.")
@loop_options(steps=2000, learning_rate=2e-3, warmup=100)
def language(
    data: tuple[Path, ...],
    out: Path,
    init: Path | None,
    tokenizer_folder: Path | None,
    tokens_per_batch: int,
    keep_embeddings: bool,
    half: bool,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model to predict the next token of DATA: files (.txt, .md, .rst, .jsonl, .jsonl.gz) and folders."""
    from mlx_mixer.training.language_run import LanguageRun, ModelSizes, train_language

    started = time.monotonic()
    sizes = ModelSizes(
        hidden_size=options.pop("hidden_size"),
        num_layers=options.pop("layers"),
        context_length=options.pop("context_length"),
        intermediate_size=options.pop("intermediate_size"),
    )
    loop = _loop(options)
    run = LanguageRun(
        data=data,
        out=out,
        init=init,
        tokenizer=tokenizer_folder,
        sizes=sizes,
        tokens_per_batch=tokens_per_batch,
        keep_embeddings=keep_embeddings,
        half=half,
        loop=loop,
    )
    summary = train_language(run, resume=resume, report=_Progress(loop.steps), narrate=narrate)
    _finish_run(out, summary, started, as_json)


@train.command()
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--init", required=True, type=PATH, help="Model folder to start from.")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--valid", multiple=True, type=PATH, help="Pairs that decide which weights are kept; may be repeated.")
@click.option("--batch-size", default=512, show_default=True, help="Pairs of a batch.")
@click.option("--temperature", default=0.04, show_default=True, help="Divides the cosines.")
@click.option("--span-share", default=0.6, show_default=True, help="Share of queries cut out of their passage.")
@click.option("--token-drop", default=0.15, show_default=True, help="Share of query tokens left out.")
@click.option("--through-blocks", is_flag=True, help="Train blocks and gates too, not token vectors alone.")
@click.option("--fold-case/--keep-case", default=True, show_default=True, help="Embed texts in lower case.")
@click.option("--validate-every", default=50, show_default=True, help="Steps between validations.")
@click.option("--patience", default=0, show_default=True, help="Validations without a new best before stopping.")
@loop_options(steps=400, learning_rate=1e-2, warmup=20)
def retrieval(
    pairs: tuple[Path, ...],
    init: Path,
    out: Path,
    valid: tuple[Path, ...],
    temperature: float,
    through_blocks: bool,
    fold_case: bool,
    half: bool,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model to find the passage a query means, on PAIRS: .jsonl and .jsonl.gz files."""
    from mlx_mixer.training.pair_batches import PairSettings
    from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval

    started = time.monotonic()
    drawing = PairSettings(**{name: options.pop(name) for name in ("batch_size", "span_share", "token_drop")})
    loop = _loop(options)
    run = RetrievalRun(
        pairs=pairs,
        init=init,
        out=out,
        valid=valid,
        temperature=temperature,
        through_blocks=through_blocks,
        fold_case=fold_case,
        drawing=drawing,
        half=half,
        loop=loop,
    )
    summary = train_retrieval(run, resume=resume, report=_Progress(loop.steps), narrate=narrate)
    _finish_run(out, summary, started, as_json)


@train.command()
@click.argument("model", type=PATH)
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--queries", default=2000, show_default=True, help="Queries per figure, at least.")
@click.option("--seed", default=0, show_default=True, help="Decides the trials.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(model: Path, pairs: tuple[Path, ...], queries: int, seed: int, as_json: bool) -> None:
    """Measure MODEL on PAIRS: perplexity, and how often the right passage comes first, beside BM25."""
    from mlx_mixer.training.report import evaluate_model

    found = evaluate_model(model, pairs, queries=queries, seed=seed, narrate=narrate)
    if as_json:
        print_json(found)
        return
    for name, figures in found.items():
        click.echo(f"{name}  perplexity {figures['perplexity']:.1f}  bits per byte {figures['bits_per_byte']:.3f}")
        for row in figures["top1"]:
            accuracy = f"{row['mixer']:5.1f} % +- {row['half_width']:.1f}"
            click.echo(f"  top-1 among {row['candidates']:<5} {accuracy}   BM25 {row['bm25']:5.1f} %")


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


class _Progress:
    """One line on stderr every few seconds: step, loss, tokens a second, time left."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._recent: list[StepReport] = []
        self._told = 0.0

    def __call__(self, report: "StepReport") -> None:
        self._recent = [*self._recent[-49:], report]
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES and report.step < self._steps:
            return
        self._told = now
        seconds = sum(entry.seconds for entry in self._recent)
        loss = sum(entry.loss for entry in self._recent) / len(self._recent)
        speed = sum(entry.tokens for entry in self._recent) / seconds
        left = (self._steps - report.step) * seconds / len(self._recent)
        narrate(f"step {report.step}/{self._steps}  loss {loss:.3f}  {speed:,.0f} tokens/s  {left / 60:.0f} min left")


def _loop(options: dict[str, Any]) -> "LoopSettings":
    from mlx_mixer.training.loop import LoopSettings

    return LoopSettings(**options)


def _finish_run(out: Path, summary: "TrainingSummary", started: float, as_json: bool) -> None:
    best = "" if summary.best_score is None else f"  best validation {summary.best_score:.3f}"
    values = {"out": str(out), **asdict(summary), "seconds": _since(started)}
    _finish(values, as_json, f"{out}  {summary.steps} steps  loss {summary.loss:.3f}{best}")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _finish(summary: dict[str, Any], as_json: bool, line: str) -> None:
    if as_json:
        print_json(summary)
    else:
        click.echo(line)
