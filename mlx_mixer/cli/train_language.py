"""`mlx-mixer train language`."""

import time
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.train_options import (
    PATH,
    Progress,
    finish_run,
    loop_options,
    loop_settings,
    model_named,
    narrate_first,
    sources,
    texts_argument,
)


@click.command()
@texts_argument("data")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--init", type=model_named, metavar="MODEL", help="Model folder or name to start from.")
@click.option("--tokenizer", type=PATH, help="Folder of the tokenizer of a fresh model.")
@click.option("--valid", multiple=True, type=PATH, help="Held-out texts that decide which weights are kept.")
@click.option("--hidden-size", default=256, show_default=True, help="Width of a fresh model.")
@click.option("--layers", default=4, show_default=True, help="Blocks of a fresh model.")
@click.option("--context-length", default=256, show_default=True, help="Window of a fresh model, in tokens.")
@click.option("--intermediate-size", default=512, show_default=True, help="Inner width of a fresh model's blocks.")
@click.option("--tokens-per-batch", default=4096, show_default=True, help="Positions that are computed at once.")
@click.option("--accumulate", default=1, show_default=True, help="Batches whose gradients make one step.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the passes; weights stay in float32. auto takes bfloat16 where the GPU is faster with it.",
)
@click.option("--pack", is_flag=True, help="Put several short texts in one window: faster, but see docs/training.md.")
@click.option("--lora", default=0, metavar="RANK", help="Train adapters of this rank beside the blocks' linear maps.")
@click.option("--last-layers", default=0, metavar="N", help="Train the last N blocks alone.")
@click.option("--keep-embeddings", is_flag=True, help="Leave token vectors and pooling as they are.")
@loop_options(steps=2000, learning_rate=2e-3, warmup=100)
def language(
    data: tuple[Path, ...],
    docs: bool,
    resume: bool,
    as_json: bool,
    accumulate: int,
    precision: Any,
    lora: int,
    last_layers: int,
    **options: Any,
) -> None:
    """Train a model to predict the next token of DATA: documents, .jsonl files and folders of them."""
    from mlx_mixer.training.language_run import LanguageRun, ModelSizes, train_language
    from mlx_mixer.training.tuning import Tuning

    started = time.monotonic()
    sizes = ModelSizes(
        hidden_size=options.pop("hidden_size"),
        num_layers=options.pop("layers"),
        context_length=options.pop("context_length"),
        intermediate_size=options.pop("intermediate_size"),
    )
    names = ("out", "init", "tokenizer", "valid", "tokens_per_batch", "pack", "keep_embeddings", "half")
    run_options = {name: options.pop(name) for name in names}
    loop = loop_settings({**options, "accumulate": accumulate, "precision": precision})
    tuning = Tuning(lora=lora, last_layers=last_layers)
    run = LanguageRun(data=sources(data, docs), tuning=tuning, sizes=sizes, loop=loop, **run_options)
    summary = train_language(run, resume=resume, report=Progress(loop.steps), narrate=narrate_first)
    finish_run(run.out, summary, started, as_json)
