"""`mlx-mixer train retrieval`."""

import time
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.train_docs import PairsOrDocs
from mlx_mixer.cli.train_options import (
    PATH,
    Progress,
    finish_run,
    loop_options,
    loop_settings,
    model_named,
    narrate_first,
)

# Options that `RetrievalRun` knows by the same name.
_RUN_OPTIONS = (
    *("rows", "matryoshka", "teacher", "teacher_weight", "teacher_temperature"),
    *("through_blocks", "tokens_per_chunk", "embedding_size", "embedding_layers", "embedding_intermediate_size"),
    *("embedding_heads", "units", "word_embedding_size", "words", "word_buckets"),
    *("fold_case", "half"),
)


def sizes(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Numbers between commas."""
    if not value:
        return ()
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of sizes; write for example 64,128") from error


@click.command(
    cls=PairsOrDocs,
    epilog="With --docs in place of PAIRS and options: adapt the embedder to the documents of your library; see "
    "mlx-mixer train retrieval --docs --help.",
)
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--init", required=True, type=model_named, metavar="MODEL", help="Model folder or name to start from.")
@click.option("-o", "--out", required=True, type=PATH, help="Model folder to make.")
@click.option("--valid", multiple=True, type=PATH, help="Pairs that decide which weights are kept; may be repeated.")
@click.option("--batch-size", default=512, show_default=True, help="Pairs of a batch.")
@click.option(
    "--loss",
    type=click.Choice(["info-nce", "one-positive"]),
    default="info-nce",
    show_default=True,
    help="Against the whole batch in both directions, or one query against its passage and a few rows.",
)
@click.option("--rows", default=32, show_default=True, help="Pairs that a query of one-positive sees.")
@click.option("--temperature", type=float, help="Divides the cosines.  [default: 0.04; 0.02 for one-positive]")
@click.option("--span-share", default=0.6, show_default=True, help="Share of queries cut out of their passage.")
@click.option("--token-drop", default=0.15, show_default=True, help="Share of query tokens left out.")
@click.option("--hard-negatives", default=0, show_default=True, help="Hard wrong answers brought for each query.")
@click.option(
    "--mine",
    type=click.Choice(["bm25", "model", "both"]),
    default="bm25",
    show_default=True,
    help="Who looks for them.",
)
@click.option("--mine-every", default=100, show_default=True, help="Steps after which the model looks anew.")
@click.option("--mine-pool", default=16, show_default=True, help="Best ones that they are drawn from.")
@click.option("--mine-among", default=20_000, show_default=True, help="Passages the model looks among.")
@click.option(
    "--matryoshka", callback=sizes, metavar="SIZES", help="Let the first values serve alone, at these sizes: 64,128."
)
@click.option("--teacher", type=PATH, help="File of a teacher's vectors of the same pairs to learn from.")
@click.option("--teacher-weight", default=0.5, show_default=True, help="Share of the teacher in the loss, 0 to 1.")
@click.option("--teacher-temperature", default=0.05, show_default=True, help="Divides the teacher's cosines.")
@click.option("--through-blocks", is_flag=True, help="Train blocks and gates too, not token vectors alone.")
@click.option("--lora", default=0, metavar="RANK", help="Of the blocks, train adapters of this rank alone.")
@click.option("--last-layers", default=0, metavar="N", help="Of the blocks, train the last N alone.")
@click.option(
    "--tokens-per-chunk", default=16_384, show_default=True, help="Tokens that go through the blocks at once."
)
@click.option(
    "--embedding-size", type=int, help="Give the model fresh token vectors of this length for search, and train those."
)
@click.option(
    "--embedding-layers", type=int, help="Let those go through so many fresh blocks of their own, and train those too."
)
@click.option(
    "--embedding-intermediate-size",
    type=int,
    help="Inner width of those blocks.  [default: 8/3 of the embedding size, in steps of 64]",
)
@click.option("--embedding-heads", type=int, help="Heads of those blocks.  [default: one for 64 features]")
@click.option(
    "--units",
    type=click.Choice(["pieces", "words"]),
    help="What goes through those blocks: vectors of the model's pieces, or of words.  [default: words]",
)
@click.option(
    "--word-embedding-size",
    type=int,
    help="Give it fresh vectors of words too, of this length, and train those.",
)
@click.option("--words", default=7680, show_default=True, help="Words that get a vector of their own.")
@click.option("--word-buckets", default=1024, show_default=True, help="Vectors that all other words share.")
@click.option("--fold-case/--keep-case", default=True, show_default=True, help="Embed texts in lower case.")
@loop_options(steps=400, learning_rate=1e-2, warmup=20, validate_every=50)
def retrieval(
    pairs: tuple[Path, ...],
    init: Path,
    out: Path,
    valid: tuple[Path, ...],
    loss: Any,
    temperature: float | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model to find the passage a query means, on PAIRS: .jsonl and .jsonl.gz files."""
    from mlx_mixer.training.hard_negatives import MiningSettings
    from mlx_mixer.training.objective import DEFAULT_TEMPERATURE
    from mlx_mixer.training.pair_batches import PairSettings
    from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
    from mlx_mixer.training.tuning import Tuning

    started = time.monotonic()
    drawing = PairSettings(**{name: options.pop(name) for name in ("batch_size", "span_share", "token_drop")})
    mining = MiningSettings(
        count=options.pop("hard_negatives"),
        miner=options.pop("mine"),
        every=options.pop("mine_every"),
        pool=options.pop("mine_pool"),
        among=options.pop("mine_among"),
    )
    tuning = Tuning(lora=options.pop("lora"), last_layers=options.pop("last_layers"))
    run_options = {name: options.pop(name) for name in _RUN_OPTIONS}
    loop = loop_settings(options)
    run = RetrievalRun(
        pairs=pairs,
        init=init,
        out=out,
        valid=valid,
        loss=loss,
        temperature=DEFAULT_TEMPERATURE[loss] if temperature is None else temperature,
        mining=mining,
        tuning=tuning,
        drawing=drawing,
        loop=loop,
        **run_options,
    )
    summary = train_retrieval(run, resume=resume, report=Progress(loop.steps), narrate=narrate_first)
    finish_run(out, summary, started, as_json)
