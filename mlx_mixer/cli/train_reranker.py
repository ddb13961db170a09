"""`mlx-mixer train reranker`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.cli.train_options import PATH, Progress, finish, loop_options, loop_settings, seconds_since


@click.command()
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--embedder", type=PATH, help="Model folder whose vectors it is for; the bundled model by default.")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--valid", multiple=True, type=PATH, help="Pairs to judge by; a tenth of PAIRS by default.")
@click.option("--candidates", default=50, show_default=True, help="Most candidates it sees at once; search has 50.")
@click.option("--hard-share", default=0.5, show_default=True, help="Share of wrong candidates near the query.")
@click.option("--layers", "num_layers", default=4, show_default=True, help="Blocks.")
@click.option("--intermediate-size", default=1024, show_default=True, help="Inner width of the blocks.")
@click.option("--batch-size", default=32, show_default=True, help="Lists of candidates of a batch.")
@loop_options(steps=2000, learning_rate=1e-3, warmup=100, has_half=False)
def reranker(
    pairs: tuple[Path, ...],
    embedder: Path | None,
    out: Path,
    valid: tuple[Path, ...],
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model that re-orders the best hits of a search, on PAIRS: .jsonl and .jsonl.gz files.

    Use it with: mlx-mixer search --rerank OUT
    """
    from mlx_mixer.training.reranker_run import RerankerRun, train_reranker

    started = time.monotonic()
    names = ("candidates", "hard_share", "num_layers", "intermediate_size", "batch_size")
    sizes = {name: options.pop(name) for name in names}
    loop = loop_settings(options)
    run = RerankerRun(pairs=pairs, embedder=embedder, out=out, valid=valid, loop=loop, **sizes)
    summary = train_reranker(run, resume=resume, report=Progress(loop.steps), narrate=narrate)
    lines = [f"{out}  {summary.training.steps} steps  loss {summary.training.loss:.3f}"]
    lines += [f"  {': '.join(figure.line())}" for figure in summary.top1]
    top1 = [asdict(figure) for figure in summary.top1]
    values = {"out": str(out), **asdict(summary.training), "top1": top1, "seconds": seconds_since(started)}
    finish(values, as_json, "\n".join(lines))
