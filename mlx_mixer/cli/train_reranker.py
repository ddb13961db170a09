"""`mlx-mixer train reranker`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.cli.train_options import PATH, Progress, finish, loop_options, loop_settings, seconds_since

_BETTER = "It is better than all of these beyond doubt."
_NOT_BETTER = "It is not shown to be better than all of these: leave it out of searches."


@click.command()
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--embedder", type=PATH, help="Model folder whose vectors it is for; the bundled model by default.")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--valid", multiple=True, type=PATH, help="Pairs to judge by; a tenth of PAIRS by default.")
@click.option("--candidates", default=50, show_default=True, help="Most candidates it sees at once; search has 50.")
@click.option("--no-words", "words", flag_value=False, default=True, help="Start from the cosine, without BM25.")
@click.option("--mix-candidates", is_flag=True, help="Let candidates see each other; takes far more pairs.")
@click.option("--layers", "num_layers", default=2, show_default=True, help="Blocks.")
@click.option("--mixing-size", default=64, show_default=True, help="Width of the blocks.")
@click.option("--intermediate-size", default=256, show_default=True, help="Inner width of the blocks.")
@click.option("--batch-size", default=32, show_default=True, help="Lists of candidates of a batch.")
@loop_options(steps=300, learning_rate=1e-3, warmup=50, has_half=False)
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
    names = ("candidates", "words", "mix_candidates", "num_layers", "mixing_size", "intermediate_size", "batch_size")
    sizes = {name: options.pop(name) for name in names}
    loop = loop_settings(options)
    run = RerankerRun(pairs=pairs, embedder=embedder, out=out, valid=valid, loop=loop, **sizes)
    summary = train_reranker(run, resume=resume, report=Progress(loop.steps), narrate=narrate)
    lines = [f"{out}  {summary.training.steps} steps  loss {summary.training.loss:.3f}", f"  {summary.heading()}"]
    lines += [f"  {name:10} {line}" for name, line in (figure.line() for figure in summary.figures)]
    lines.append("  " + (_BETTER if summary.is_better else _NOT_BETTER))
    values = {
        "out": str(out),
        **asdict(summary.training),
        "queries": summary.queries,
        "candidates": summary.candidates,
        "figures": [asdict(figure) for figure in summary.figures],
        "is_better": summary.is_better,
        "seconds": seconds_since(started),
    }
    finish(values, as_json, "\n".join(lines))
